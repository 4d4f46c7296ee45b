//! Requests to an engine, and the way into its containers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use serde_json::Value;

/// The label of a container's service.
const SERVICE: &str = "io.ganger.service";
const ANSWER: Duration = Duration::from_secs(30);

/// An engine's API at a socket.
#[derive(Debug)]
pub(super) struct BenchEngine {
    socket: PathBuf,
}

/// Where a container is.
#[derive(Debug)]
pub(super) struct Container {
    /// Its first process.
    pub(super) pid: i32,
    /// Its address on its network.
    pub(super) address: Ipv4Addr,
}

/// A container's network namespace, and our own to come back to.
#[derive(Debug)]
pub(super) struct Inside {
    there: File,
    home: File,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: Process,
    network_settings: Networks,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Process {
    pid: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress")]
    ip_address: String,
}

// === impl BenchEngine ===

impl BenchEngine {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its version.
    pub(super) fn version(&self) -> Result<String> {
        let version = self.get("/version")?;
        Ok(version["Version"].as_str().unwrap_or("of unknown version").to_owned())
    }

    pub(super) fn container(&self, id: &str) -> Result<Container> {
        let seen: Inspected = serde_json::from_value(self.get(&format!("/containers/{id}/json"))?)?;
        let mut networks = seen.network_settings.networks.values();
        let address = networks.find_map(|network| network.ip_address.parse().ok());
        let address = address.with_context(|| format!("{id} has no address of IPv4"))?;
        Ok(Container { pid: seen.state.pid, address })
    }

    /// Whether an instance has so many containers, all of which run.
    pub(super) fn rests(&self, instance: &str, count: usize) -> Result<bool> {
        let list = self.get(&format!("/containers/json?all=1&filters={}", of(instance)))?;
        let states: Vec<_> =
            list.as_array().context("a list")?.iter().map(|c| &c["State"]).collect();
        Ok(states.len() == count && states.iter().all(|state| *state == "running"))
    }

    /// The id of one of an instance's containers.
    pub(super) fn any(&self, instance: &str) -> Result<String> {
        let list = self.get(&format!("/containers/json?filters={}", of(instance)))?;
        Ok(list[0]["Id"].as_str().context("it has no container")?.to_owned())
    }

    /// The addresses of a service's containers on their network.
    pub(super) fn addresses(&self, instance: &str, service: &str) -> Result<Vec<Ipv4Addr>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            labels: BTreeMap<String, String>,
            network_settings: Networks,
        }

        let list = self.get(&format!("/containers/json?filters={}", of(instance)))?;
        let list: Vec<Listed> = serde_json::from_value(list)?;
        let is_its =
            |listed: &&Listed| listed.labels.get(SERVICE).is_some_and(|its| its == service);
        let address = |listed: &Listed| {
            let mut networks = listed.network_settings.networks.values();
            networks.find_map(|network| network.ip_address.parse().ok())
        };
        Ok(list.iter().filter(is_its).filter_map(address).collect())
    }

    /// The recipe of an instance's containers, with the labels that they can be found by: as the
    /// engine describes one that it has.
    pub(super) fn recipe(&self, instance: &str) -> Result<Value> {
        let id = self.any(instance)?;
        let seen = self.get(&format!("/containers/{id}/json"))?;
        let (config, host) = (&seen["Config"], &seen["HostConfig"]);
        let wanted = ["Image", "Cmd", "Entrypoint", "Env", "ExposedPorts", "User", "Labels"];
        let fields = wanted.iter().map(|name| ((*name).to_owned(), config[name].clone()));
        Ok(fields.chain([("HostConfig".to_owned(), host.clone())]).collect())
    }

    pub(super) fn post(&self, path: &str, body: &str) -> Result<Value> {
        self.ask("POST", path, body)
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value> {
        self.ask("DELETE", path, "")
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, "")
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("no engine at {}", self.socket.display()))?;
        stream.set_read_timeout(Some(ANSWER))?;
        // In HTTP/1.0 an answer comes in one piece and ends with the connection.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{method} {path}: {}", body.trim());
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(body).with_context(|| path.to_owned())
    }
}

/// The filter for an instance's containers.
fn of(instance: &str) -> String {
    format!("%7B%22label%22:%5B%22io.ganger.instance={instance}%22%5D%7D")
}

// === impl Inside ===

impl Inside {
    /// The namespace of a process.
    pub(super) fn of(pid: i32) -> Result<Self> {
        let open = |path: &str| File::open(path).with_context(|| path.to_owned());
        Ok(Self {
            there: open(&format!("/proc/{pid}/ns/net"))?,
            home: open("/proc/thread-self/ns/net")?,
        })
    }

    /// Runs something with this thread in the namespace.
    pub(super) fn run<T>(&self, inside: impl FnOnce() -> Result<T>) -> Result<T> {
        enter(&self.there)?;
        let result = inside();
        enter(&self.home)?;
        result
    }
}

fn enter(namespace: &File) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter a container's network namespace: are you root?")
}

/// Processors, their load now, and kernel, for people.
pub(super) fn machine() -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let control = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    Ok(format!(
        "{processors} processors under a load of {load} at the start, Linux {}, congestion control {}",
        kernel.trim(),
        control.trim()
    ))
}
