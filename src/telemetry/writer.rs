//! The thread that writes the log.
//!
//! Who logs appends to a buffer, and wakes the thread only when it waits for the first line: it then
//! gathers more for a moment, and writes all of them by one call. A line for each connection would
//! else cost each connection a wake-up and a write. See `docs/decisions/0075`.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long lines are gathered, and so how late the first of them is written.
const GATHER: Duration = Duration::from_millis(1);
/// The most bytes of lines that wait for a reader who does not read.
const MOST: usize = 16 << 20;
/// The most memory that is kept for the next lines.
const KEPT: usize = 256 << 10;
/// The pause before another attempt to write to a reader who has no room.
const AGAIN: Duration = Duration::from_millis(10);
/// How long [`Writer::flush`] waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes lines, and never waits.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a first line, or no more are to come.
    filled: Condvar,
    /// The thread has written all.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room since this was last told.
    lost: u64,
    /// The thread waits for the first line.
    is_waiting: bool,
    is_closed: bool,
    is_done: bool,
}

// === impl Writer ===

impl Writer {
    /// Starts the thread, which writes to `out` until [`Writer::flush`].
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writer = Self(Arc::clone(&shared));
        thread::Builder::new()
            .name("ganger-log".to_owned())
            .spawn(move || shared.write_all(out))?;
        Ok(writer)
    }

    /// Writes out what was logged, for at most a second, and ends the thread.
    pub(super) fn flush(&self) {
        let Shared { state, filled, done } = &*self.0;
        let mut state = state.lock();
        state.is_closed = true;
        filled.notify_one();
        done.wait_while_for(&mut state, |state| !state.is_done, PATIENCE);
    }
}

/// Takes each line by one call.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.lines.len() + line.len() > MOST {
            state.lost += 1;
            return Ok(line.len());
        }
        state.lines.extend_from_slice(line);
        let wakes = std::mem::take(&mut state.is_waiting);
        drop(state);
        if wakes {
            self.0.filled.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    fn write_all(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        while let Some(lost) = self.next(&mut lines) {
            if lost > 0 {
                // There is room for this line now, and may be none when the others are written.
                tracing::warn!(lines = lost, "log lines are lost: their reader is too slow");
            }
            write_out(&mut out, &lines);
            lines.clear();
            lines.shrink_to(KEPT);
        }
    }

    /// Waits for lines, and returns how many were lost; `None` when no more are to come.
    fn next(&self, lines: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.state.lock();
        while state.lines.is_empty() && !state.is_closed {
            state.is_waiting = true;
            self.filled.wait(&mut state);
        }
        if !state.is_closed {
            // Only the end of all is told meanwhile.
            self.filled.wait_for(&mut state, GATHER);
        }
        state.is_done = state.lines.is_empty();
        if state.is_done {
            self.done.notify_all();
            return None;
        }
        std::mem::swap(&mut state.lines, lines);
        Some(std::mem::take(&mut state.lost))
    }
}

/// Writes all, also to a reader who shares its descriptor with others and has made it fail instead
/// of wait.
fn write_out(out: &mut impl Write, mut lines: &[u8]) {
    while !lines.is_empty() {
        match out.write(lines) {
            Ok(written) if written > 0 => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::park_timeout(AGAIN);
            }
            // There is nobody to tell that the log cannot be written.
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader who takes what is written when it is asked to.
    struct Reader {
        written: Sender<Vec<u8>>,
        goes_on: Receiver<()>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            // Once nobody asks any more, it takes everything.
            let _ = self.goes_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_gathered_while_one_is_written_and_all_come_in_order() {
        let (written, lines) = channel();
        let (go_on, goes_on) = channel();
        let mut writer = Writer::start(Reader { written, goes_on }).unwrap();
        writer.write_all(b"first\n").unwrap();
        assert_eq!(lines.recv().unwrap(), b"first\n");
        for line in [&b"second\n"[..], b"third\n"] {
            writer.write_all(line).unwrap();
        }
        go_on.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), b"second\nthird\n");
        writer.write_all(b"last\n").unwrap();
        drop(go_on);
        Writer::flush(&writer);
        assert_eq!(lines.recv().unwrap(), b"last\n");
    }

    #[test]
    fn a_reader_who_does_not_read_costs_lines_and_no_wait() {
        let (written, lines) = channel();
        let (go_on, goes_on) = channel();
        let mut writer = Writer::start(Reader { written, goes_on }).unwrap();
        writer.write_all(b"first\n").unwrap();
        lines.recv().unwrap();
        let line = vec![b'x'; MOST / 2];
        for _ in 0..3 {
            writer.write_all(&line).unwrap();
        }
        assert_eq!(writer.0.state.lock().lost, 1);
        drop(go_on);
        assert_eq!(lines.recv().unwrap().len(), MOST);
        Writer::flush(&writer);
    }
}
