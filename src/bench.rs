//! Measures how long a client waits for its first answer: from a container that is
//! launched for it, from stock, used again, connected to ahead, or reached directly;
//! or from any TCP address.
//!
//! The result is a [`BenchReport`], plain data that is written as JSON. Tables, assertions and
//! comparisons are worked out from that, never from what only this run knows.

mod assertion;
mod compare;
mod exchange;
mod html;
mod load;
mod precise_sleep;
mod records;
mod report;
mod round_kind;
mod rounds;
mod series;
mod setup;
mod test_bed;
mod text;
mod time;

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use assertion::{Assertion, AssertionError};
pub use compare::compare;
pub use exchange::{Exchange, Miss, unescape};
pub use html::page;
pub use load::{Load, Pace};
pub use report::{BenchReport, Machine, Point, ReportError, SCHEMA, Series, Skipped};
pub use round_kind::RoundKind;
pub use rounds::{REFILL, Rounds, STEPS, Surroundings, refill, rounds};
pub use setup::{BenchImage, Setup};
pub use test_bed::BenchError;
pub use text::{failures, show};

use load::drive;
use series::SeriesRecorder;

/// The name of the only series when an address is measured.
pub const TARGET: &str = "target";

/// Told of a series, and its connections or rounds so far.
pub type BenchProgress<'p> = &'p mut (dyn FnMut(&str, u64) + Send);

/// Measures connections to an address, until the load is done or `stop` is cancelled. Returns what
/// was measured so far.
///
/// # Cancel safety
/// Dropping the future breaks off what is under way.
pub async fn measure(
    address: SocketAddr,
    exchange: &Exchange,
    load: &Load,
    patience: Duration,
    stop: &CancellationToken,
    progress: BenchProgress<'_>,
) -> Series {
    let mut recorder = SeriesRecorder::new();
    let shot = {
        let exchange = exchange.clone();
        move || {
            let exchange = exchange.clone();
            async move { exchange.connect(address, patience).await }
        }
    };
    let took = drive(load, precise_sleep::until, shot, stop, |due, outcome| {
        recorder.note(due, outcome.map(|answered| answered.at));
        progress(TARGET, recorder.total());
    })
    .await;
    recorder.series(TARGET, took)
}
