//! Whether a container can serve: by talking to it, or by asking its engine.
//!
//! Where a port is published, something else may accept for the container
//! before it listens, and end the connection a moment later. So an accepted
//! connection proves something only by what comes after. For a container on this
//! machine the kernel is asked whether anybody listens, and no connection is made.

mod attempt;
mod log;

use std::time::Duration;

use ganger_pool::probe::{Probe, ProbeError};
use tokio::time::{sleep, timeout, timeout_at};

use crate::docker::{Container, Ready};
use crate::spec::CHECK;
use attempt::{Verdict, attempt};

/// How long a single attempt may take, unless the service keeps talking.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The pause between attempts grows from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Finds out whether containers can serve, as their services' `ready` says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prober;

// === impl Prober ===

impl Probe<Container> for Prober {
    async fn ready(&self, container: &Container) -> Result<(), ProbeError> {
        // A little before the pool gives up, because here it is known why.
        let limit = container.spec().start_timeout;
        let deadline = container.started() + limit - limit / 20;
        let mut last = None;
        let ready = async {
            match &container.spec().ready {
                Ready::Started => Ok(()),
                Ready::Log(text) => log::wait_for(container, text).await,
                Ready::Tcp { .. }
                | Ready::Banner(_)
                | Ready::Exchange { .. }
                | Ready::Healthcheck => repeat(container, &mut last).await,
            }
        };
        let outcome = async {
            tokio::select! {
                // A container that has ended is not ready, whatever it said before.
                biased;
                end = container.ended() => Err(ProbeError(format!("{end} before it was ready"))),
                ready = ready => ready,
            }
        };
        match timeout_at(deadline, outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let why = last.map_or_else(String::new, |why| format!(": {why}"));
                Err(ProbeError(format!("not ready within {limit:?}{why}")))
            }
        }
    }

    async fn check(&self, container: &Container) -> Result<(), ProbeError> {
        let verdict = match &container.spec().ready {
            Ready::Started | Ready::Log(_) => timeout(CHECK, attempt::runs(container)).await,
            _ => timeout(CHECK, attempt(container)).await,
        };
        match verdict {
            Ok(Verdict::Ready) if container.ran_out_of_memory() => {
                Err(ProbeError("the kernel killed a process in it for memory".to_owned()))
            }
            Ok(Verdict::Ready) => Ok(()),
            Ok(Verdict::NotYet(why) | Verdict::Never(why)) => Err(ProbeError(why)),
            Err(_) => Err(ProbeError(format!("no answer within {CHECK:?}"))),
        }
    }
}

async fn repeat(container: &Container, last: &mut Option<String>) -> Result<(), ProbeError> {
    let (mut pause, longest) = PAUSES;
    loop {
        let verdict = timeout(ATTEMPT, attempt(container)).await;
        let why = match verdict {
            Ok(Verdict::Ready) => return Ok(()),
            Ok(Verdict::Never(why)) => return Err(ProbeError(why)),
            Ok(Verdict::NotYet(why)) => why,
            Err(_) => format!("it accepts a connection and says nothing for {ATTEMPT:?}"),
        };
        tracing::trace!(?container, why, "not ready yet");
        *last = Some(why);
        sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
    }
}
