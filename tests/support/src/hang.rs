//! The end of a run in which a test hangs. It says where; otherwise whoever waits for the run would
//! end it, and nobody would know why.

use std::fs;
use std::io::{self, Write};
use std::sync::{Once, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::poll::{here, step};

/// Longer than any test takes once it has its hosts.
const LIMIT: Duration = Duration::from_secs(600);
/// How long the report may take.
const REPORT: Duration = Duration::from_secs(10);
/// How long a lock is waited for.
const LOCKED: Duration = Duration::from_secs(1);
/// How much of what a program has printed is shown.
const LINES: usize = 30;

/// The lines that a program has printed.
pub(crate) type Lines = Mutex<Vec<String>>;

/// A test that is under way. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(String);

/// The tests that are under way, and when each hangs.
static ALL: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());
/// The programs that have been started, with what they have printed.
static PRINTED: Mutex<Vec<(String, Weak<Lines>)>> = Mutex::new(Vec::new());

// === impl UnderWay ===

impl UnderWay {
    /// The test of this thread.
    pub(crate) fn begin() -> Self {
        static WATCH: Once = Once::new();
        let test = Self(thread::current().name().unwrap_or("a test").to_owned());
        test.allow(LIMIT);
        WATCH.call_once(|| drop(thread::spawn(watch)));
        test
    }

    /// Lets it take so long from now on.
    pub(crate) fn allow(&self, limit: Duration) {
        let mut all = ALL.lock();
        all.retain(|(test, _)| *test != self.0);
        all.push((self.0.clone(), Instant::now() + here(limit)));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        ALL.lock().retain(|(test, _)| *test != self.0);
    }
}

/// Notes what a program prints.
pub(crate) fn note(program: &str, lines: Weak<Lines>) {
    let mut all = PRINTED.lock();
    all.retain(|(_, lines)| lines.strong_count() > 0);
    all.push((program.to_owned(), lines));
}

fn watch() {
    loop {
        step();
        let now = Instant::now();
        let late = ALL.lock().iter().find(|(_, end)| *end < now).map(|(test, _)| test.clone());
        if let Some(test) = late {
            // A process that hangs may not let its command line be read.
            _ = thread::Builder::new().spawn(|| {
                thread::park_timeout(REPORT);
                std::process::exit(101);
            });
            // Past what takes the output of tests for itself.
            let mut out = io::stderr();
            _ = writeln!(out, "\ntest {test} hangs, which ends the run");
            _ = out.write_all(report().as_bytes());
            std::process::exit(101);
        }
    }
}

fn report() -> String {
    let mut said = "--- threads of the tests:\n".to_owned();
    for task in entries("/proc/self/task") {
        said += &format!("{task} {}\n", at(&format!("/proc/self/task/{task}")));
    }
    said += "--- processes:\n";
    for pid in entries("/proc").iter().filter(|name| name.parse::<u32>().is_ok()) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let line = read("cmdline").unwrap_or_default().replace('\0', " ");
        let status = read("status").unwrap_or_default();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (parent, state) = (field("PPid:"), field("State:"));
        if !line.is_empty() {
            let (parent, state) = (parent.unwrap_or_default(), state.unwrap_or_default());
            let line: String = line.chars().take(150).collect();
            said += &format!("{pid} of {parent} {state} {}: {line}\n", at(&format!("/proc/{pid}")));
        }
    }
    for (program, lines) in PRINTED.lock().iter() {
        let Some(lines) = lines.upgrade() else { continue };
        // The thread that hangs may have them locked.
        let Some(lines) = lines.try_lock_for(LOCKED) else { continue };
        let last = &lines[lines.len().saturating_sub(LINES)..];
        said += &format!("--- the last that {program} printed:\n{}\n", last.join("\n"));
    }
    said
}

/// The name of a task, and the place in the kernel where it waits.
fn at(task: &str) -> String {
    let read = |file| fs::read_to_string(format!("{task}/{file}")).unwrap_or_default();
    let [name, place, call] = ["comm", "wchan", "syscall"].map(read);
    format!("({}) in {} {}", name.trim(), place.trim(), call.split(' ').next().unwrap_or_default())
}

fn entries(directory: &str) -> Vec<String> {
    let all = fs::read_dir(directory).into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_said_where_a_test_hangs_and_what_runs_beside_it() {
        let lines = Arc::new(Mutex::new(vec!["listening".to_owned()]));
        note("echo-7", Arc::downgrade(&lines));
        let said = report();
        assert!(said.contains("echo-7 printed:\nlistening\n"), "{said}");
        // This thread runs, and is one of this process.
        let thread = rustix::thread::gettid().as_raw_nonzero();
        let own = format!("\n{thread} (");
        assert!(said.contains(&own), "{own} {said}");
        assert!(said.contains(&format!("\n{} of ", std::process::id())), "{said}");
    }
}
