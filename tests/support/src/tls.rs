//! A dockerd that wants TLS, in a network namespace of its own.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::authority::Issued;
use crate::faults::ip;
use crate::fixture::fixture_image;
use crate::fleet::{Fleet, Host};
use crate::poll::{free_port, unique, wait_until};

/// The port of its API, as is usual.
const PORT: u16 = 2376;
/// Until it answers, on a machine that has much else to do.
const START: Duration = Duration::from_secs(60);

/// A dockerd with an address of its own that serves only clients with a
/// certificate. Of the fleet it uses only a containerd, with a namespace of its own:
/// two in one network namespace would take each other's bridge away. It is stopped
/// when this is dropped, and nothing is left of it.
#[derive(Debug)]
pub struct TlsDaemon {
    host: Host,
    child: Option<Child>,
    network: Network,
    /// Its images and containers, which may be much.
    data: PathBuf,
    /// Its socket, log and certificates.
    dir: PathBuf,
}

/// A network namespace, linked to this machine's own.
#[derive(Debug)]
struct Network(u16);

// === impl TlsDaemon ===

impl TlsDaemon {
    /// Starts one. `shows` makes the certificate that it shows, for its address;
    /// `accepts` is the authority of its clients, in PEM.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(fleet: &Fleet, shows: impl Fn(&str) -> Issued, accepts: &str) -> Self {
        let (beside, name) = (&fleet.hosts()[0], unique("tls"));
        let network = Network::new();
        let run = beside.pidfile.ancestors().nth(2).expect("the directory of the fleet");
        let dir = run.join(&name);
        fs::create_dir_all(&dir).expect("a directory for the dockerd");
        let data = Path::new(beside.flag("--data-root")).with_file_name(&name);
        let host = Host {
            socket: dir.join("docker.sock"),
            tcp_url: Some(format!("tcp://{}:{PORT}", network.address())),
            netns: Some(network.name()),
            gateway: None,
            pidfile: dir.join("pid"),
            log: dir.join("log"),
            command: command(beside, &dir, &data, &network),
            name,
            ..beside.clone()
        };
        let shown = shows(&network.address());
        let mut daemon = Self { host, child: None, network, data, dir };
        daemon.restart(&shown, accepts);
        daemon
    }

    /// Stops it and starts it again, with another certificate, or to accept others.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self, shows: &Issued, accepts: &str) {
        self.stop();
        shows.write(&self.dir);
        fs::write(self.dir.join("ca.pem"), accepts).expect("its authority");
        let _ = fs::remove_file(&self.host.pidfile);
        let log = OpenOptions::new().create(true).append(true).open(&self.host.log);
        let log = log.expect("its log");
        let mut daemon = Command::new(&self.host.command[0]);
        daemon.args(&self.host.command[1..]).process_group(0).stdin(Stdio::null());
        daemon.stderr(log.try_clone().expect("its log")).stdout(log);
        let mut child = daemon.spawn().expect("dockerd");
        wait_until(START, "the dockerd answers", || {
            let said = || fs::read_to_string(&self.host.log).unwrap_or_default();
            let ended = child.try_wait().expect("a child");
            assert_eq!(ended, None, "the dockerd with TLS; it said\n{}", said());
            self.host.try_docker(&["version"]).is_ok()
        });
        self.child = Some(child);
    }

    /// The daemon as a host: by its socket, which needs no certificate.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Loads the fixture's image.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn load_fixture(&self) {
        self.host.load(fixture_image().1);
    }

    /// The daemon in a configuration, reached over the network with these
    /// fields, such as `tls: (…)`.
    #[must_use]
    pub fn daemon(&self, fields: &str, max_containers: u32) -> String {
        let url = format!("tcp://{}:{PORT}", self.network.address());
        format!("(name: \"tls\", url: {url:?}, max_containers: {max_containers}, {fields})")
    }

    /// How many connections were made to it over the network so far.
    ///
    /// # Panics
    /// When the kernel does not say.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let mut words = Command::new("nsenter");
        words.arg(format!("--net=/run/netns/{}", self.network.name()));
        let output = words.args(["cat", "/proc/net/snmp"]).output().expect("nsenter");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
        let mut pairs = names.split(' ').zip(values.split(' '));
        let found = pairs.find(|(name, _)| *name == "PassiveOpens").expect("a counter");
        found.1.parse().expect("a number")
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // Nothing here may panic: it may run because something has.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
            let _ = child.wait();
        }
    }
}

impl Drop for TlsDaemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.host.log).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("--- the dockerd with TLS said last:");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        self.stop();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        for point in points.filter(|at| at.starts_with(&self.data) || at.starts_with(&self.dir)) {
            let _ = Command::new("umount").arg("--lazy").arg(point).status();
        }
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The command that starts it. It has the host's containerd, in a namespace of its own.
fn command(beside: &Host, dir: &Path, data: &Path, network: &Network) -> Vec<String> {
    let (own, name) = (dir.display(), dir.file_name().unwrap_or_default().display());
    let mut words = vec!["nsenter".to_owned()];
    words.push(format!("--net=/run/netns/{}", network.name()));
    words.push("dockerd".to_owned());
    words.push(format!("--config-file={}", beside.flag("--config-file")));
    words.push(format!("--containerd={}", beside.flag("--containerd")));
    words.push(format!("--containerd-namespace={name}"));
    words.push(format!("--containerd-plugins-namespace={name}-plugins"));
    words.push(format!("--data-root={}", data.display()));
    words.push(format!("--exec-root={own}/exec"));
    words.push(format!("--pidfile={own}/pid"));
    words.push(format!("--host=unix://{own}/docker.sock"));
    words.push(format!("--host=tcp://{}:{PORT}", network.address()));
    words.push("--tlsverify".to_owned());
    for (flag, file) in [("tlscacert", "ca"), ("tlscert", "cert"), ("tlskey", "key")] {
        words.push(format!("--{flag}={own}/{file}.pem"));
    }
    words.push("--storage-driver=overlay2".to_owned());
    words
}

// === impl Network ===

impl Network {
    /// A network that nobody else has: its number is a port that nobody else has.
    fn new() -> Self {
        let network = Self(free_port());
        let name = network.name();
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name]);
        ip(&["addr", "add", &format!("{}/30", network.numbered(1)), "dev", &name]);
        ip(&["link", "set", &name, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{}/30", network.address()), "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        // Answers of containers leave by it.
        ip(&["-n", &name, "route", "add", "default", "via", &network.numbered(1)]);
        network
    }

    fn name(&self) -> String {
        format!("gangertls{}", self.0)
    }

    fn address(&self) -> String {
        self.numbered(2)
    }

    /// The first two of each four of 10.215.0.0/16.
    fn numbered(&self, number: u16) -> String {
        let at = (self.0 % (1 << 14)) * 4 + number;
        format!("10.215.{}.{}", at >> 8, at & 0xff)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Our end of the link takes the other one along; the namespace alone
        // would leave both for as long as anything refers to it.
        for what in ["link", "netns"] {
            let _ = Command::new("ip").args([what, "delete", &self.name()]).status();
        }
    }
}

// === impl Host ===

impl Host {
    /// The value of a flag that its dockerd was started with.
    fn flag(&self, name: &str) -> &str {
        let value = |word: &'_ String| word.strip_prefix(name)?.strip_prefix('=').map(str::len);
        let found = self.command.iter().find_map(|word| Some(&word[word.len() - value(word)?..]));
        found.expect("the flag")
    }
}
