//! What the program under measurement says of itself: how each connection ended, and how
//! long the steps of launches took. It is the same process, so that its log is heard as it
//! is said.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};

use crate::docker::STEPS;

/// Where the line at the end of each connection is logged.
const ENDS: &str = "ganger::proxy::end";

/// What that line says.
const END: &str = "conn end";

/// Hears what is logged. Clones hear the same.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    heard: Arc<Mutex<Heard>>,
    more: Arc<Notify>,
}

/// Since it was last taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// By client, how its connection ended.
    pub(super) ends: BTreeMap<SocketAddr, End>,
    /// By the beginning of its id, the steps of a container's launch.
    pub(super) launches: BTreeMap<String, BTreeMap<String, Duration>>,
    /// How long removals took.
    pub(super) removals: Vec<Duration>,
}

/// The line of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    /// How its lease was served.
    pub(super) start: String,
    /// The beginning of its container's id.
    pub(super) container: String,
}

/// The fields of an event that matter here.
#[derive(Default)]
struct Fields {
    message: String,
    client: Option<SocketAddr>,
    end: End,
    step: String,
    us: u64,
}

// === impl Witness ===

impl Witness {
    /// What is to be given to [`crate::telemetry::init_with`].
    pub fn layer(&self) -> impl Layer<Registry> + Send + Sync + use<> {
        let heard = Targets::new()
            .with_target(ENDS, LevelFilter::INFO)
            .with_target(STEPS, LevelFilter::DEBUG);
        self.clone().with_filter(heard)
    }

    /// Waits until the ends of the connections of these clients were heard.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(super) async fn ended(&self, clients: &[SocketAddr]) {
        loop {
            let more = self.more.notified();
            // What comes between the look and the wait counts.
            let mut more = std::pin::pin!(more);
            more.as_mut().enable();
            let all = {
                let heard = self.heard.lock();
                clients.iter().all(|client| heard.ends.contains_key(client))
            };
            if all {
                return;
            }
            more.await;
        }
    }

    /// What was heard, which is then forgotten.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut self.heard.lock())
    }
}

impl<S: Subscriber> Layer<S> for Witness {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, client, end, step, us } = fields;
        let took = Duration::from_micros(us);
        let mut heard = self.heard.lock();
        if message == END
            && let Some(client) = client
        {
            heard.ends.insert(client, end);
        } else if step == "remove" {
            heard.removals.push(took);
        } else if !step.is_empty() {
            heard.launches.entry(end.container).or_default().insert(step, took);
        }
        drop(heard);
        self.more.notify_waiters();
    }
}

// === impl Fields ===

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "us" {
            self.us = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = || format!("{value:?}");
        match field.name() {
            "message" => self.message = value(),
            "client" => self.client = value().parse().ok(),
            "start" => self.end.start = value(),
            "container" => self.end.container = value(),
            "step" => self.step = value(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tracing_subscriber::layer::SubscriberExt;

    use ganger_pool::core::short_id;

    use super::*;
    use crate::docker::step;

    #[tokio::test]
    async fn it_hears_ends_and_steps_and_nothing_else() {
        let witness = Witness::default();
        let subscriber = tracing_subscriber::registry().with(witness.layer());
        let guard = tracing::subscriber::set_default(subscriber);
        let id = "0123456789abcdef";
        step("create", id, Instant::now());
        step("start", id, Instant::now());
        step("remove", "ganger-cold-1", Instant::now());
        let client: SocketAddr = "127.0.0.1:9".parse().unwrap();
        tracing::info!(target: ENDS, %client, container = %short_id(id), start = %"cold", "conn end");
        tracing::info!(client = %"127.0.0.1:8", "of another target");
        tracing::info!(target: ENDS, %client, container = "failed", "another is asked for");
        witness.ended(&[client]).await;
        drop(guard);
        let heard = witness.take();
        let end = End { start: "cold".into(), container: "0123456789ab".into() };
        assert_eq!(heard.ends, BTreeMap::from([(client, end)]));
        let steps: Vec<&str> = heard.launches["0123456789ab"].keys().map(String::as_str).collect();
        assert_eq!((steps, heard.removals.len()), (vec!["create", "start"], 1));
        assert_eq!(witness.take(), Heard::default());
    }
}
