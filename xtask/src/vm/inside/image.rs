//! The image that the program makes of itself, run by the Compose file that it prints.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};

use super::unit::{Client, PORT, echo};
use super::{Check, containers, said, wait_until};
use crate::command;
use crate::vm::plan::Plan;

/// The checks of the image.
pub(super) const CHECKS: &[Check] =
    &[("serves_by_compose_and_leaves_nothing", serves), ("all_that_is_missing_is_said", missing)];

const CONFIG: &str = "/etc/ganger/ganger.ron";
const IMAGE: &str = "ganger.local/ganger:latest";
/// Compose's name of the container.
const CONTAINER: &str = "ganger-ganger-1";
const COMPOSE: &str = "/root/compose.yaml";

/// The container while a case runs.
struct Composed;

fn loaded(plan: &Plan) -> Result<PathBuf> {
    let program = plan.static_ganger.clone().context("no static program is on the disk")?;
    let mut made = Command::new(&program);
    let mut made = made.args(["generate", "image"]).stdout(Stdio::piped()).spawn()?;
    let archive = made.stdout.take().context("its output")?;
    let mut load = Command::new("docker");
    load.arg("load").stdin(archive).stdout(File::create("/dev/null")?);
    command::run(&mut load)?;
    ensure!(made.wait()?.success(), "`generate image` has failed");
    Ok(program)
}

fn serves(plan: &Plan) -> Result<()> {
    let program = loaded(plan)?;
    let text = |verb: &[&str]| command::output(&program.to_string_lossy(), verb);
    fs::create_dir_all("/etc/ganger")?;
    let config = text(&["init"])?.replacen("\n(\n", "\n(\n    instance: \"composed\",\n", 1);
    fs::write(CONFIG, config)?;
    fs::write(COMPOSE, text(&["generate", "compose"])?)?;
    let composed = Composed::up()?;
    let case = || {
        wait_until("clients are served", || echo(PORT).is_ok())?;
        (0..3).try_for_each(|_| echo(PORT))?;
        let log = Composed::log()?;
        ensure!(log.contains("containers are reached by namespace"), "reached otherwise");
        // The socket is on the machine, and in the container.
        let status = said("docker", &["exec", CONTAINER, "ganger", "status"])?;
        ensure!(status.contains("echo"), "its status is {status}");
        ensure!(Path::new("/run/ganger/composed.sock").exists(), "no socket is on the machine");
        wait_until("its engine takes it for healthy", || {
            let health = ["inspect", "--format", "{{.State.Health.Status}}", CONTAINER];
            said("docker", &health).is_ok_and(|health| health == "healthy")
        })?;
        // A killed Ganger is started again, and its containers go.
        let (before, client) = (containers()?, Client::hold(PORT)?);
        let pid = said("docker", &["inspect", "--format", "{{.State.Pid}}", CONTAINER])?;
        said("kill", &["-KILL", &pid])?;
        wait_until("nothing is left of what it had", || {
            containers().is_ok_and(|now| {
                !now.is_empty() && now.iter().all(|container| !before.contains(container))
            })
        })?;
        drop(client);
        wait_until("clients are served again", || echo(PORT).is_ok())
    };
    case().map_err(|error| composed.with_log(&error))?;
    drop(composed);
    let left = containers()?;
    ensure!(left.is_empty(), "{left:?} are left");
    Ok(())
}

/// Without a socket, a configuration and the rights.
fn missing(plan: &Plan) -> Result<()> {
    loaded(plan)?;
    let run = ["run", "--rm", "--cap-drop", "ALL", IMAGE];
    let output = Command::new("docker").args(run).output().context("docker run")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "it ends with {}: {told}", output.status);
    ensure!(told.contains(CONFIG), "it does not say which file is missing: {told}");
    for lacks in ["/var/run/docker.sock", "SYS_ADMIN", "pid: host"] {
        ensure!(told.contains(lacks), "it does not say that {lacks} is missing: {told}");
    }
    Ok(())
}

// === impl Composed ===

impl Composed {
    fn up() -> Result<Self> {
        said("docker-compose", &["--file", COMPOSE, "up", "--detach"])?;
        Ok(Self)
    }

    /// Its log: on standard error, as everywhere.
    fn log() -> Result<String> {
        let logs = Command::new("docker").args(["logs", CONTAINER]).output();
        Ok(String::from_utf8_lossy(&logs.context("docker logs")?.stderr).into_owned())
    }

    fn with_log(&self, error: &anyhow::Error) -> anyhow::Error {
        let log = Self::log().unwrap_or_else(|error| format!("{error:#}"));
        anyhow!("{error:#}; its log:\n{log}")
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        // The next case is to find the machine as it was.
        let _ = said("docker-compose", &["--file", COMPOSE, "down"]);
        let _ = fs::remove_dir_all("/etc/ganger");
    }
}
