//! Makes connections at a rate, or so many at a time.
//!
//! At a rate, each connection is due at a moment that does not depend on how the ones
//! before it fare, and its latency counts from then: a service that stalls is shown to
//! everybody who would have come meanwhile, not only to the one that it stalled for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections that are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// When.
    pub pace: Pace,
    /// How many; `None` for no limit.
    pub requests: Option<u64>,
    /// For how long new ones are made; `None` for no limit.
    pub duration: Option<Duration>,
}

/// When connections are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: each is due after the one before it, however that fares.
    Open {
        /// Connections a second, above 0.
        rate: f64,
        /// The most that are under way; one that is due beyond that is late, and the time
        /// until it is made is part of its latency. At least 1.
        in_flight: usize,
    },
    /// Closed loop: each of so many clients makes its next one when its last has ended.
    Closed {
        /// The clients, at least 1.
        concurrency: usize,
    },
}

// === impl Load ===

impl Load {
    /// Whether the connection of this number, due so long after the start, is not made any more.
    fn ends(&self, number: u64, after: Duration) -> bool {
        self.requests.is_some_and(|requests| number >= requests)
            || self.duration.is_some_and(|duration| after >= duration)
    }
}

/// Makes connections by calling `shot`, and tells `note` when each was due, and its outcome. `wait`
/// waits for a moment. Returns how long it took until all had ended; those that are under way when
/// `stop` is cancelled are broken off.
///
/// # Cancel safety
/// Dropping the future breaks off what is under way.
pub(super) async fn drive<T: Send + 'static, F>(
    load: &Load,
    wait: impl AsyncFn(Instant),
    shot: impl Fn() -> F + Clone + Send + Sync + 'static,
    stop: &CancellationToken,
    note: impl FnMut(Instant, T),
) -> Duration
where
    F: Future<Output = T> + Send + 'static,
{
    let start = Instant::now();
    let driven = async {
        match load.pace {
            Pace::Open { rate, in_flight } => {
                open(load, rate, in_flight, wait, shot, note).await;
            }
            Pace::Closed { concurrency } => closed(load, concurrency, shot, note).await,
        }
    };
    tokio::select! {
        // The end first.
        biased;
        () = stop.cancelled() => {}
        () = driven => {}
    }
    start.elapsed()
}

async fn open<T: Send + 'static, F>(
    load: &Load,
    rate: f64,
    in_flight: usize,
    wait: impl AsyncFn(Instant),
    shot: impl Fn() -> F,
    mut note: impl FnMut(Instant, T),
) where
    F: Future<Output = T> + Send + 'static,
{
    let start = Instant::now();
    let mut under_way: JoinSet<(Instant, T)> = JoinSet::new();
    let mut take = |ended: Result<(Instant, T), _>| {
        if let Ok((due, outcome)) = ended {
            note(due, outcome);
        }
    };
    for number in 0_u64.. {
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 connections")]
        let after = Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX);
        let Some(due) = start.checked_add(after).filter(|_| !load.ends(number, after)) else {
            break;
        };
        let mut start = std::pin::pin!(wait(due));
        loop {
            tokio::select! {
                // A due connection goes before those that have ended: these have noted their time.
                biased;
                () = &mut start => break,
                Some(ended) = under_way.join_next() => take(ended),
            }
        }
        while under_way.len() >= in_flight
            && let Some(ended) = under_way.join_next().await
        {
            take(ended);
        }
        let shot = shot();
        under_way.spawn(async move { (due, shot.await) });
    }
    while let Some(ended) = under_way.join_next().await {
        take(ended);
    }
}

async fn closed<T: Send + 'static, F>(
    load: &Load,
    concurrency: usize,
    shot: impl Fn() -> F + Clone + Send + Sync + 'static,
    mut note: impl FnMut(Instant, T),
) where
    F: Future<Output = T> + Send + 'static,
{
    let (start, made) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let (told, mut ended) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        let (load, made, told, shot) = (load.clone(), made.clone(), told.clone(), shot.clone());
        clients.spawn(async move {
            while !load.ends(made.fetch_add(1, Ordering::Relaxed), start.elapsed()) {
                let due = Instant::now();
                let outcome = shot().await;
                if told.send((due, outcome)).is_err() {
                    break;
                }
            }
        });
    }
    drop(told);
    while let Some((due, outcome)) = ended.recv().await {
        note(due, outcome);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::time::{sleep, sleep_until};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The latencies of a service that serves one at a time, in a millisecond each, and the
    /// fifth in a second, in milliseconds.
    async fn stalled(load: Load) -> Vec<u128> {
        let (one, served) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicU64::new(0)));
        let shot = move || {
            let (one, served) = (one.clone(), served.clone());
            async move {
                let _turn = one.acquire().await.unwrap();
                let stalls = served.fetch_add(1, Ordering::Relaxed) == 4;
                sleep(if stalls { 1000 * MS } else { MS }).await;
                Instant::now()
            }
        };
        let (mut latencies, stop) = (Vec::new(), CancellationToken::new());
        let note = |due: Instant, at: Instant| latencies.push((at - due).as_millis());
        drive(&load, sleep_until, shot, &stop, note).await;
        latencies
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_shown_to_all_who_would_have_come_meanwhile() {
        for in_flight in [1, 1000] {
            let pace = Pace::Open { rate: 100.0, in_flight };
            let latencies = stalled(Load { pace, requests: Some(150), duration: None }).await;
            assert_eq!(latencies.len(), 150, "{in_flight}");
            assert_eq!(latencies[..5], [1, 1, 1, 1, 1000], "{in_flight}");
            // Each comes 10 ms nearer to the stall's end, and waits for one more before it.
            let behind: Vec<_> = (1..=110).map(|n| 1000 - 9 * n).collect();
            assert_eq!(latencies[5..115], behind, "{in_flight}");
            assert_eq!(latencies[120..], [1; 30], "{in_flight}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_makes_as_many_as_it_is_to_and_no_client_waits_for_another() {
        let pace = Pace::Closed { concurrency: 2 };
        let latencies = stalled(Load { pace, requests: Some(9), duration: None }).await;
        assert_eq!(latencies.len(), 9);
        // The one that stalls, and the other client, which was waiting for its turn.
        assert_eq!(latencies.iter().filter(|latency| **latency >= 1000).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_after_its_time_and_when_it_is_told_to() {
        let pace = Pace::Open { rate: 10.0, in_flight: 10 };
        let load = Load { pace, requests: None, duration: Some(500 * MS) };
        assert_eq!(stalled(load.clone()).await.len(), 5);
        let stop = CancellationToken::new();
        let forever = Load { duration: None, ..load };
        let shot = || sleep(MS);
        let mut noted = 0;
        let note = |_, ()| {
            noted += 1;
            if noted == 7 {
                stop.cancel();
            }
        };
        drive(&forever, sleep_until, shot, &stop, note).await;
        assert_eq!(noted, 7);
    }
}
