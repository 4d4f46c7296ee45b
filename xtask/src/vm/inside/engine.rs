//! Chosen tests of the application, on the machine's own engine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::said;
use crate::command;
use crate::vm::plan::Plan;
use crate::vm::system::CRUN;

/// Tests that need one engine and no tight deadline, and where something of the kernel's, of
/// systemd's or of the engine's is at stake.
pub(super) const TESTS: &[Test] = &[
    own("reach::by_namespace_no_port_is_published_and_a_sealed_container_has_no_network"),
    own("reach::a_container_may_do_little"),
    own("reach::a_container_that_ran_out_of_memory_is_not_reused"),
    other("kinds::every_kind_serves_by_namespace"),
    other("kinds::every_kind_s_container_that_is_killed_in_stock_is_replaced"),
    other("kinds::every_kind_s_containers_have_their_limits"),
    own("strict::readiness_by_namespace_uses_up_no_connection"),
    own("cells::every_client_has_a_cell_of_its_own_and_nothing_is_left_of_any"),
    own("cells::a_cell_is_kept_in_as_a_container_of_its_engine_is"),
    own("cells::a_killed_keeper_takes_its_cells_with_it_and_others_serve"),
    own("cells::a_killed_run_leaves_no_cell_whoever_else_is_killed"),
    own("cells::a_command_that_fails_is_told_as_an_engine_s_container_s_would_be"),
    own("cells::created_ahead::cells_in_stock_are_created_and_a_lease_starts_them"),
];

/// Where the tests find the fleet.
const FLEET: &str = "/run/ganger-vm/fleet.json";
/// In seconds.
const LIMIT: &str = "900";
/// The lines that are shown of a failed test.
const TAIL: usize = 60;

/// A chosen test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    /// With the module it is in.
    pub(super) name: &'static str,
    /// The machine's engine, as this test sees it.
    kind: &'static str,
}

/// A test on the engine that a machine has.
const fn own(name: &'static str) -> Test {
    Test { name, kind: "docker" }
}

/// A test for engines beside that.
const fn other(name: &'static str) -> Test {
    Test { name, kind: "docker-trixie" }
}

/// Runs a test in a process of its own.
pub(super) fn run(plan: &Plan, test: Test) -> Result<()> {
    record(test.kind)?;
    place_crun()?;
    let executable = plan.tests.as_ref().context("its executable is not on the disk")?;
    let mut command = Command::new("timeout");
    command.arg(LIMIT).arg(executable).args([test.name, "--exact", "--include-ignored"]);
    // The fixture is on the disk, and there is nothing to build it again with.
    command.env("GANGER_FLEET", FLEET).env("CARGO", "/bin/true").env("HOME", "/root");
    command.env("GANGER_TEST_SLOWNESS", "8");
    let output = command.output().context("timeout")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    // A name that no test has would pass as well.
    if output.status.success() && stdout.contains("1 passed") {
        return Ok(());
    }
    let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = all.lines().collect();
    bail!("{}\n{}", output.status, lines[lines.len().saturating_sub(TAIL)..].join("\n"))
}

/// Puts crun where the tests find that of the fleet.
fn place_crun() -> Result<()> {
    let place = command::root().join("target/suites/podman-trixie/bin/crun");
    fs::create_dir_all(place.parent().unwrap_or(&place))?;
    if !place.exists() {
        symlink(CRUN, place)?;
    }
    Ok(())
}

/// Writes down a fleet of one host: the machine's engine, which the tests take for one without
/// an address of its own.
fn record(kind: &str) -> Result<()> {
    let containerd = said("systemctl", &["show", "--value", "--property=MainPID", "containerd"])?;
    let version = said("docker", &["version", "--format", "{{.Server.Version}}"])?;
    let record = json!({
        "consul": "/nonexistent",
        "hosts": [{
            "name": "host-1",
            "number": 1,
            "kind": kind,
            "version": version,
            "socket": "/run/docker.sock",
            "tcp_url": null,
            "netns": null,
            "gateway": null,
            "capacity": 40,
            "containerd_pid": containerd.parse::<i32>()?,
            "pidfile": "/run/docker.pid",
            "log": "/dev/null",
            "command": [],
        }],
    });
    let path = Path::new(FLEET);
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    Ok(fs::write(path, record.to_string())?)
}
