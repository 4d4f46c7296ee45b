//! Support that the tests on real engines have in common: the fleet, faults to do to
//! it, images, and the built program as a child process.
//!
//! Everything here panics when it fails, saying what was expected: a test that
//! cannot do what it says must not pass.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "only tests use it, and a failure is to end them"
)]

mod admin;
mod aftermath;
mod altered;
mod authority;
mod browser;
mod client;
mod config;
mod consul;
mod crowd;
mod docker;
mod faults;
mod fixture;
mod fleet;
mod ganger;
mod generated;
mod hang;
mod message;
mod own;
mod packets;
mod poll;
mod postgres;
mod records;
mod registry;
mod ride;
mod shim;
mod swarm;
mod tls;
mod traffic;

pub use self::admin::AdminClient;
pub use self::aftermath::Traces;
pub use self::altered::{Altered, Filler};
pub use self::authority::{Authority, Issued};
pub use self::browser::{Browser, BrowserKind};
pub use self::client::{Client, Ending};
pub use self::config::Config;
pub use self::consul::{Consul, Registered, Token};
pub use self::crowd::{Crowd, STRICT, under_load};
pub use self::docker::{Container, Running, Watch, engine_now, labelled};
pub use self::faults::{Cut, Frozen, Gone};
pub use self::fixture::{
    FIXTURE, HEALTHY, SICK, checksum, echo_image, fixture_as, fixture_image, pattern,
};
pub use self::fleet::{Fleet, Host};
pub use self::ganger::{ACCESS_LOG, Ganger, SURE};
pub use self::generated::{assert_generated, assert_generated_part};
pub use self::own::OwnFleet;
pub use self::packets::{Flushed, Packets, Rule};
pub use self::poll::{StopOnDrop, free_port, is_slow, unique, wait_until};
pub use self::postgres::{POSTGRES, postgres_client, postgres_image};
pub use self::records::ConnEnd;
pub use self::registry::Registry;
pub use self::ride::{Held, Ride};
pub use self::shim::{Ailing, Answers, Shim};
pub use self::swarm::Swarm;
pub use self::tls::TlsDaemon;
pub use self::traffic::Traffic;
