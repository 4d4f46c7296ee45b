//! Configurations for the built program.

use std::fmt;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use crate::fixture::FIXTURE;
use crate::fleet::Fleet;
use crate::ganger::{ACCESS_LOG, Ganger, QUIET};
use crate::poll::{free_port, here, unique};

/// Shell commands that hand on a listening socket, their standard input: the process that is to
/// have it has to be named, and only that knows its number.
const ACTIVATE: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// A configuration in the making. Every service listens on a port of its own.
#[derive(Debug, Clone)]
pub struct Config {
    instance: String,
    address: &'static str,
    daemons: Vec<String>,
    discovery: Option<String>,
    services: Vec<Service>,
    fields: String,
    env: Vec<(String, String)>,
    guarded_in_full: bool,
}

#[derive(Debug, Clone)]
struct Service {
    name: String,
    port: u16,
    image: String,
    command: Vec<String>,
    fields: String,
}

// === impl Config ===

impl Config {
    /// A configuration whose instance has a unique name that starts so.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            instance: unique(name),
            address: "127.0.0.1",
            daemons: Vec::new(),
            discovery: None,
            services: Vec::new(),
            fields: String::new(),
            env: Vec::new(),
            guarded_in_full: false,
        }
    }

    /// With a guardian that takes as long to be sure as it does for users.
    #[must_use]
    pub fn guarded_in_full(mut self) -> Self {
        self.guarded_in_full = true;
        self
    }

    /// With a variable in the environment of the program.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With services that listen on every address of this machine.
    #[must_use]
    pub fn everywhere(mut self) -> Self {
        self.address = "0.0.0.0";
        self
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// With a daemon more, as `Host::daemon` or `Host::remote_daemon` writes it.
    #[must_use]
    pub fn daemon(mut self, daemon: String) -> Self {
        self.daemons.push(daemon);
        self
    }

    /// With a fleet that is to be discovered, such as `Consul(…)`.
    #[must_use]
    pub fn discovery(mut self, discovery: String) -> Self {
        self.discovery = Some(discovery);
        self
    }

    /// With a service more: the fixture, called with these arguments. `fields`
    /// are those that need not be there, such as `warm: 2, max: 8`.
    #[must_use]
    pub fn fixture(self, name: &str, fields: &str, command: &[&str]) -> Self {
        self.image(name, FIXTURE, fields, command)
    }

    /// As [`Config::fixture`], with another image that listens on port 7000.
    #[must_use]
    pub fn image(mut self, name: &str, image: &str, fields: &str, command: &[&str]) -> Self {
        self.services.push(Service {
            name: name.to_owned(),
            port: free_port(),
            image: image.to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            fields: fields.to_owned(),
        });
        self
    }

    /// With fields beside `daemons` and `services`, such as `drain_timeout: "1s"`.
    #[must_use]
    pub fn with(mut self, fields: &str) -> Self {
        self.fields.push_str(&format!("    {fields},\n"));
        self
    }

    /// With other fields and another command for a service.
    #[must_use]
    pub fn changed(mut self, service: &str, fields: &str, command: &[&str]) -> Self {
        for known in self.services.iter_mut().filter(|known| known.name == service) {
            fields.clone_into(&mut known.fields);
            known.command = command.iter().map(ToString::to_string).collect();
        }
        self
    }

    /// With a service moved to another port.
    #[must_use]
    pub fn moved(mut self, service: &str) -> Self {
        self.services.iter_mut().filter(|known| known.name == service).for_each(|known| {
            known.port = free_port();
        });
        self
    }

    /// With a service less.
    #[must_use]
    pub fn without(mut self, service: &str) -> Self {
        self.services.retain(|known| known.name != service);
        self
    }

    /// With a daemon that has another url: `daemon`, as `Host::daemon` writes it, takes the place
    /// of the one of this name.
    #[must_use]
    pub fn relocated(mut self, name: &str, daemon: &str) -> Self {
        let start = format!("(name: {name:?},");
        for known in self.daemons.iter_mut().filter(|known| known.starts_with(&start)) {
            daemon.clone_into(known);
        }
        self
    }

    /// With no daemons.
    #[must_use]
    pub fn without_daemons(mut self) -> Self {
        self.daemons.clear();
        self
    }

    /// Where a service listens on 127.0.0.1.
    ///
    /// # Panics
    /// When there is no such service.
    #[must_use]
    pub fn port(&self, service: &str) -> u16 {
        self.services.iter().find(|known| known.name == service).expect("the service").port
    }

    /// Starts `ganger run` with it. `program` is `env!("CARGO_BIN_EXE_ganger")`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, program: &str, fleet: &Fleet) -> Ganger {
        self.run(program, fleet, &[], Stdio::null())
    }

    /// As [`Config::start`], with more arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(&self, program: &str, fleet: &Fleet, args: &[&str]) -> Ganger {
        self.run(program, fleet, args, Stdio::null())
    }

    /// As [`Config::start`], as systemd starts it that has opened a listening socket, which has
    /// this name.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_activated(
        &self,
        program: &str,
        fleet: &Fleet,
        name: &str,
        socket: &TcpListener,
    ) -> Ganger {
        let passed = OwnedFd::from(socket.try_clone().expect("a socket"));
        let variables = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", name)];
        let variables = variables.into_iter().fold(self.clone(), |c, (key, v)| c.env(key, v));
        let args = ["-c", ACTIVATE, program];
        variables.run_by("/bin/sh", &args, fleet, &[], passed.into())
    }

    fn run(&self, program: &str, fleet: &Fleet, args: &[&str], stdin: Stdio) -> Ganger {
        self.run_by(program, &[], fleet, args, stdin)
    }

    fn run_by(
        &self,
        program: &str,
        before: &[&str],
        fleet: &Fleet,
        after: &[&str],
        stdin: Stdio,
    ) -> Ganger {
        let args = match self.guarded_in_full {
            true => &["run"][..],
            false => &["run", "--guardian-quiet", QUIET],
        };
        let args = [before, args, after].concat();
        let text = self.to_string();
        Ganger::run_with(program, fleet, &self.instance, &text, &args, &self.env, stdin)
    }

    /// Loads the images, starts `ganger run`, and waits until every stock is full.
    ///
    /// # Panics
    /// When that does not come about.
    #[must_use]
    pub fn serve(&self, program: &str, fleet: &Fleet) -> Ganger {
        fleet.load_images();
        let ganger = self.start(program, fleet);
        for service in &self.services {
            ganger.wait_until_stocked(&service.name);
        }
        ganger
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, address, daemons, discovery, services, fields, .. } = self;
        writeln!(f, "#![enable(implicit_some)]\n(\n    instance: {instance:?},")?;
        writeln!(f, "    access_log: {ACCESS_LOG:?},\n{fields}")?;
        match discovery {
            Some(discovery) => writeln!(f, "    daemons: {discovery},")?,
            None => {
                let daemons = daemons.join(",\n        ");
                writeln!(f, "    daemons: Static([\n        {daemons},\n    ]),")?;
            }
        }
        writeln!(f, "    services: {{")?;
        for Service { name, port, image, command, fields } in services {
            writeln!(f, "        {name:?}: (")?;
            writeln!(f, "            listen: \"{address}:{port}\", image: {image:?}, port: 7000,")?;
            if !command.is_empty() {
                writeln!(f, "            command: {command:?},")?;
            }
            let pull = if fields.contains("pull:") { "" } else { "pull: Never, " };
            writeln!(f, "            {pull}{}{fields},\n        ),", patience(fields))?;
        }
        writeln!(f, "    }},\n)")
    }
}

/// More time for launches and for clients in the queue, on a machine that is slower than
/// others and where the fields do not say how much there is.
fn patience(fields: &str) -> String {
    let usual = Duration::from_secs(30);
    let here = here(usual).as_secs();
    let more = [("timeouts", "start"), ("queue", "timeout")]
        .into_iter()
        .filter(|(field, _)| here > usual.as_secs() && !fields.contains(&format!("{field}:")));
    more.map(|(field, time)| format!("{field}: ({time}: \"{here}s\"), ")).collect()
}
