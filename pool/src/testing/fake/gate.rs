//! What becomes of the calls to a fake engine.

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
    /// `ContainerRuntime::owned`.
    List,
    /// `ContainerRuntime::events`, until the stream is open.
    Events,
    /// `Probe::ready`.
    Ready,
    /// `Probe::check`.
    Check,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It works, after a latency that depends on the seed.
    Ok,
    /// It is refused.
    Err,
    /// It works after so long.
    Slow(Duration),
    /// It is not answered and has no effect; the caller gives up after 10 s.
    Never,
    /// It is carried out at once, and its reply is lost.
    Lost,
    /// Its caller is told that it failed; it is carried out so much later.
    Late(Duration),
    /// A launch finds that the daemon is not prepared any more.
    Unprepared,
    /// A removal is under way and has not ended.
    Pending,
    /// It panics.
    Panic,
}
