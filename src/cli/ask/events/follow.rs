//! Events that are followed for as long as a process sends them, from one process to the next.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::super::{Exit, Failure};
use super::super::AGAIN;
use super::super::remote::{Lookup, Remote};
use super::{EventStream, StreamedEvent};

/// How long to wait until a new process answers. One that starts is waited for until it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of events, reopened where it ended.
pub(super) struct EventFollower<'a> {
    remote: &'a Remote,
    stream: EventStream,
    /// The largest number of an event from this process.
    last: Option<u64>,
    /// The run of the process that tells.
    boot: String,
    patience: Duration,
    pause: Duration,
}

/// The next event, or a new stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FollowNews {
    Event(StreamedEvent),
    /// The stream ended, and has begun again: of the same process or of another.
    Again {
        is_other: bool,
    },
}

// === impl EventFollower ===

impl<'a> EventFollower<'a> {
    /// Begins after the event of this number, or with the state of everything now.
    pub(super) async fn begin(remote: &'a Remote, last: Option<u64>) -> Result<Self, Failure> {
        let boot = boot(remote).await?.there()?;
        let stream = EventStream::open(remote, last).await?;
        Ok(Self { remote, stream, last, boot, patience: PATIENCE, pause: AGAIN })
    }

    /// The next news; `None` where the process has stopped in order, and no other came.
    pub(super) async fn next(&mut self) -> Result<Option<FollowNews>, Failure> {
        let is_orderly = match self.stream.next(self.remote).await {
            Ok(Some(event)) => {
                self.last = self.last.max(event.id);
                return Ok(Some(FollowNews::Event(event)));
            }
            Ok(None) => true,
            // The stream broke off: the process was killed.
            Err(_) => false,
        };
        match self.again().await {
            Ok(news) => Ok(Some(news)),
            Err(Failure { exit: Exit::Unreachable, .. }) if is_orderly => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the stream again; fails once a new process was waited for in vain.
    async fn again(&mut self) -> Result<FollowNews, Failure> {
        let mut deadline = Instant::now() + self.patience;
        loop {
            sleep(self.pause).await;
            match self.open().await {
                Ok(Lookup::There(is_other)) => return Ok(FollowNews::Again { is_other }),
                Ok(Lookup::Starting(_)) => deadline = Instant::now() + self.patience,
                Ok(Lookup::Absent(error)) | Err(error) if Instant::now() >= deadline => {
                    return Err(error);
                }
                Ok(Lookup::Absent(_)) | Err(_) => {}
            }
        }
    }

    /// Opens the stream of the process that answers; true if it is another one.
    async fn open(&mut self) -> Result<Lookup<bool>, Failure> {
        let found = boot(self.remote).await?;
        let Lookup::There(boot) = found else { return Ok(found.map(|_| false)) };
        let is_other = boot != self.boot;
        // Another process numbers its own events, and none that it has kept was told.
        let last = if is_other { Some(0) } else { self.last };
        self.stream = EventStream::open(self.remote, last).await?;
        (self.boot, self.last) = (boot, last);
        Ok(Lookup::There(is_other))
    }
}

/// The run of the process that answers.
async fn boot(remote: &Remote) -> Result<Lookup<String>, Failure> {
    let about = remote.find::<Value>("/api/v1/version").await?;
    Ok(about.map(|about| about["boot"].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::{FakeGanger, reply, stream};
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn told(id: u64) -> String {
        format!("id: {id}\nevent: about\ndata: {{}}\n\n")
    }

    fn version(boot: &str) -> String {
        reply(200, &format!("{{\"boot\": \"{boot}\"}}"))
    }

    /// The numbers of the events, and the end of the stream.
    async fn followed(fake: &FakeGanger) -> (Vec<String>, Result<(), Exit>) {
        let remote = fake.remote(PATIENCE);
        let mut follower = EventFollower::begin(&remote, Some(3)).await.unwrap();
        (follower.patience, follower.pause) = (MOMENT, MOMENT);
        let mut seen = Vec::new();
        loop {
            match follower.next().await {
                Ok(Some(FollowNews::Event(event))) => seen.push(event.id.unwrap().to_string()),
                Ok(Some(again)) => seen.push(format!("{again:?}")),
                Ok(None) => return (seen, Ok(())),
                Err(Failure { exit, .. }) => return (seen, Err(exit)),
            }
        }
    }

    #[tokio::test]
    async fn it_goes_on_where_it_ended_also_with_another_process() {
        let fake = FakeGanger::start([
            version("a"),
            stream(&(told(9) + &told(7)), false),
            version("a"),
            stream(&told(10), true),
            version("b"),
            stream(&told(4), true),
            version("b"),
            stream(&told(5), true),
        ]);
        let (seen, end) = followed(&fake).await;
        let (same, other) = ("Again { is_other: false }", "Again { is_other: true }");
        assert_eq!(seen, ["9", "7", same, "10", other, "4", same, "5"]);
        assert_eq!(end, Ok(()), "it has stopped in order");
        let asked = fake.asked.lock();
        let after = asked.iter().filter_map(|head| head.split("last-event-id: ").nth(1));
        let after: Vec<_> = after.filter_map(|rest| rest.lines().next()).collect();
        assert_eq!(after, ["3", "9", "0", "4"]);
    }

    #[tokio::test]
    async fn a_process_that_starts_is_waited_for() {
        let starting = || reply(503, "{\"code\": \"starting\", \"detail\": \"come again\"}");
        let killed = stream(&told(4), false);
        let begun = [version("a"), killed].into_iter();
        // More starts than there is patience for.
        let starts = std::iter::repeat_with(starting).take(20);
        let fake =
            FakeGanger::start(begun.chain(starts).chain([version("b"), stream(&told(1), true)]));
        let (seen, end) = followed(&fake).await;
        assert_eq!(seen, ["4", "Again { is_other: true }", "1"]);
        assert_eq!(end, Ok(()));
    }

    #[tokio::test]
    async fn whoever_is_killed_and_has_no_successor_is_a_failure() {
        let fake = FakeGanger::start([version("a"), stream(&told(4), false)]);
        assert_eq!(followed(&fake).await, (vec!["4".to_owned()], Err(Exit::Unreachable)));
    }
}
