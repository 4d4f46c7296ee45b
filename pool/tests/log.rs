//! The log of a test, while another thread has no subscriber.

#[path = "support/log.rs"]
mod support;

use std::thread;

use support::Log;

fn say(line: &str) {
    tracing::info!("{line}");
}

#[test]
fn a_thread_without_a_subscriber_silences_no_other() {
    let (log, _listening) = Log::listen();
    thread::spawn(|| say("to nobody")).join().unwrap();
    say("to the log");
    assert_eq!(log.lines("to the log").len(), 1);
    assert_eq!(log.lines("to nobody").len(), 0);
}
