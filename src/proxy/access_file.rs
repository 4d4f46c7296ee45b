//! Records of connections in a file, one JSON object per line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::iter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::Serialize;
use thiserror::Error;
use tracing::{info, warn};

use super::record::{ConnRecord, Recorder};

/// The most records that wait for a slow disk, about 10 MB. Records beyond are not written.
const WAITING: usize = 32 << 10;
/// The most records in a batch after its first.
const BATCH: usize = 1024;
/// Readable to those who may read the log of a service.
const MODE: u32 = 0o640;

/// Writes a record of each connection that ended to a file, if there is one.
#[derive(Debug, Default)]
pub struct AccessFile {
    queue: RwLock<Option<LineQueue>>,
    /// A receiver for each thread with lines left to write: it disconnects when all are written.
    threads: Mutex<Vec<Receiver<()>>>,
}

/// The queue of lines of a writer thread.
#[derive(Debug)]
struct LineQueue {
    lines: SyncSender<Vec<u8>>,
    /// How many lines were not taken, or not written.
    lost: Arc<AtomicU64>,
}

/// An open file and a thread that writes to it, so that no thread that relays bytes waits for a
/// disk.
#[derive(Debug)]
pub struct AccessWriter {
    queue: LineQueue,
    written: Receiver<()>,
}

/// Why records of connections cannot be written.
#[derive(Debug, Error)]
#[error(
    "cannot write to the `access_log` {}: {source}: its directory has to be there, and the user that \
     Ganger runs as has to be permitted to write to it",
    path.display()
)]
pub struct AccessLogError {
    path: PathBuf,
    source: io::Error,
}

/// A record as it is written. Times are in seconds.
#[derive(Serialize)]
struct AccessLine<'a> {
    timestamp: String,
    id: u64,
    service: &'a str,
    client: std::net::SocketAddr,
    container: Option<&'a str>,
    launch: Option<String>,
    daemon: Option<&'a str>,
    start: Option<String>,
    uses: Option<(u32, u32)>,
    replaced: u32,
    wait: Option<f64>,
    connect: Option<f64>,
    first_byte: Option<f64>,
    total: f64,
    #[serde(rename = "in")]
    bytes_in: u64,
    #[serde(rename = "out")]
    bytes_out: u64,
    end: String,
    reason: Option<&'a str>,
}

// === impl AccessFile ===

impl AccessFile {
    /// Writes to `writer` from now on; nowhere for `None`. After a file was moved away, a writer
    /// that is opened on the same path takes the place of the one before.
    pub fn set(&self, writer: Option<AccessWriter>) {
        let (queue, written) = writer.map(|writer| (writer.queue, writer.written)).unzip();
        // The thread of the writer before ends when it has written all its lines.
        *self.queue.write() = queue;
        let mut threads = self.threads.lock();
        threads.retain(|written| written.try_recv() != Err(TryRecvError::Disconnected));
        threads.extend(written);
    }

    /// Takes no more records; waits until all so far are written, but no longer than `limit`.
    /// Returns whether they are.
    pub fn close(&self, limit: Duration) -> bool {
        self.set(None);
        let until = Instant::now() + limit;
        let threads = std::mem::take(&mut *self.threads.lock());
        threads.iter().all(|written| {
            let left = until.saturating_duration_since(Instant::now());
            written.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
        })
    }
}

impl Recorder for AccessFile {
    fn ended(&self, record: &ConnRecord) {
        let queue = self.queue.read();
        let Some(LineQueue { lines, lost }) = &*queue else { return };
        let mut line = serde_json::to_vec(&AccessLine::of(record)).unwrap_or_default();
        line.push(b'\n');
        if lines.try_send(line).is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// === impl AccessWriter ===

impl AccessWriter {
    /// Opens a file to write at its end.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread be started.
    pub fn open(path: &Path) -> Result<Self, AccessLogError> {
        Self::start(path).map_err(|source| AccessLogError { path: path.to_owned(), source })
    }

    fn start(path: &Path) -> io::Result<Self> {
        // Otherwise opening a pipe that nobody reads would wait for a reader.
        let options = OFlags::NONBLOCK.bits() as i32;
        let mut open = File::options();
        let file = open.append(true).create(true).mode(MODE).custom_flags(options).open(path)?;
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        let (sender, lines) = sync_channel(WAITING);
        let (writing, written) = sync_channel(0);
        let lost = Arc::new(AtomicU64::new(0));
        let (path, counted) = (path.display().to_string(), lost.clone());
        thread::Builder::new().name("ganger-access".to_owned()).spawn(move || {
            write(&path, file, &lines, &counted);
            drop::<SyncSender<()>>(writing);
        })?;
        Ok(Self { queue: LineQueue { lines: sender, lost }, written })
    }
}

/// Writes lines until all senders are gone. With no line waiting, all are in the file.
fn write(path: &str, file: impl Write, lines: &Receiver<Vec<u8>>, lost: &AtomicU64) {
    let (mut file, mut failing) = (BufWriter::new(file), false);
    while let Ok(first) = lines.recv() {
        let batch: Vec<_> = iter::once(first).chain(lines.try_iter().take(BATCH)).collect();
        // A write that failed may have left a part of a line.
        let mut written = if failing { file.write_all(b"\n") } else { Ok(()) };
        for line in &batch {
            written = written.and_then(|()| file.write_all(line));
        }
        let result = written.and_then(|()| file.flush());
        if let Err(error) = &result {
            // The buffer is dropped: each attempt to write it would only fail again.
            file = BufWriter::new(file.into_parts().0);
            if !failing {
                warn!(path, error = error.to_string(), "records of connections are not written");
            }
            lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
        } else if failing {
            info!(path, "records of connections are written again");
        }
        failing = result.is_err();
        let lost = if failing { 0 } else { lost.swap(0, Ordering::Relaxed) };
        if lost > 0 {
            warn!(path, lost, "records of connections were not written");
        }
    }
}

// === impl AccessLine ===

impl<'a> AccessLine<'a> {
    fn of(record: &'a ConnRecord) -> Self {
        let seconds = |time: Duration| time.as_secs_f64();
        Self {
            timestamp: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            id: record.id.0,
            service: record.service.as_str(),
            client: record.client,
            container: record.container.as_deref(),
            launch: record.launch.map(|launch| launch.to_string()),
            daemon: record.daemon.as_ref().map(|daemon| daemon.as_str()),
            start: record.start.map(|start| start.to_string()),
            uses: record.uses,
            replaced: record.replaced,
            wait: record.wait.map(seconds),
            connect: record.connect.map(seconds),
            first_byte: record.first_byte.map(seconds),
            total: seconds(record.total),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            end: record.end.to_string(),
            reason: record.reason.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
