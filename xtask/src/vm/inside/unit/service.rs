//! The unit installed and running, for as long as a case takes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use crate::command;
use crate::vm::inside::{DEADLINE, INSTANCE, containers, said, wait_until};
use crate::vm::plan::Plan;

/// Where the default configuration listens.
pub(in crate::vm::inside) const PORT: u16 = 5454;
/// How many containers it keeps ahead of demand.
const STOCK: usize = 2;
pub(super) const NAME: &str = "ganger.service";
const PROGRAM: &str = "/usr/local/bin/ganger";
const DIRECTORY: &str = "/etc/ganger";
pub(super) const CONFIG: &str = "/etc/ganger/ganger.ron";
pub(super) const UNIT: &str = "/etc/systemd/system/ganger.service";
/// Where a unit of a listening socket is, while a case has one.
pub(super) const SOCKET: &str = "/run/systemd/system/ganger.socket";
/// Additions of a case to the unit, until the machine ends or the case does.
pub(super) const DROP_IN: &str = "/run/systemd/system/ganger.service.d";
/// The lines that are shown of a failed case's log.
const TAIL: &str = "80";

/// The unit while a case runs; stopped when it ends.
pub(super) struct Service {
    /// When the case began, as journalctl takes it.
    since: String,
}

/// Runs a case with the unit installed and started, and shows its log when that fails.
pub(super) fn with(plan: &Plan, case: impl FnOnce(&Service) -> Result<()>) -> Result<()> {
    let service = Service { since: said("date", &["+@%s.%6N"])? };
    let result = service.start(plan).and_then(|()| case(&service));
    result.map_err(|error| {
        let log = service.log(&["--lines", TAIL]).unwrap_or_else(|error| format!("{error:#}"));
        anyhow!("{error:#}; its log:\n{log}")
    })
}

pub(in crate::vm::inside) fn systemctl(args: &[&str]) -> Result<String> {
    said("systemctl", args)
}

/// Connects, says something and hears it again.
pub(in crate::vm::inside) fn echo(port: u16) -> Result<()> {
    Client::hold(port).map(drop)
}

/// A connection that has been answered.
pub(in crate::vm::inside) struct Client(TcpStream);

// === impl Client ===

impl Client {
    pub(in crate::vm::inside) fn hold(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("connect")?;
        stream.set_read_timeout(Some(DEADLINE))?;
        (&stream).write_all(b"hello\n").context("send")?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).context("receive")?;
        ensure!(line == "hello\n", "a client has got {line:?}");
        Ok(Self(stream))
    }

    /// Ends its direction, and hears the end of the other.
    pub(super) fn finish(self) -> Result<()> {
        self.0.shutdown(Shutdown::Write)?;
        let rest = (&self.0).read_to_end(&mut Vec::new()).context("a client that stayed")?;
        ensure!(rest == 0, "a client that stayed has got {rest} more bytes");
        Ok(())
    }
}

// === impl Service ===

impl Service {
    /// Installs the unit anew, and starts it; systemd says when clients are served.
    fn start(&self, plan: &Plan) -> Result<()> {
        let install = |mode: &str, from: &Path, to: &str| {
            said("install", &["-D", "-m", mode, &from.to_string_lossy(), to])
        };
        install("755", &plan.ganger, PROGRAM)?;
        install("644", &plan.unit, UNIT)?;
        fs::create_dir_all(DIRECTORY)?;
        // As `init` has it, but with time for a machine as slow as this.
        let patience = "port: 7000, timeouts: (start: \"5m\"), queue: (timeout: \"5m\"),";
        let config = command::output(PROGRAM, &["init"])?.replace("port: 7000,", patience);
        fs::write(CONFIG, config)?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", NAME])?;
        let state = self.property("ActiveState")?;
        ensure!(state == "active", "it is {state}");
        Ok(())
    }

    pub(super) fn property(&self, name: &str) -> Result<String> {
        systemctl(&["show", "--value", "--property", name, NAME])
    }

    /// The unit's log since the case began, systemd's words included.
    pub(super) fn log(&self, options: &[&str]) -> Result<String> {
        let all = ["--unit", NAME, "--since", &self.since, "--no-pager", "--output", "cat"];
        said("journalctl", &[&all, options].concat())
    }

    /// The containers of a full stock, once it is.
    pub(super) fn stocked(&self) -> Result<Vec<String>> {
        self.restocked(&[])?;
        containers()
    }

    /// Waits until the stock is full and all that there is, and none of it was there before.
    pub(super) fn restocked(&self, before: &[String]) -> Result<()> {
        wait_until("the stock is full, and none of it is what was there before", || {
            let running = ["ps", "--quiet", "--filter", INSTANCE];
            let running = said("docker", &running).map_or(0, |ids| ids.lines().count());
            running == STOCK
                && containers().is_ok_and(|all| {
                    all.len() == STOCK && all.iter().all(|id| !before.contains(id))
                })
        })
    }

    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        systemctl(&["kill", "--kill-whom=main", &format!("--signal={signal}"), NAME]).map(drop)
    }

    /// Waits until systemd has started the unit again so many times.
    pub(super) fn started_again(&self, times: u32) -> Result<()> {
        wait_until("systemd starts it again", || {
            let is = |name: &str, value: &str| self.property(name).is_ok_and(|it| it == value);
            is("NRestarts", &times.to_string()) && is("ActiveState", "active")
        })
    }

    /// Checks that it has ended in good order with this code, and nothing is left.
    pub(super) fn stopped(&self, code: &str) -> Result<()> {
        let states = ["ActiveState", "Result", "ExecMainStatus"].map(|name| self.property(name));
        let states: Vec<_> = states.into_iter().collect::<Result<_>>()?;
        ensure!(states == ["inactive", "success", code], "it is {states:?}");
        let left = containers()?;
        ensure!(left.is_empty(), "{left:?} are left");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The next case is to find the machine as it was, and says what is wrong then.
        let _ = systemctl(&["stop", "ganger.socket"]);
        let _ = fs::remove_file(SOCKET);
        let _ = systemctl(&["disable", "--now", NAME]);
        let _ = systemctl(&["reset-failed", NAME]);
        for directory in [DROP_IN, DIRECTORY] {
            let _ = fs::remove_dir_all(directory);
        }
        for file in [UNIT, PROGRAM] {
            let _ = fs::remove_file(file);
        }
        let _ = systemctl(&["daemon-reload"]);
    }
}
