//! A real Consul server, one for each datacenter.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{Fleet, Host};
use crate::poll::{free_port, unique, wait_until};

/// Until it has elected itself, on a machine that has much else to do.
const START: Duration = Duration::from_secs(60);

/// A Consul server on loopback. It is killed when this is dropped.
#[derive(Debug)]
pub struct Consul {
    program: PathBuf,
    datacenter: String,
    dir: PathBuf,
    http: u16,
    wan: u16,
    ports: String,
    join: Option<u16>,
    child: Option<Child>,
}

// === impl Consul ===

impl Consul {
    /// Starts the server of a datacenter, and has it know the one of another.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(fleet: &Fleet, datacenter: &str, other: Option<&Self>) -> Self {
        let (http, server, lan, wan) = (free_port(), free_port(), free_port(), free_port());
        let mut consul = Self {
            program: fleet.consul().to_owned(),
            datacenter: datacenter.to_owned(),
            dir: std::env::temp_dir().join(unique("ganger-consul")),
            http,
            wan,
            ports: format!(
                "ports {{ http = {http} server = {server} serf_lan = {lan} serf_wan = {wan} \
                 dns = -1 grpc = -1 }}"
            ),
            join: other.map(|other| other.wan),
            child: None,
        };
        consul.resume();
        if other.is_some() {
            wait_until(START, "the datacenters know each other", || {
                consul
                    .ask("GET", "/v1/catalog/datacenters", &Value::Null)
                    .is_some_and(|known| known.as_array().is_some_and(|known| known.len() == 2))
            });
        }
        consul
    }

    /// Starts it again, with what it knew, after [`Consul::stop`].
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn resume(&mut self) {
        fs::create_dir_all(&self.dir).expect("a directory for Consul");
        let log = fs::File::create(self.dir.join("log")).expect("a log for Consul");
        let mut command = Command::new(&self.program);
        command.args(["agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1"]);
        command.arg(format!("-datacenter={}", self.datacenter));
        command.arg(format!("-node=node-{}", self.datacenter));
        command.arg(format!("-data-dir={}", self.dir.join("data").display()));
        command.args(["-hcl", &self.ports]);
        if let Some(wan) = self.join {
            command.arg(format!("-retry-join-wan=127.0.0.1:{wan}"));
        }
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("its log")).stdout(log);
        self.child = Some(command.spawn().expect("consul"));
        wait_until(START, "Consul has a leader", || {
            let leader = self.ask("GET", "/v1/status/leader", &Value::Null);
            leader.is_some_and(|leader| leader.as_str().is_some_and(|leader| !leader.is_empty()))
                // Its own node is in the catalogue, so that services can be.
                && self
                    .ask("GET", &format!("/v1/catalog/node/node-{}", self.datacenter), &Value::Null)
                    .is_some_and(|node| !node.is_null())
        });
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Where its API is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Registers a host as an instance of a service, named as the host is.
    ///
    /// # Panics
    /// When Consul does not take it.
    pub fn register(&self, service: &str, host: &Host, max_containers: u32) {
        let body = json!({
            "ID": host.name, "Name": service, "Address": host.address(), "Port": 2375,
            "Tags": ["engine", format!("max_containers:{max_containers}")],
        });
        let taken = self.ask("PUT", "/v1/agent/service/register", &body);
        assert!(taken.is_some(), "{body} is not taken");
    }

    /// Takes a host out.
    ///
    /// # Panics
    /// When Consul does not know it.
    pub fn deregister(&self, host: &Host) {
        let path = format!("/v1/agent/service/deregister/{}", host.name);
        assert!(self.ask("PUT", &path, &Value::Null).is_some(), "{} is not known", host.name);
    }

    /// What it answers, `Null` for nothing, when it answers that all is well.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1).filter(|status| *status == "200")?;
        Some(serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("--- consul {} said last:", self.datacenter);
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
