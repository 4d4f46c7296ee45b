//! What a cell prints: the last of it is kept, for people to read after its end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::post_mortem::{LINES, readable};

/// How many bytes are kept, the last ones.
const KEPT: usize = 16 << 10;
/// How many bytes a pipe holds.
const PIPE: usize = 64 << 10;
/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the last bytes of a cell that has ended may be on their way.
const LAST: Duration = Duration::from_millis(200);

/// The last that a cell has printed.
#[derive(Debug, Clone)]
pub(super) struct CellOutput {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Nobody can print any more.
    is_whole: watch::Receiver<bool>,
}

// === impl CellOutput ===

impl CellOutput {
    /// Reads a pipe until it ends, so that nobody who writes to it has to wait for long.
    ///
    /// # Errors
    /// As for `fcntl(2)` and `epoll_ctl(2)`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn follow(pipe: OwnedFd) -> io::Result<Self> {
        let mut pipe = Receiver::from_owned_fd(pipe)?;
        let (whole, is_whole) = watch::channel(false);
        let kept = Arc::<Mutex<VecDeque<u8>>>::default();
        let output = Self { kept: Arc::clone(&kept), is_whole };
        tokio::spawn(async move {
            let mut piece = Vec::with_capacity(PIPE);
            // The cell and the runtime have closed it, or it cannot be read.
            while let Ok(1..) = pipe.read_buf(&mut piece).await {
                keep(&mut kept.lock(), piece.drain(..));
                // One that prints without end waits for the pipe, and costs others nothing.
                sleep(PAUSE).await;
            }
            _ = whole.send(true);
        });
        Ok(output)
    }

    /// The last lines, oldest first, fit to be shown. Waits a moment for the last ones if the cell
    /// has ended.
    pub(super) async fn last_lines(&self, has_ended: bool) -> Vec<String> {
        if has_ended {
            _ = timeout(LAST, self.is_whole.clone().wait_for(|whole| *whole)).await;
        }
        let mut lines = readable(self.kept.lock().make_contiguous());
        let excess = lines.len().saturating_sub(LINES);
        lines.drain(..excess);
        lines
    }
}

/// Adds to what is kept, and drops what is more than that.
fn keep(kept: &mut VecDeque<u8>, more: impl Iterator<Item = u8>) {
    kept.extend(more);
    let excess = kept.len().saturating_sub(KEPT);
    kept.drain(..excess);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn the_last_lines_of_much_that_was_printed_are_kept() {
        let (read, mut write) = io::pipe().unwrap();
        let output = CellOutput::follow(read.into()).unwrap();
        let printing = tokio::task::spawn_blocking(move || {
            for number in 0..20_000 {
                writeln!(write, "line {number}").unwrap();
            }
        });
        printing.await.unwrap();
        let lines = output.last_lines(true).await;
        let expected: Vec<_> = (19_995..20_000).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected);
        assert!(output.kept.lock().len() <= KEPT);
    }
}
