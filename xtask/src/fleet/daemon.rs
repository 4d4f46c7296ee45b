//! The engine of one host: a dockerd with a containerd of its own, or a Podman.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use super::kind::{Engine, Kind};
use super::remnants::Remnants;
use super::site::{Host, Site};
use super::{Settings, mounts, podman, process, programs};
use crate::{command, wait};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(15);
const PING: Duration = Duration::from_secs(3);
/// How much of a log is shown when a daemon does not start.
const LOG_LINES: usize = 25;

/// Who is at a socket where an engine may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// An engine.
    Answers,
    /// Something that takes connections, and does not answer yet.
    Listens,
    /// Nobody whom we may connect to.
    Nobody,
}

/// The start command of the host's engine. Tests use it again after they killed the engine.
pub(crate) fn start_command(site: &Site, host: &Host, settings: Settings) -> Vec<String> {
    match host.kind.engine() {
        Engine::Docker => dockerd_command(site, host, settings),
        Engine::Podman => podman::command(host),
    }
}

fn dockerd_command(site: &Site, host: &Host, settings: Settings) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut words = Vec::new();
    if let Some(netns) = host.netns() {
        // Not `ip netns exec`, which hides the cgroup mounts.
        words.extend(["nsenter".to_owned(), format!("--net=/run/netns/{netns}")]);
    }
    if host.kind != Kind::Installed {
        words.extend(["env".to_owned(), format!("PATH={}", programs::search_path(host.kind))]);
    }
    words.push("dockerd".into());
    // The machine's own /etc/docker/daemon.json is not used.
    words.push(format!("--config-file={}", path(&host.dir.join("daemon.json"))));
    words.push(format!("--data-root={}", path(&host.data)));
    words.push(format!("--exec-root={}", path(&host.exec_root())));
    words.push(format!("--pidfile={}", path(&host.pidfile())));
    words.push(format!("--containerd={}", path(&host.containerd_socket())));
    words.push(format!("--host=unix://{}", path(&host.socket)));
    if let Some(url) = host.tcp_url() {
        words.extend([format!("--host={url}"), "--tls=false".into()]);
    } else {
        // In the machine's own namespace it is to change nothing of the machine's for
        // good: published ports go through docker-proxy alone, and ip_forward is set by
        // `Fleet::up`, which `Fleet::down` undoes.
        words.push(format!("--bridge={}", site.bridge));
        words.extend(
            ["--iptables=false", "--ip6tables=false", "--ip-forward=false"].map(Into::into),
        );
    }
    words.push("--storage-driver=overlay2".into());
    words.push(format!("--userland-proxy={}", settings.userland_proxy));
    words.push(format!("--live-restore={}", settings.live_restore));
    words
}

/// Starts the host's engine unless it runs already, and waits until it answers.
pub(crate) fn up(site: &Site, host: &Host, settings: Settings) -> Result<Pid> {
    // A test may have frozen it, and died.
    process::signal(&process::engine(host), Signal::CONT);
    if let Some(server) = process::server(host) {
        if answers(host) {
            return Ok(server);
        }
        command::say(&format!("{}: runs, but does not answer; starting it again", host.name()));
        stop(host)?;
    }
    match host.kind.engine() {
        Engine::Docker => prepare(host)?,
        Engine::Podman => {
            // The rest of an old Podman sees mounts that the next one does not.
            stop(host)?;
            podman::prepare(host)?;
        }
    }
    // dockerd refuses to start when any process has the number of a dead one.
    remove(&host.pidfile())?;
    let words = start_command(site, host, settings);
    let mut child = spawn(host, Command::new(&words[0]).args(&words[1..]))?;
    let outcome = wait::until(START, || match child.try_wait() {
        Ok(Some(status)) => Some(Err(format!("ended ({status})"))),
        Ok(None) => answers(host).then_some(Ok(())),
        Err(error) => Some(Err(error.to_string())),
    });
    let problem = match outcome {
        Some(Ok(())) => match process::server(host) {
            Some(server) => return Ok(server),
            None => "answers, but has left no process id".to_owned(),
        },
        Some(Err(problem)) => problem,
        None => format!("does not answer after {} s", START.as_secs()),
    };
    let log = fs::read_to_string(host.log()).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    bail!("the engine of {}, {}, {problem}; the end of its log:\n{end}", host.name(), host.kind);
}

