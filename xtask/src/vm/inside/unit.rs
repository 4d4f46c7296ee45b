//! The systemd unit, as it is shipped and installed by the README's words, under systemd.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Check, DEADLINE, containers, said, wait_until};
use crate::command;
use crate::vm::payload::Plan;

/// What is tried.
pub(super) const CHECKS: &[Check] = &[
    ("a_start_is_over_when_clients_are_served", start),
    ("serves_confined_containers_by_namespace", serves),
    ("has_the_rights_that_it_needs_and_no_others", rights),
    ("a_reload_is_seen_and_costs_no_process", reload),
    ("what_is_killed_is_started_again_without_what_it_had", kill),
    ("what_a_killed_one_had_is_gone_without_another_start", kill_without_restart),
    ("one_that_stands_still_is_started_again", watchdog),
    ("a_restart_serves_again_with_containers_of_its_own", restart),
    ("a_stop_leaves_nothing", stop),
    ("a_stop_that_cuts_a_connection_is_no_failure", stop_with_a_client),
    ("a_configuration_with_mistakes_is_tried_once", mistakes),
    ("a_restart_of_the_engine_is_outlived", engine_restarts),
];

/// Where the default configuration listens.
pub(super) const PORT: u16 = 5454;
/// How many containers it keeps ahead of demand.
const STOCK: usize = 2;
const NAME: &str = "ganger.service";
const PROGRAM: &str = "/usr/local/bin/ganger";
const CONFIG: &str = "/etc/ganger/ganger.ron";
const UNIT: &str = "/etc/systemd/system/ganger.service";
/// Numbers of the unit's CapabilityBoundingSet.
const CAPABILITIES: [u8; 5] = [1, 10, 19, 21, 24];
/// What a case adds to the unit, until the machine ends or the case does.
const DROP_IN: &str = "/run/systemd/system/ganger.service.d";
/// Of the log of a case that failed, in lines.
const TAIL: &str = "80";

/// The unit while a case runs; stopped when it ends.
struct Service {
    /// When the case began, as journalctl takes it.
    since: String,
}

/// Runs a case with the unit installed and started, and shows its log when that fails.
fn with(plan: &Plan, case: impl FnOnce(&Service) -> Result<()>) -> Result<()> {
    let service = Service { since: said("date", &["+@%s.%6N"])? };
    let result = service.start(plan).and_then(|()| case(&service));
    result.map_err(|error| {
        let log = service.log(&["--lines", TAIL]).unwrap_or_else(|error| format!("{error:#}"));
        error.context(format!("its log:\n{log}\n"))
    })
}

fn start(plan: &Plan) -> Result<()> {
    with(plan, |_| echo(PORT))
}

fn serves(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let stock = service.stocked()?;
        let log = service.log(&[])?;
        ensure!(log.contains("containers are reached by namespace"), "reached otherwise");
        for id in stock {
            let pid = said("docker", &["inspect", "--format", "{{.State.Pid}}", &id])?;
            let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
            let profile = of("attr/current")?;
            ensure!(profile.trim() == "docker-default (enforce)", "its profile is {profile:?}");
            let group = of("cgroup")?;
            let scope = format!("0::/system.slice/docker-{id}.scope");
            ensure!(group.trim() == scope, "its control group is {group:?}");
        }
        (0..3).try_for_each(|_| echo(PORT))
    })
}

fn rights(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let before = service.stocked()?;
        let pid = service.property("MainPID")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bounds = CAPABILITIES.iter().fold(0_u64, |set, capability| set | 1 << capability);
        for line in
            [format!("CapBnd:\t{bounds:016x}"), "NoNewPrivs:\t1".into(), "Seccomp:\t2".into()]
        {
            ensure!(status.lines().any(|is| is == line), "not {line:?}, but {status}");
        }
        let guardian = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", guardian.trim()))?;
        ensure!(score.trim() == "-900", "the guardian's OOM score is {score}");
        // Processes of another user, with a capability that ours has not.
        let port = "port: 7000, user: \"65534:65534\", cap_add: [\"NET_RAW\"],";
        fs::write(CONFIG, fs::read_to_string(CONFIG)?.replace("port: 7000,", port))?;
        systemctl(&["reload", NAME])?;
        service.restocked(&before)?;
        echo(PORT)?;
        let log = service.log(&[])?;
        ensure!(!log.contains("published port"), "not all are reached by namespace");
        Ok(())
    })
}

