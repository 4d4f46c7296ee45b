//! Output of verbs, for people and for programs that read it.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

/// Why something could not be printed, the first time that happened.
static UNPRINTED: Mutex<Option<io::Error>> = Mutex::new(None);

/// The reader has closed the output.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Prints a line. A failure is kept for [`unprinted`]: the verb goes on, because a demo that
/// runs, or a daemon that is being cleaned, matters more than the line.
pub(super) fn say(line: &str) {
    print(&format!("{line}\n"));
}

/// Prints a text as it is, as [`say`] prints a line.
pub(super) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// Prints bytes that are no text, likewise.
pub(super) fn print_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    note(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Keeps the failure of something that was printed. A closed pipe is none: the reader has seen
/// enough, as with `ganger init | head -1`.
pub(super) fn note(printed: io::Result<()>) {
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => CLOSED.store(true, Relaxed),
        Err(error) => _ = UNPRINTED.lock().get_or_insert(error),
    }
}

/// Whether output is still of use: a verb that goes on for ever ends when it is not.
pub(super) fn is_read() -> bool {
    !CLOSED.load(Relaxed) && UNPRINTED.lock().is_none()
}

/// Why printed output has not arrived, if it has not.
pub(super) fn unprinted() -> Option<io::Error> {
    // Text without an end of line may be left in the buffer.
    note(io::stdout().flush());
    UNPRINTED.lock().take()
}

/// Says on standard error what went wrong. Nobody is left to tell when that cannot be printed.
pub(super) fn complain(message: &str) {
    _ = writeln!(io::stderr().lock(), "{}", message.trim_end());
}
