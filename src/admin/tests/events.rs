//! Readers of events.

use tokio::net::UnixStream;

use super::*;

/// A reader of events.
struct Follower {
    stream: UnixStream,
    read: String,
}

impl Follower {
    async fn new(bed: &Bed, more: &str) -> Self {
        let mut stream = UnixStream::connect(&bed.path).await.unwrap();
        let head = "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n";
        stream.write_all(format!("{head}{more}\r\n").as_bytes()).await.unwrap();
        Self { stream, read: String::new() }
    }

    /// Reads until this text; returns all that came since the last call.
    async fn until(&mut self, text: &str) -> String {
        while !self.read.contains(text) {
            let mut buffer = [0; 4096];
            let length = self.stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "it ended without {text:?}: {}", self.read);
            self.read.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        std::mem::take(&mut self.read)
    }
}

#[tokio::test]
async fn whoever_follows_is_told_how_all_is_and_what_happens_and_may_come_back() {
    let bed = Bed::new();
    let mut follower = Follower::new(&bed, "").await;
    let told = follower.until("event: daemon").await;
    assert!(told.contains("text/event-stream") && told.contains("event: service"), "{told}");
    assert!(told.contains("\"deadline_seconds\":60.0"), "as lists tell it: {told}");
    bed.feed.tell(Happening::new("config-reloaded", false, None));
    let told = follower.until("config-reloaded").await;
    let id = told.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    bed.fake.refusing.store(true, Ordering::Relaxed);
    let told = follower.until("refusing").await;
    assert!(!told.contains("event: daemon"), "it did not change: {told}");
    drop(follower);

    bed.feed.tell(Happening::new("config-refused", true, None));
    let mut back = Follower::new(&bed, &format!("Last-Event-ID: {id}\r\n")).await;
    let told = back.until("config-refused").await;
    assert!(!told.contains("config-reloaded") && told.contains("refusing"), "{told}");
    let listed = bed.json("/api/v1/events").await;
    let kinds: Vec<_> = listed.as_array().unwrap().iter().map(|told| &told["kind"]).collect();
    assert_eq!(kinds, ["config-reloaded", "config-refused"]);

    bed.stop.cancel();
    back.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn more_than_can_be_told_are_refused_and_those_who_do_not_read_hold_nobody_up() {
    let bed = Bed::new();
    let mut idle = Vec::new();
    for _ in 0..READERS {
        let mut follower = Follower::new(&bed, "").await;
        follower.until("event: daemon").await;
        idle.push(follower);
    }
    let told = Follower::new(&bed, "").await.until("too-many-readers").await;
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert_eq!(bed.text("/livez").await.unwrap(), "ok\n");
    idle.pop();
    while Follower::new(&bed, "").await.until("}").await.contains("too-many-readers") {}
}
