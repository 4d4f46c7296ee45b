//! A real Consul server, one for each datacenter.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::authority::{Authority, Issued};
use crate::faults::stop;
use crate::fleet::{Fleet, Host};
use crate::poll::{free_port, unique, wait_until};

/// How long it may take to elect itself, on a machine that has much else to do.
const START: Duration = Duration::from_secs(60);

/// The token that may do everything in a Consul with ACLs.
const MANAGEMENT: &str = "6d1f4b0e-3c52-4b8a-9a53-000000000001";

/// A Consul server on loopback. It is killed when this is dropped.
#[derive(Debug)]
pub struct Consul {
    program: PathBuf,
    datacenter: String,
    dir: PathBuf,
    http: u16,
    wan: u16,
    https: u16,
    ports: String,
    settings: String,
    acls: bool,
    join: Option<u16>,
    child: Option<Child>,
}

/// An ACL token.
#[derive(Debug, Clone)]
pub struct Token {
    accessor: String,
    /// The value that is shown to Consul.
    pub secret: String,
}

/// An instance of a service, as the agent knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The name of its service.
    pub name: String,
    /// Where it is; empty is the agent's own address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it is: `passing`, `warning`, `critical`.
    pub status: String,
    /// The output of its check.
    pub output: String,
}

// === impl Consul ===

impl Consul {
    /// Starts the server of a datacenter, and has it know the one of another.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(fleet: &Fleet, datacenter: &str, other: Option<&Self>) -> Self {
        let mut consul = Self::new(fleet, datacenter);
        consul.join = other.map(|other| other.wan);
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

    /// Starts one in which nobody may do anything without a token.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn with_acls(fleet: &Fleet) -> Self {
        let mut consul = Self::new(fleet, "dc1");
        consul.acls = true;
        consul.settings.push_str(&format!(
            " acl {{ enabled = true default_policy = \"deny\" \
             tokens {{ master = \"{MANAGEMENT}\" agent = \"{MANAGEMENT}\" }} }}"
        ));
        consul.resume();
        consul
    }

    /// Starts one that is also reached by https, by whoever has a certificate of
    /// this authority.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn with_tls(fleet: &Fleet, identity: &Issued, clients: &Authority) -> Self {
        let mut consul = Self::new(fleet, "dc1");
        fs::create_dir_all(&consul.dir).expect("a directory for Consul");
        identity.write(&consul.dir);
        fs::write(consul.dir.join("ca.pem"), clients.pem()).expect("a file");
        let file = |name: &str| consul.dir.join(name).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        consul.settings.push_str(&format!(
            " verify_incoming_https = true ca_file = {ca:?} cert_file = {cert:?} key_file = {key:?}",
        ));
        consul.ports.push_str(&format!(" https = {}", consul.https));
        consul.resume();
        consul
    }

    fn new(fleet: &Fleet, datacenter: &str) -> Self {
        let (http, server, lan, wan) = (free_port(), free_port(), free_port(), free_port());
        Self {
            program: fleet.consul().to_owned(),
            datacenter: datacenter.to_owned(),
            dir: std::env::temp_dir().join(unique("ganger-consul")),
            http,
            wan,
            https: free_port(),
            ports: format!(
                "http = {http} server = {server} serf_lan = {lan} serf_wan = {wan} dns = -1 grpc = -1"
            ),
            settings: String::new(),
            acls: false,
            join: None,
            child: None,
        }
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
        command.args(["-hcl", &format!("ports {{ {} }} {}", self.ports, self.settings)]);
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
                // Its ACLs are those of today, which begin a moment later.
                && (!self.acls || self.ask("GET", "/v1/acl/tokens", &Value::Null).is_some())
        });
    }

    /// Starts it anew, without what it knew.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn forget(&mut self) {
        self.stop();
        fs::remove_dir_all(self.dir.join("data")).expect("what it knew");
        self.resume();
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops its process, which answers nothing until [`Consul::thaw`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        stop(&[self.process()]);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        kill_process(self.process(), Signal::CONT).expect("Consul runs");
    }

    fn process(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("Consul runs"))
    }

    /// Where its API is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Where its API is by https, for one that was started so.
    #[must_use]
    pub fn https_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.https)
    }

    /// A new token with these rules.
    ///
    /// # Panics
    /// When Consul does not make one.
    #[must_use]
    pub fn token(&self, rules: &str) -> Token {
        let policy = json!({"Name": unique("policy"), "Rules": rules});
        let policy = self.ask("PUT", "/v1/acl/policy", &policy).expect("a policy");
        let token = json!({"Policies": [{"ID": policy["ID"]}]});
        let token = self.ask("PUT", "/v1/acl/token", &token).expect("a token");
        let text = |key: &str| token[key].as_str().expect("text").to_owned();
        Token { accessor: text("AccessorID"), secret: text("SecretID") }
    }

    /// Ends what a token is good for.
    ///
    /// # Panics
    /// When Consul does not know it.
    pub fn revoke(&self, token: &Token) {
        let path = format!("/v1/acl/token/{}", token.accessor);
        assert!(self.ask("DELETE", &path, &Value::Null).is_some(), "the token is not known");
    }

    /// The instance of this id, as its agent knows it.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn registered(&self, id: &str) -> Option<Registered> {
        let list = |path| self.ask("GET", path, &Value::Null).expect("an answer of Consul");
        let (services, checks) = (list("/v1/agent/services"), list("/v1/agent/checks"));
        let service = services.get(id)?;
        let check = &checks[format!("service:{id}")];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(Registered {
            name: text(&service["Service"]),
            address: text(&service["Address"]),
            port: service["Port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(0),
            tags: service["Tags"].as_array().into_iter().flatten().map(text).collect(),
            status: text(&check["Status"]),
            output: text(&check["Output"]),
        })
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

    /// Its answer, `Null` for an empty one, when that says that all is well.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let length = body.len();
        let token =
            if self.acls { format!("X-Consul-Token: {MANAGEMENT}\r\n") } else { String::new() };
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{token}Content-Length: {length}\r\n\r\n{body}"
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