/// All that a dockerd needs beforehand.
fn prepare(host: &Host) -> Result<()> {
    fs::create_dir_all(host.exec_root().join("containerd"))
        .and_then(|()| fs::create_dir_all(&host.data))
        .with_context(|| format!("directories of {}", host.name()))?;
    fs::write(host.dir.join("daemon.json"), "{}")?;
    if process::containerd(host).is_none() {
        // dockerd starts one only where the machine does not run one already,
        // and hosts that share one see each other's containers.
        start_containerd(host)?;
    }
    Ok(())
}

fn start_containerd(host: &Host) -> Result<Child> {
    let config = host.dir.join("containerd.toml");
    fs::write(&config, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")?;
    let mut containerd = Command::new("containerd");
    containerd
        .arg("--config")
        .arg(config)
        .arg("--address")
        .arg(host.containerd_socket())
        .arg("--root")
        .arg(host.data.join("containerd"))
        .arg("--state")
        .arg(host.exec_root().join("containerd"));
    spawn(host, &mut containerd)
}

/// Starts a process that outlives us, and that the terminal's signals do not reach.
fn spawn(host: &Host, words: &mut Command) -> Result<Child> {
    let log: File = OpenOptions::new().create(true).append(true).open(host.log())?;
    words
        .env("PATH", programs::search_path(host.kind))
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("`{}` could not be run", command::line(words)))
}

/// Ends every process of the host, those in its containers first: to stop them
/// in good order would take ten seconds for each that ignores SIGTERM.
pub(crate) fn stop(host: &Host) -> Result<()> {
    let remnants = Remnants::of(host);
    process::signal(&process::engine(host), Signal::CONT);
    process::signal(&process::contained(host), Signal::KILL);
    for pid in process::server(host).into_iter().chain(process::containerd(host)) {
        process::signal(&[pid], Signal::TERM);
        // A process that does not end is killed below.
        process::ended(pid, STOP);
    }
    let left = wait::until(STOP, || {
        let left = [process::contained(host), process::engine(host)].concat();
        process::signal(&left, Signal::KILL);
        left.is_empty().then_some(())
    });
    if left.is_none() {
        bail!("processes of {} survive SIGKILL: {:?}", host.name(), process::engine(host));
    }
    remnants.remove();
    Ok(())
}

/// Stops the host's engine and deletes all it has.
pub(crate) fn down(host: &Host) -> Result<()> {
    stop(host)?;
    for dir in [&host.dir, &host.data] {
        mounts::remove_below(dir)?;
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
    }
    // The demo's socket is elsewhere than in its directory.
    if presence(&host.socket) == Presence::Nobody {
        remove(&host.socket)?;
    }
    Ok(())
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| file.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Whether the host's API answers wherever it is offered.
pub(crate) fn answers(host: &Host) -> bool {
    let by_address = || -> Option<bool> {
        let address = format!("{}:2375", host.address()).parse().ok()?;
        let stream = TcpStream::connect_timeout(&address, PING).ok()?;
        stream.set_read_timeout(Some(PING)).ok()?;
        Some(pong(stream))
    };
    presence(&host.socket) == Presence::Answers
        && (host.tcp_url().is_none() || by_address() == Some(true))
}

/// Who is at a socket.
pub(crate) fn presence(socket: &Path) -> Presence {
    let Ok(stream) = UnixStream::connect(socket) else { return Presence::Nobody };
    match stream.set_read_timeout(Some(PING)) {
        Ok(()) if pong(stream) => Presence::Answers,
        _ => Presence::Listens,
    }
}

/// The version of the engine at this socket.
pub(super) fn version(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PING)).ok()?;
    stream.write_all(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    body["Version"].as_str().map(str::to_owned)
}

fn pong(mut stream: impl Read + Write) -> bool {
    let mut answer = [0; 12];
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.")
        && answer.ends_with(b" 200")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// The presence at a socket whose listener answers so.
    fn presence_of(name: &str, answer: Option<&'static str>) -> Presence {
        let socket = std::env::temp_dir().join(format!("ganger-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
            stream.write_all(answer.unwrap_or_default().as_bytes()).unwrap();
        });
        let seen = presence(&socket);
        server.join().unwrap();
        fs::remove_file(&socket).unwrap();
        seen
    }

    #[test]
    fn an_engine_that_does_not_answer_yet_is_not_taken_for_none() {
        assert_eq!(presence_of("up", Some("HTTP/1.0 200 OK\r\n\r\nOK")), Presence::Answers);
        assert_eq!(presence_of("starts", None), Presence::Listens);
        assert_eq!(presence_of("ill", Some("HTTP/1.0 503 No\r\n\r\n")), Presence::Listens);
        assert_eq!(presence(Path::new("/nowhere/docker.sock")), Presence::Nobody);
    }
}
