//! Engines from outside, through the `docker` command line and their API.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fleet::Host;
use crate::poll::{step, wait_until};

/// How long an engine has for a list.
const LIST: Duration = Duration::from_secs(60);

/// A container, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// The engine's id, 64 hexadecimal digits.
    pub id: String,
    /// `running`, `exited`, `created`, `paused` ...
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container that the test itself runs; it is removed in the end.
#[derive(Debug)]
pub struct Running<'a> {
    host: &'a Host,
    /// The engine's id.
    pub id: String,
}

/// Counts the containers with a label on each host, again and again, until it
/// is told to stop.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    /// A thread for each host; each returns its host's name and the most it has seen.
    counters: Vec<JoinHandle<(String, usize)>>,
}

/// The containers with a label (`key` or `key=value`) on these hosts, in
/// whatever state, each with its host.
#[must_use]
pub fn labelled<'a>(hosts: &'a [Host], label: &str) -> Vec<(&'a Host, Container)> {
    hosts
        .iter()
        .flat_map(|host| host.containers(label).into_iter().map(move |found| (host, found)))
        .collect()
}

/// Now, as an engine's events are asked for.
///
/// # Panics
/// When the clock is before 1970.
#[must_use]
pub fn engine_now() -> String {
    let since = UNIX_EPOCH.elapsed().expect("a clock");
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

// === impl Container ===

impl Container {
    /// The value of one of its labels. An empty one says that it does not apply.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

// === impl Host ===

impl Host {
    /// Runs `docker` on it, and returns what it printed.
    ///
    /// # Errors
    /// The error output of `docker`.
    ///
    /// # Panics
    /// When there is no `docker` to run.
    pub fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let output = self.command(args).output().expect("docker");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
        }
    }

    /// As [`Host::try_docker`].
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn docker(&self, args: &[&str]) -> String {
        self.try_docker(args)
            .unwrap_or_else(|said| panic!("docker {} on {}: {said}", args.join(" "), self.name))
    }

    fn command(&self, args: &[&str]) -> Command {
        // Debian's own fits its engine; another one that comes first in PATH
        // may be too new to talk to it.
        let own = Path::new("/usr/bin/docker");
        let mut docker = Command::new(if own.exists() { own } else { Path::new("docker") });
        docker.arg("--host").arg(self.url()).args(args).stdin(Stdio::null());
        docker.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
        docker
    }

    /// Loads an image archive.
    ///
    /// # Panics
    /// When the engine does not take it.
    pub fn load(&self, archive: &[u8]) {
        let mut docker = self.command(&["load", "--quiet"]);
        docker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut docker = docker.spawn().expect("docker");
        // When it fails before the end, its own words say why.
        let _ = docker.stdin.take().expect("piped").write_all(archive);
        let output = docker.wait_with_output().expect("docker");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker load on {}: {said}", self.name);
    }

    /// Its containers with a label (`key` or `key=value`), in whatever state.
    ///
    /// # Panics
    /// When it cannot be asked.
    #[must_use]
    pub fn containers(&self, label: &str) -> Vec<Container> {
        let found = self.try_containers(label);
        found.unwrap_or_else(|said| panic!("containers of {}: {said}", self.name))
    }

    /// As [`Host::containers`]. Asks the engine's API: tests wait by lists, and each `docker ps`
    /// would be a process.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn try_containers(&self, label: &str) -> Result<Vec<Container>, String> {
        self.labelled("/containers/json?all=1&", label)
    }

    /// The names of its networks that bear this label.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn try_networks(&self, label: &str) -> Result<Vec<String>, String> {
        let networks: Vec<Value> = self.labelled("/networks?", label)?;
        Ok(networks.iter().map(|network| network["Name"].to_string()).collect())
    }

    /// The names of the volumes with a label.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn try_volumes(&self, label: &str) -> Result<Vec<String>, String> {
        let answer: Value = self.labelled("/volumes?", label)?;
        let volumes = answer["Volumes"].as_array().into_iter().flatten();
        Ok(volumes.map(|volume| volume["Name"].to_string()).collect())
    }

    fn labelled<T: DeserializeOwned>(&self, path: &str, label: &str) -> Result<T, String> {
        let filters = json!({ "label": [label] }).to_string();
        let escaped: String = filters.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("{path}filters={escaped}"));
        let answer = answer.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if head.split(' ').nth(1) != Some("200") {
            return Err(answer);
        }
        serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))
    }

    /// The whole answer to a request, with its head. HTTP 1.0 has no answers in chunks.
    fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(LIST))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The events of containers with a label (`key=value`) since a moment that
    /// [`engine_now`] has told: `create LAUNCH`, `start LAUNCH`, `destroy LAUNCH`.
    ///
    /// # Panics
    /// When it cannot be asked.
    #[must_use]
    pub fn history(&self, label: &str, since: &str) -> Vec<String> {
        let label = format!("label={label}");
        let events = self.docker(&[
            "events",
            "--since",
            since,
            "--until=0s",
            "--filter",
            &label,
            "--filter=event=create",
            "--filter=event=start",
            "--filter=event=destroy",
            "--format={{.Action}} {{index .Actor.Attributes \"io.ganger.launch\"}}",
        ]);
        events.lines().map(Into::into).collect()
    }

    /// Runs a container in the background: options of `docker run`, image, command.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Running<'_> {
        Running { host: self, id: self.docker(&[&["run", "--detach"], args].concat()) }
    }

    /// Kills a container's process.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn kill(&self, id: &str) {
        let _ = self.docker(&["kill", id]);
    }

    /// Pauses a container.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn pause(&self, id: &str) {
        const PATIENCE: Duration = Duration::from_secs(60);

        // On a machine under load runc gives up freezing, and says so: then it is to be told again.
        wait_until(PATIENCE, "it is paused", || match self.try_docker(&["pause", id]) {
            Ok(_) => true,
            Err(error) if error.contains("unable to freeze") => false,
            Err(error) => panic!("docker pause {id} on {}: {error}", self.name),
        });
    }

    /// The output of a container, stdout and then stderr.
    ///
    /// # Panics
    /// When it cannot be had.
    #[must_use]
    pub fn logs(&self, id: &str) -> String {
        let output = self.command(&["logs", id]).output().expect("docker");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "docker logs on {}: {text}", self.name);
        text
    }

    /// Removes a container, whatever its state, if it is not gone already.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn remove(&self, id: &str) {
        if let Err(said) = self.try_docker(&["rm", "--force", "--volumes", id]) {
            let gone = said.contains("No such container") || said.contains("already in progress");
            assert!(gone, "docker rm on {}: {said}", self.name);
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Begins to count.
    #[must_use]
    pub fn start(hosts: &[Host], label: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counter = |host: &Host| {
            let (stop, host, label) = (stop.clone(), host.clone(), label.to_owned());
            thread::spawn(move || {
                let mut most = 0;
                while !stop.load(Ordering::Relaxed) {
                    most = most.max(host.containers(&label).len());
                    step();
                }
                (host.name, most)
            })
        };
        let counters = hosts.iter().map(counter).collect();
        Self { stop, counters }
    }

    /// Stops; returns the most containers that were seen at once on each host.
    ///
    /// # Panics
    /// When a host could not be asked.
    #[must_use]
    pub fn stop(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.counters.into_iter().map(|counter| counter.join().expect("a counter")).collect()
    }
}

// === impl Running ===

impl Running<'_> {
    /// Where a port of it is published.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn published(&self, port: u16) -> SocketAddr {
        let line = self.host.docker(&["port", &self.id, &format!("{port}/tcp")]);
        line.lines().next().and_then(|line| line.parse().ok()).expect("a published port")
    }

    /// The output of the container.
    #[must_use]
    pub fn logs(&self) -> String {
        self.host.logs(&self.id)
    }

    /// A field of the container as the engine has it, by a Go template.
    #[must_use]
    pub fn inspect(&self, template: &str) -> String {
        self.host.docker(&["inspect", "--format", template, &self.id])
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // A panic while one unwinds would end the whole run.
        let _ = self.host.try_docker(&["rm", "--force", "--volumes", &self.id]);
    }
}
