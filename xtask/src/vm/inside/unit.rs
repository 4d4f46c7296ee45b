//! The systemd unit, as it is shipped and installed by the words of docs/operation.md, under systemd.

mod service;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use self::service::{CONFIG, DROP_IN, NAME, SOCKET, UNIT, with};
pub(super) use self::service::{Client, PORT, echo, systemctl};
use super::{Check, containers, said, wait_until};
use crate::vm::plan::Plan;
use crate::wait;

/// The checks of the unit.
pub(super) const CHECKS: &[Check] = &[
    ("a_start_is_over_when_clients_are_served", start),
    ("serves_confined_containers_by_namespace", serves),
    ("has_the_rights_that_it_needs_and_no_others", rights),
    ("a_reload_is_seen_and_costs_no_process", reload),
    ("what_is_killed_is_started_again_without_what_it_had", kill),
    ("what_a_killed_one_had_is_gone_without_another_start", kill_without_restart),
    ("one_that_stands_still_is_started_again", watchdog),
    ("a_restart_serves_again_with_containers_of_its_own", restart),
    ("a_restart_with_a_socket_of_systemd_s_refuses_nobody", restart_with_socket),
    ("a_stop_leaves_nothing", stop),
    ("a_stop_that_cuts_a_connection_is_no_failure", stop_with_a_client),
    ("a_configuration_with_mistakes_is_tried_once", mistakes),
    ("a_dockerd_that_is_restarted_is_outlived", engine_restarts),
];

/// Numbers of the unit's CapabilityBoundingSet.
const CAPABILITIES: [u8; 5] = [1, 10, 19, 21, 24];
/// Clients that come in turn, so that 50 a second come as long as none has to wait.
const CLIENTS: u32 = 25;
const PACE: Duration = Duration::from_millis(20);
/// The most that systemd-analyze may say the unit is exposed, in tenths: below is "OK".
const EXPOSURE: &str = "--threshold=49";

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
        said("systemd-analyze", &["verify", UNIT])?;
        said("systemd-analyze", &["security", "--offline=true", "--no-pager", EXPOSURE, UNIT])?;
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
        // A configuration with mistakes changes nothing.
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

/// 50 clients a second come, and some stay until after the stop has begun.
fn restart_with_socket(plan: &Plan) -> Result<()> {
    with(plan, |service| {
        systemctl(&["stop", NAME])?;
        let (config, strict) = (fs::read_to_string(CONFIG)?, "reuse: 0,");
        ensure!(config.contains(strict), "the configuration does not say {strict:?}");
        fs::write(CONFIG, config.replace(strict, "reuse: 100000,"))?;
        let unit =
            |program: &Path| said("install", &["-m", "644", &program.to_string_lossy(), SOCKET]);
        unit(&plan.socket)?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["start", "ganger.socket"])?;
        // The first client starts it.
        let stay: Vec<_> = (0..8).map(|_| Client::hold(PORT)).collect::<Result<_>>()?;
        let before = service.property("MainPID")?;
        let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        let failed = thread::scope(|scope| {
            let come = || {
                // Clients come one after the other until the end, with half a second between two.
                while wait::until(CLIENTS * PACE, || over.load(Ordering::Relaxed).then_some(()))
                    .is_none()
                {
                    echo(PORT)?;
                    served.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(come)).collect();
            let restart = || {
                let more = |count: usize| {
                    let until = served.load(Ordering::Relaxed) + count;
                    wait_until("more are served", || served.load(Ordering::Relaxed) >= until)
                };
                more(100)?;
                systemctl(&["restart", "--no-block", NAME])?;
                wait_until("it stops", || {
                    service.property("ActiveState").is_ok_and(|state| state == "deactivating")
                })?;
                stay.into_iter().try_for_each(Client::finish)?;
                wait_until("another process runs", || {
                    service.property("ActiveState").is_ok_and(|state| state == "active")
                        && service.property("MainPID").is_ok_and(|pid| pid != before)
                })?;
                more(100)
            };
            let restarted = restart();
            over.store(true, Ordering::Relaxed);
            let came = clients.into_iter().map(|client| match client.join() {
                Ok(came) => came,
                Err(_) => bail!("a client has panicked"),
            });
            came.chain([restarted]).filter_map(Result::err).collect::<Vec<_>>()
        });
        ensure!(failed.is_empty(), "{failed:#?}");
        let log = service.log(&[])?;
        ensure!(!log.contains("end=C") && !log.contains("refused"), "not all ended well");
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
                // Comments have it, too.
                .replacen("services: {", "drain_timeout: \"1s\",\n    services: {", 1),
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
