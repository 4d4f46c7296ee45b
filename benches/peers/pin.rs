//! The processors that the processes have.

use std::fs;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Processes that share one processor, until this is dropped: nobody waits for one to wake up.
pub(crate) struct Pinned {
    processes: Vec<u32>,
    all: CpuSet,
}

// === impl Pinned ===

impl Pinned {
    pub(crate) fn new(processes: Vec<u32>) -> Self {
        let all = sched_getaffinity(None).expect("this thread's processors");
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("one of them");
        let mut one = CpuSet::new();
        one.set(first);
        let pinned = Self { processes, all };
        pinned.give(&one);
        pinned
    }

    fn give(&self, processors: &CpuSet) {
        for process in &self.processes {
            let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
            for task in tasks.flatten() {
                let name = task.file_name();
                let id = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
                // A task that has ended meanwhile needs none.
                let _ = id.map(|id| sched_setaffinity(Some(id), processors));
            }
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.give(&self.all);
    }
}
