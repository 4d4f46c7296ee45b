//! The gates before the calls to a fake engine.

use std::time::Duration;

/// The calls that can be gated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `ContainerRuntime::connect`.
    Connect,
    /// `ContainerRuntime::prepare`.
    Prepare,
    /// `ContainerRuntime::launch`.
    Launch,
    /// `ContainerRuntime::retire`.
    Retire,
    /// `ContainerRuntime::list`.
    List,
    /// `ContainerRuntime::events`, until the stream is open.
    Events,
    /// `Probe::ready`.
    Ready,
    /// `Probe::check`.
    Check,
    /// `Probe::check_at_once`, which cannot answer unless it is gated.
    CheckAtOnce,
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The call works, after a latency that depends on the seed.
    Ok,
    /// The call is refused.
    Err,
    /// The call works after so long.
    Slow(Duration),
    /// The call is not answered and has no effect; the caller gives up after 10 s.
    Never,
    /// The call is carried out at once, and its reply is lost.
    Lost,
    /// The call fails for its caller, and is carried out so much later.
    Late(Duration),
    /// A launch finds that the daemon is not prepared any more.
    Unprepared,
    /// A removal is under way and has not ended.
    Pending,
    /// The call panics.
    Panic,
}
