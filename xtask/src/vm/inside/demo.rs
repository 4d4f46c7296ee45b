//! `ganger demo`, as somebody has it who has just built the program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::unit::{PORT, echo};
use super::{Check, DEADLINE, containers};
use crate::vm::plan::Plan;
use crate::wait;

/// The checks of the demo.
pub(super) const CHECKS: &[Check] = &[("serves_and_leaves_nothing", serves_and_leaves_nothing)];

fn serves_and_leaves_nothing(plan: &Plan) -> Result<()> {
    let mut demo = Command::new(&plan.ganger);
    let mut demo = demo.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let result = drive(&mut demo);
    if result.is_err() {
        // The demo may run on.
        let _ = demo.kill();
        let _ = demo.wait();
    }
    result?;
    let left = containers()?;
    ensure!(left.is_empty(), "it has left {left:?}");
    Ok(())
}

fn drive(demo: &mut Child) -> Result<()> {
    let (send, lines) = mpsc::channel();
    let stdout = BufReader::new(demo.stdout.take().context("its output")?);
    let reader = thread::spawn(move || {
        // The receiver may have gone.
        stdout.lines().map_while(Result::ok).all(|line| send.send(line).is_ok())
    });
    let mut said = Vec::new();
    let mut hear = |wanted: &str| -> Result<String> {
        loop {
            let line = lines
                .recv_timeout(DEADLINE)
                .with_context(|| format!("not said: {wanted}; but {said:#?}"))?;
            said.push(line.clone());
            if line.contains(wanted) {
                return Ok(line);
            }
        }
    };
    let how = hear("demo: containers get")?;
    ensure!(how.contains("no network at all"), "{how}");
    hear("waiting for connections")?;
    // As many clients as are in stock: those who wait cannot be given more time.
    (0..2).try_for_each(|_| echo(PORT))?;
    let pid = i32::try_from(demo.id()).ok().and_then(Pid::from_raw).context("its process id")?;
    kill_process(pid, Signal::INT)?;
    hear("every container is removed")?;
    let ended = wait::until(DEADLINE, || demo.try_wait().ok().flatten());
    let status = ended.context("it does not end")?;
    ensure!(status.success(), "it ended with {status}");
    // The reader ends with the last line.
    let _ = reader.join();
    Ok(())
}
