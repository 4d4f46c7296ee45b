//! How a source of the fleet answers, for those who watch over it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use parking_lot::Mutex;

/// How a source has answered until now: told by the task that asks it, read by the admin server.
#[derive(Debug)]
pub struct SourceHealth {
    /// The number of parts of the fleet, each asked for on its own.
    parts: usize,
    answers: Mutex<SourceAnswers>,
}

/// The outcome of the requests to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceAnswers {
    /// The parts that have answered last time.
    answering: BTreeSet<u32>,
    /// All parts of it answer: each has, and has not failed since.
    pub is_up: bool,
    /// Requests that failed.
    pub failures: u64,
    /// When a part of it answered last.
    pub last: Option<SystemTime>,
}

// === impl SourceHealth ===

impl SourceHealth {
    /// A source of so many parts, each asked for on its own; none has answered yet.
    #[must_use]
    pub fn of_parts(parts: usize) -> Self {
        Self { parts, answers: Mutex::default() }
    }

    /// A source that is known whole, and need not be asked.
    #[must_use]
    pub fn known() -> Self {
        let this = Self::of_parts(1);
        this.answered(0);
        this
    }

    /// The outcome of the requests until now.
    #[must_use]
    pub fn answers(&self) -> SourceAnswers {
        self.answers.lock().clone()
    }

    /// A part has answered.
    pub(crate) fn answered(&self, part: u32) {
        let mut answers = self.answers.lock();
        answers.answering.insert(part);
        answers.is_up = answers.answering.len() == self.parts;
        answers.last = Some(SystemTime::now());
    }

    /// A request has failed. Unless `is_away`, another server is left to ask for the part.
    pub(crate) fn failed(&self, part: u32, is_away: bool) {
        let mut answers = self.answers.lock();
        answers.failures += 1;
        if is_away {
            answers.answering.remove(&part);
            answers.is_up = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_up_while_all_its_parts_answer_and_its_failures_are_counted() {
        let health = SourceHealth::of_parts(2);
        let up = || health.answers().is_up;
        assert!(!up() && health.answers().last.is_none());
        health.answered(0);
        assert!(!up(), "one has not answered yet");
        health.answered(1);
        assert!(up() && health.answers().last.is_some());
        health.failed(1, false);
        assert!(up(), "another server is asked");
        health.failed(1, true);
        health.answered(0);
        assert!(!up());
        health.answered(1);
        assert!(up());
        assert_eq!(health.answers().failures, 2);
        assert!(SourceHealth::known().answers().is_up);
    }
}
