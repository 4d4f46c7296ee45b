//! Byte-level tests on real loopback sockets, with a fake supply whose
//! containers are loopback listeners. Time is real: no test waits for time to
//! pass except where a time-out is its subject, and none asserts that
//! something was fast.

mod failing;
mod fake;
mod queueing;
mod relaying;
mod stopping;
mod vanishing;
