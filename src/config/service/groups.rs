//! Reads the settings of a service that are in groups.

use std::time::Duration;

use crate::config::decode::{Cx, Decode, Fields};
use crate::config::keys::{Tell, keys, optional, or};
use crate::config::quantity::{Positive, Size};
use crate::config::report::Mistake;
use crate::config::tree::Node;
use crate::config::value::{Count, Waiting};
use crate::spec::{Connect, Limits};

/// Docker refuses less.
const LEAST_MEMORY: u64 = 6 << 20;
/// Every session may hold as much.
const MOST_REPLAY: u64 = 16 << 20;

/// Less than a network is out now and then; and what the kernel's options can say.
const KEEPALIVE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 60 * 60);

/// More processors than any machine has.
const MOST_CPUS: f64 = 100_000.0;

/// `queue`.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Queue {
    pub(super) length: u32,
    pub(super) timeout: Duration,
}

/// `client`.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Client {
    pub(super) keepalive: Option<Duration>,
}

/// `timeouts`, of which `None` is no limit.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Timeouts {
    pub(super) start: Duration,
    pub(super) first_byte: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) session: Option<Duration>,
}

keys! {
    /// The keys of `queue`.
    QUEUE, QueueKeys, QUEUE_ROWS;
    length: Waiting = or("64", "The most clients that wait; more are refused at once.");
    timeout: Positive = or("\"30s\"", "The longest that a client waits.");
}

keys! {
    /// The keys of `connect`.
    CONNECT, ConnectKeys, CONNECT_ROWS;
    timeout: Positive = or("\"5s\"", "From the first dial until a container took the connection, with \
                                     all retries.");
    retries: u32 = or("6", "Further containers that are tried after the first failed.");
    replay: Size = or(
        "\"64KiB\"",
        "How much of what a client sent is kept, to be sent again to another container when one fails \
         before it answers. At most 16MiB.",
    );
}

keys! {
    /// The keys of `client`.
    CLIENT, ClientKeys, CLIENT_ROWS;
    keepalive: Duration = or(
        "\"60s\"",
        "How long a client's machine may leave packets unanswered before the client is taken to be \
         gone, from \"10s\" to \"24h\". A client that is there and does not read is a matter of \
         `timeouts.idle` alone. \"0s\" is no limit of Ganger's.",
    );
}

keys! {
    /// The keys of `timeouts`.
    TIMEOUTS, TimeoutsKeys, TIMEOUTS_ROWS;
    start: Positive = or("\"30s\"", "From its start until a container has to be ready.");
    first_byte: Duration = or(
        "\"0s\"",
        "A container that was sent something and has not begun to answer for so long is replaced. \
         \"0s\" is no limit.",
    )
    .see("See [failures](operation.md#failures).");
    idle: Duration = or(
        "\"10m\"",
        "A connection that has moved no byte for so long, in either direction, is cut. \"0s\" is no limit.",
    );
    session: Duration = or("\"0s\"", "A connection is cut after so long. \"0s\" is no limit.");
}

keys! {
    /// The keys of `limits`.
    LIMITS, LimitsKeys, LIMITS_ROWS;
    memory: Size = or("\"512MiB\"", "Memory, without any swap. At least 6MiB.");
    cpus: f64 = optional("no limit", "0.5", "Processors, in parts.");
    pids: Count = or("256", "Processes and threads.");
    enforce: bool = or(
        "true",
        "A daemon that cannot keep the limits launches nothing. `false` launches without them.",
    );
}

impl Decode for Queue {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", QUEUE_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`queue`", |f| Self {
            length: f.or(QUEUE.length).0,
            timeout: f.or(QUEUE.timeout).0,
        })
    }
}

impl Decode for Connect {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", CONNECT_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`connect`", |f| Self {
            timeout: f.or(CONNECT.timeout).0,
            retries: f.or(CONNECT.retries),
            replay: replay(f),
        })
    }
}

fn replay(f: &mut Fields<'_, '_, '_>) -> usize {
    let size = f.or(CONNECT.replay).0;
    if let Some(place) = f.place(CONNECT.replay).filter(|_| size > MOST_REPLAY) {
        let title = "`replay` is more than 16MiB, and every session may hold as much";
        f.cx.report(Mistake::new(&place, title));
    }
    usize::try_from(size).unwrap_or(usize::MAX)
}

impl Decode for Client {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", CLIENT_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`client`", |f| {
            let keepalive = limit(f.or(CLIENT.keepalive));
            let is_off = keepalive.is_some_and(|time| !KEEPALIVE.contains(&time));
            if let Some(place) = f.place(CLIENT.keepalive).filter(|_| is_off) {
                let title = "`keepalive` is from 10s to 1day";
                let help = "or \"0s\", for as long as the kernel goes on";
                f.cx.report(Mistake::new(&place, title).help(help));
            }
            Self { keepalive }
        })
    }
}

impl Decode for Timeouts {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", TIMEOUTS_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`timeouts`", |f| Self {
            start: f.or(TIMEOUTS.start).0,
            first_byte: limit(f.or(TIMEOUTS.first_byte)),
            idle: limit(f.or(TIMEOUTS.idle)),
            session: limit(f.or(TIMEOUTS.session)),
        })
    }
}

/// A limit, where 0 means none.
fn limit(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

impl Decode for Limits {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", LIMITS_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`limits`", |f| Self {
            memory: Some(memory(f)),
            cpus: cpus(f),
            pids: Some(f.or(LIMITS.pids).0),
            enforce: f.or(LIMITS.enforce),
        })
    }
}

fn memory(f: &mut Fields<'_, '_, '_>) -> u64 {
    let size = f.or(LIMITS.memory).0;
    if let Some(place) = f.place(LIMITS.memory).filter(|_| size < LEAST_MEMORY) {
        let title = "`memory` is less than 6MiB, the least that Docker gives";
        f.cx.report(Mistake::new(&place, title));
    }
    size
}

fn cpus(f: &mut Fields<'_, '_, '_>) -> Option<f64> {
    let cpus = f.optional(LIMITS.cpus)?;
    let title = match cpus {
        cpus if cpus > MOST_CPUS => {
            format!("`cpus` is too large: {cpus} is more than any machine has")
        }
        0.01.. => return Some(cpus),
        _ => "`cpus` is a number of processors from 0.01 on".to_owned(),
    };
    if let Some(place) = f.place(LIMITS.cpus) {
        f.cx.report(Mistake::new(&place, title).help("leave it out for no limit"));
    }
    Some(cpus)
}