fn reload(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let (pid, before) = (service.property("MainPID")?, service.stocked()?);
        let changed = fs::read_to_string(CONFIG)?
            .replace("127.0.0.1:5454", "127.0.0.1:5464")
            .replace("port: 7000,", "port: 7000, env: {\"CHANGED\": \"yes\"},");
        fs::write(CONFIG, changed)?;
        systemctl(&["reload", NAME])?;
        wait_until("clients are served at the changed address", || echo(5464).is_ok())?;
        wait_until("nobody is at the old address", || echo(PORT).is_err())?;
        service.restocked(&before)?;
        wait_until("systemd has heard of its end", || {
            service.property("ActiveState").is_ok_and(|state| state == "active")
        })?;
        ensure!(service.property("MainPID")? == pid, "it is another process");
        // One with mistakes changes nothing.
        fs::write(CONFIG, "no configuration")?;
        systemctl(&["reload", NAME])?;
        wait_until("the mistake is told", || {
            service.log(&[]).is_ok_and(|log| log.contains("not reloaded"))
        })?;
        echo(5464)?;
        ensure!(service.property("ActiveState")? == "active", "it is active");
        ensure!(service.property("MainPID")? == pid, "it is another process");
        Ok(())
    })
}

fn kill(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let before = service.stocked()?;
        let client = Client::hold(PORT)?;
        service.signal("KILL")?;
        service.started_again(1)?;
        service.restocked(&before)?;
        drop(client);
        echo(PORT)
    })
}

fn kill_without_restart(plan: &Plan) -> Result<()> {
    fs::create_dir_all(DROP_IN)?;
    fs::write(Path::new(DROP_IN).join("once.conf"), "[Service]\nRestart=no\n")?;
    with(plan, |service| {
        service.stocked()?;
        let client = Client::hold(PORT)?;
        service.signal("KILL")?;
        wait_until("systemd has seen its end", || {
            service.property("ActiveState").is_ok_and(|state| state == "failed")
        })?;
        // The unit's ExecStopPost has run by then.
        let left = containers()?;
        ensure!(left.is_empty(), "{left:?} are left");
        drop(client);
        Ok(())
    })
}

fn watchdog(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let before = service.stocked()?;
        service.signal("STOP")?;
        service.started_again(1)?;
        ensure!(service.log(&[])?.contains("Watchdog timeout"), "something else has ended it");
        service.restocked(&before)?;
        echo(PORT)
    })
}

fn restart(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let (pid, before) = (service.property("MainPID")?, service.stocked()?);
        systemctl(&["restart", NAME])?;
        ensure!(service.property("ActiveState")? == "active", "it is not active");
        ensure!(service.property("MainPID")? != pid, "it is the same process");
        echo(PORT)?;
        service.restocked(&before)?;
        Ok(())
    })
}

fn stop(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        service.stocked()?;
        systemctl(&["stop", NAME])?;
        service.stopped("0")
    })
}

fn stop_with_a_client(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        fs::write(
            CONFIG,
            fs::read_to_string(CONFIG)?
                .replace("services: {", "drain_timeout: \"1s\",\n    services: {"),
        )?;
        systemctl(&["restart", NAME])?;
        service.stocked()?;
        let client = Client::hold(PORT)?;
        systemctl(&["stop", NAME])?;
        drop(client);
        service.stopped("5")
    })
}

