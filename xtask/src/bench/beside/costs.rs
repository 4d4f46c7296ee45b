//! The costs of a process: processor time, context switches, system calls.

use std::fs;
use std::ops::Sub;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{command, wait};

/// The costs of a process so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// Processor time, in seconds.
    pub(super) cpu: f64,
    /// How often one of its threads gave its processor away, or had it taken.
    pub(super) switches: f64,
}

/// System calls, and how often each was made for a connection.
pub(super) type Calls = Vec<(String, f64)>;

// === impl Costs ===

impl Costs {
    /// The sum over the threads that there are now.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let mut all = Self { cpu: 0.0, switches: 0.0 };
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread that has ended meanwhile counts no more.
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let ran = read("schedstat").split_whitespace().next().and_then(|n| n.parse().ok());
            all.cpu += ran.unwrap_or(0.0) / 1e9;
            let status = read("status");
            let switches = status.lines().filter(|line| line.contains("ctxt_switches:"));
            let switches =
                switches.filter_map(|line| line.split('\t').next_back()?.parse::<f64>().ok());
            all.switches += switches.sum::<f64>();
        }
        Ok(all)
    }
}

impl Sub for Costs {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, switches: self.switches - before.switches }
    }
}

/// Counts the system calls of a process while so many connections are made, the most frequent first.
pub(super) fn calls(
    pid: u32,
    connections: usize,
    work: impl FnOnce() -> Result<()>,
) -> Result<Calls> {
    let table = std::env::temp_dir().join(format!("ganger-bench-calls-{pid}"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-p", &pid.to_string(), "-o"]).arg(&table);
    let mut child = strace.stderr(Stdio::null()).spawn().context("strace")?;
    let traced = format!("/proc/{pid}/status");
    let attached = wait::until(std::time::Duration::from_secs(10), || {
        let status = fs::read_to_string(&traced).ok()?;
        status.lines().any(|line| line == format!("TracerPid:\t{}", child.id())).then_some(())
    });
    let worked = attached.context("strace does not attach").and_then(|()| work());
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("its pid")?;
    kill_process(id, Signal::INT)?;
    child.wait()?;
    worked?;
    let text = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
    fs::remove_file(&table)?;
    Ok(parse(&text, connections as f64))
}

/// Reads the table of `strace -c`.
fn parse(table: &str, connections: f64) -> Calls {
    let mut calls: Calls = table
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let (name, count) = (words.last()?, words.get(3)?.parse::<f64>().ok()?);
            (*name != "total").then(|| ((*name).to_owned(), count / connections))
        })
        .collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    calls
}

/// Has every new socket of the machine use a congestion control, until this is dropped.
#[derive(Debug)]
pub(super) struct Congestion(Option<String>);

const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

// === impl Congestion ===

impl Congestion {
    /// The machine's own.
    pub(super) fn default_name() -> Result<String> {
        Ok(fs::read_to_string(CONTROL)?.trim().to_owned())
    }

    pub(super) fn set(name: &str) -> Result<Self> {
        let before = Self::default_name()?;
        if before == name {
            return Ok(Self(None));
        }
        fs::write(CONTROL, name)
            .with_context(|| format!("congestion control {name}: are you root?"))?;
        command::say(&format!("the machine's congestion control is {name} now; it was {before}"));
        Ok(Self(Some(before)))
    }
}

impl Drop for Congestion {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            let _ = fs::write(CONTROL, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.000020           2        10         4 recvfrom
 50.00    0.000020           2        40           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000040           2        50         4 total
";
        let expected = vec![("sendto".to_owned(), 4.0), ("recvfrom".to_owned(), 1.0)];
        assert_eq!(parse(table, 10.0), expected);
    }
}
