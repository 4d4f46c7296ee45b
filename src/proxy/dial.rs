//! Connecting to a leased container.

use std::io;
use std::time::Duration;

use ganger_pool::backoff::Backoff;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::end::{End, Phase, Who};
use crate::reach::{Backend, is_shortage};

/// The pauses between attempts to dial a container.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(5), cap: Duration::from_millis(50) };

/// How long a container may leave a dial unanswered while another one is left to
/// try: the kernel repeats a lost packet after a second.
pub(super) const SILENCE: Duration = Duration::from_millis(1500);

/// Until when a container may take a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For all attempts together.
    pub(super) deadline: Instant,
    /// How long an attempt may go unanswered. Shorter than what is left where another
    /// container is left to try.
    pub(super) silence: Duration,
    /// For a container that refuses and lives: it may be about to listen, or between two clients.
    /// Earlier than `deadline` where another container is left to try.
    pub(super) refused: Instant,
}

/// Connects to a container; again while it lives and refuses, and while the
/// machine lacks what a connection needs.
///
/// # Errors
/// Says who is at fault: after `Resources` the container is as good as before.
///
/// # Cancel safety
/// Dropping the future closes what was opened.
pub(super) async fn dial<B: Backend>(backend: &B, until: Patience) -> Result<TcpStream, End> {
    let mut attempts = 0;
    loop {
        let answer = until.deadline.min(Instant::now() + until.silence);
        let error = match timeout_at(answer, backend.dial()).await {
            Ok(Ok(container)) => return Ok(container),
            Ok(Err(error)) => error,
            Err(_) => {
                let reason = "the container did not take the connection in time";
                return Err(End::new(Who::ContainerTimeout, Phase::Connect, reason));
            }
        };
        attempts += 1;
        let pause = PAUSES.after(attempts);
        let again = Instant::now() + pause;
        let (who, repeat) = if is_shortage(&error) {
            (Who::Resources, again < until.deadline)
        } else {
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            let lives = refused
                && again < until.refused
                && timeout_at(until.refused, backend.runs()).await.unwrap_or(false);
            (Who::Container, lives)
        };
        if !repeat {
            let reason = format!("cannot connect to the container: {error}");
            return Err(End::new(who, Phase::Connect, reason));
        }
        sleep(pause).await;
    }
}