fn mistakes(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        fs::write(CONFIG, "no configuration")?;
        ensure!(systemctl(&["restart", NAME]).is_err(), "systemd was told that it had started");
        wait_until("systemd gives up", || {
            service.property("ActiveState").is_ok_and(|state| state == "failed")
        })?;
        let (code, starts) = (service.property("ExecMainStatus")?, service.property("NRestarts")?);
        ensure!((code.as_str(), starts.as_str()) == ("3", "0"), "code {code}, {starts} restarts");
        Ok(())
    })
}

fn engine_restarts(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        let (pid, before) = (service.property("MainPID")?, service.stocked()?);
        systemctl(&["restart", "docker.service"])?;
        service.restocked(&before)?;
        wait_until("clients are served", || echo(PORT).is_ok())?;
        ensure!(service.property("MainPID")? == pid, "it is another process");
        Ok(())
    })
}

fn systemctl(args: &[&str]) -> Result<String> {
    said("systemctl", args)
}

/// Connects, says something and hears it again.
pub(super) fn echo(port: u16) -> Result<()> {
    Client::hold(port).map(drop)
}

/// A connection that has been answered.
struct Client(#[expect(dead_code, reason = "it is open as long as this is there")] TcpStream);

// === impl Client ===

impl Client {
    fn hold(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("connect")?;
        stream.set_read_timeout(Some(DEADLINE))?;
        (&stream).write_all(b"hello\n").context("send")?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).context("receive")?;
        ensure!(line == "hello\n", "a client has got {line:?}");
        Ok(Self(stream))
    }
}

// === impl Service ===

impl Service {
    /// Installs it anew, and starts it; systemd says when clients are served.
    fn start(&self, plan: &Plan) -> Result<()> {
        let install = |mode: &str, from: &Path, to: &str| {
            said("install", &["-D", "-m", mode, &from.to_string_lossy(), to])
        };
        install("755", &plan.ganger, PROGRAM)?;
        install("644", &plan.unit, UNIT)?;
        fs::create_dir_all("/etc/ganger")?;
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

    fn property(&self, name: &str) -> Result<String> {
        systemctl(&["show", "--value", "--property", name, NAME])
    }

    /// What was logged of it since the case began, systemd's words included.
    fn log(&self, options: &[&str]) -> Result<String> {
        let all = ["--unit", NAME, "--since", &self.since, "--no-pager", "--output", "cat"];
        said("journalctl", &[&all, options].concat())
    }

    /// The containers of a full stock, once it is.
    fn stocked(&self) -> Result<Vec<String>> {
        self.restocked(&[])?;
        containers()
    }

    /// Waits until the stock is full and all that there is, and none of it was there before.
    fn restocked(&self, before: &[String]) -> Result<()> {
        wait_until("the stock is full, and none of it is what was there before", || {
            let running = ["ps", "--quiet", "--filter", super::INSTANCE];
            let running = said("docker", &running).map_or(0, |ids| ids.lines().count());
            running == STOCK
                && containers().is_ok_and(|all| {
                    all.len() == STOCK && all.iter().all(|id| !before.contains(id))
                })
        })
    }

    fn signal(&self, signal: &str) -> Result<()> {
        systemctl(&["kill", "--kill-whom=main", &format!("--signal={signal}"), NAME]).map(drop)
    }

    /// Waits until systemd has started it again so many times.
    fn started_again(&self, times: u32) -> Result<()> {
        wait_until("systemd starts it again", || {
            let is = |name: &str, value: &str| self.property(name).is_ok_and(|it| it == value);
            is("NRestarts", &times.to_string()) && is("ActiveState", "active")
        })
    }

    /// That it has ended in good order with this code, and nothing is left.
    fn stopped(&self, code: &str) -> Result<()> {
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
        // The next case installs it anew, and says what is wrong then.
        let _ = systemctl(&["disable", "--now", NAME]);
        let _ = systemctl(&["reset-failed", NAME]);
        let _ = fs::remove_dir_all(DROP_IN);
    }
}
