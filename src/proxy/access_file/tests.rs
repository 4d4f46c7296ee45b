//! Records of connections in a file.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::proxy::end::End;
use crate::proxy::record::ConnId;
use crate::proxy::supply::{Refusal, StartKind};

const LIMIT: Duration = Duration::from_secs(60);

/// A directory of the test's own.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ganger-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn fresh(id: u64) -> ConnRecord {
    ConnRecord::new(ConnId(id), "echo".into(), "192.0.2.1:4711".parse().unwrap())
}

#[test]
fn a_record_has_all_that_is_known_with_numbers_as_numbers() {
    let (dir, file) = (Dir::new("access"), AccessFile::default());
    file.set(Some(AccessWriter::open(&dir.0.join("log")).unwrap()));
    let served = ConnRecord {
        container: Some("0123456789abcdef".into()),
        daemon: Some("local".into()),
        start: Some(StartKind::Warm),
        uses: Some((1, 4)),
        wait: Some(Duration::from_micros(200)),
        bytes_in: 212,
        ..fresh(7)
    };
    file.ended(&served.with_end(End::NORMAL, Duration::from_millis(1500)));
    let end = Refusal::Failing { reason: "exited with code 3".into() }.into();
    file.ended(&fresh(8).with_end(end, Duration::ZERO));
    assert!(file.close(LIMIT));
    let lines = dir.lines("log");
    let (served, refused) = (&lines[0], &lines[1]);
    assert_eq!(lines.len(), 2);
    assert!(humantime::parse_rfc3339(served["timestamp"].as_str().unwrap()).is_ok());
    for (key, value) in [
        ("id", json!(7)),
        ("service", json!("echo")),
        ("client", json!("192.0.2.1:4711")),
        ("container", json!("0123456789abcdef")),
        ("daemon", json!("local")),
        ("start", json!("warm")),
        ("uses", json!([1, 4])),
        ("wait", json!(0.0002)),
        ("connect", Value::Null),
        ("total", json!(1.5)),
        ("in", json!(212)),
        ("end", json!("--")),
        ("reason", Value::Null),
    ] {
        assert_eq!(served[key], value, "{key}");
    }
    assert_eq!((&refused["end"], &refused["container"]), (&json!("DL"), &Value::Null));
    assert!(refused["reason"].as_str().unwrap().contains("exited with code 3"));
}

#[test]
fn after_a_file_was_moved_away_another_is_written_and_none_is_lost() {
    let (dir, file) = (Dir::new("moved"), AccessFile::default());
    // Without a file nothing is written.
    file.ended(&fresh(0));
    let path = dir.0.join("log");
    file.set(Some(AccessWriter::open(&path).unwrap()));
    (1..=100).for_each(|id| file.ended(&fresh(id)));
    fs::rename(&path, dir.0.join("old")).unwrap();
    file.set(Some(AccessWriter::open(&path).unwrap()));
    file.ended(&fresh(101));
    assert!(file.close(LIMIT));
    file.ended(&fresh(102));
    let ids = |name: &str| -> Vec<u64> {
        dir.lines(name).iter().map(|line| line["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("log"), [101]);
    assert_eq!(ids("old"), (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error_and_one_that_is_full_holds_up_no_stop() {
    let (dir, file) = (Dir::new("pipe"), AccessFile::default());
    let path = dir.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let error = AccessWriter::open(&path).unwrap_err().to_string();
    assert!(error.contains("cannot write to the `access_log`"), "{error}");
    let _reader = File::options().read(true).write(true).open(&path).unwrap();
    file.set(Some(AccessWriter::open(&path).unwrap()));
    // More than a pipe holds.
    (0..2000).for_each(|id| file.ended(&fresh(id)));
    assert!(!file.close(Duration::ZERO));
}

/// A disk that is full after a part of the first line, and then has room.
struct Full<'a> {
    taken: &'a Mutex<Vec<u8>>,
    room: Option<usize>,
}

impl Write for Full<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match self.room {
            Some(0) => {
                self.room = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(room) => room.min(bytes.len()),
            None => bytes.len(),
        };
        self.room = self.room.map(|left| left - room);
        self.taken.lock().extend(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_disk_was_full_lines_are_whole() {
    let (taken, lost) = (Mutex::default(), AtomicU64::new(0));
    let (sender, lines) = sync_channel(8);
    let disk = Full { taken: &taken, room: Some(3) };
    thread::scope(|scope| {
        let lost = &lost;
        scope.spawn(move || write("a disk", disk, &lines, lost));
        sender.send(b"first\n".to_vec()).unwrap();
        while lost.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        sender.send(b"second\n".to_vec()).unwrap();
        drop(sender);
    });
    assert_eq!(String::from_utf8(taken.into_inner()).unwrap(), "fir\nsecond\n");
}
