//! Whether the program grows: its files and its memory, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use parking_lot::Mutex;

use crate::World;
use crate::tally::say;

const EVERY: Duration = Duration::from_secs(2);
/// Fewer samples of a process say nothing.
const ENOUGH: usize = 45;

/// Samples of each process of the program.
#[derive(Debug, Default)]
pub(crate) struct Growth(Mutex<BTreeMap<u32, Vec<Sample>>>);

/// The resources of a process at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Open files.
    files: usize,
    /// Resident memory, in KiB.
    memory: usize,
}

// === impl Growth ===

impl Growth {
    /// Takes samples until told to stop.
    pub(crate) fn follow(&self, world: &World) {
        while !world.halted() {
            let pid = world.program.ganger().pid();
            if let Some(sample) = Sample::of(pid) {
                self.0.lock().entry(pid).or_default().push(sample);
            }
            world.rest(EVERY);
        }
    }

    /// The last sample, in words.
    pub(crate) fn last(&self, pid: u32) -> String {
        let samples = self.0.lock();
        samples.get(&pid).and_then(|samples| samples.last()).map_or_else(
            || "no sample".to_owned(),
            |Sample { files, memory }| format!("{files} files, {memory} KiB"),
        )
    }

    /// Compares the first third with the last, of each process.
    pub(crate) fn judge(&self, world: &World) {
        for (pid, samples) in &*self.0.lock() {
            let count = samples.len();
            if count < ENOUGH {
                say(&format!("process {pid}: {count} samples say nothing of its growth"));
                continue;
            }
            let (first, last) = (&samples[..count / 3], &samples[count - count / 3..]);
            for (what, part, more) in [
                ("files", (|s: &Sample| s.files) as fn(&Sample) -> usize, 40),
                ("KiB", |s: &Sample| s.memory, 16 * 1024),
            ] {
                let (before, after) = (median(first, part), median(last, part));
                let text = format!("process {pid}: median of {before} {what} first, {after} last");
                if grows(before, after, more) {
                    world.tally.violation(text);
                } else {
                    say(&text);
                }
            }
        }
    }
}

/// Whether the growth is more than changes of the load explain.
fn grows(before: usize, after: usize, more: usize) -> bool {
    after > before + before / 2 + more
}

fn median(samples: &[Sample], part: fn(&Sample) -> usize) -> usize {
    let mut values: Vec<_> = samples.iter().map(part).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

// === impl Sample ===

impl Sample {
    fn of(pid: u32) -> Option<Self> {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = memory.split_whitespace().next()?.parse().ok()?;
        Some(Self { files, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_files_and_memory() {
        let sample = Sample::of(std::process::id()).unwrap();
        assert!(sample.files > 2 && sample.memory > 100, "{sample:?}");
        assert_eq!(median(&[sample, Sample::default(), sample], |s| s.files), sample.files);
        assert!(grows(100, 200, 40) && !grows(100, 190, 40));
    }
}
