//! Whether a container can serve: by talking to it, or by asking its engine.
//!
//! Where a port is published, something else may accept for the container
//! before it listens, and end the connection a moment later. So an accepted
//! connection proves something only by what comes after. For a container on this
//! machine the kernel is asked whether anybody listens, and no connection is made.

mod attempt;
mod http;
mod log;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use ganger_pool::core::Proof;
use ganger_pool::probe::{CHECK, NotYet, Probe, ProbeError};
use tokio::time::{Instant, sleep, timeout};

use crate::docker::{Address, Container, Ready};
use attempt::{Verdict, attempt};

/// How a container is tried, again and again.
#[derive(Debug, Clone, Copy)]
struct ProbePace {
    /// How long a single attempt may take.
    attempt: Duration,
    /// The first pause between attempts, and the longest that it grows to.
    pauses: (Duration, Duration),
    /// The complaint about an attempt that takes longer.
    stalled: &'static str,
}

/// The pace of questions that a container answers at once if it can.
const ASKED: ProbePace = ProbePace {
    attempt: Duration::from_secs(5),
    pauses: (Duration::from_millis(5), Duration::from_millis(250)),
    stalled: "it accepts a connection and says nothing",
};
/// The pace of questions to the kernel, which cost some microseconds: a cell listens a moment after it
/// was started.
const LOOKED: ProbePace =
    ProbePace { pauses: (Duration::from_millis(1), Duration::from_millis(250)), ..ASKED };
/// The pace of programs run in a container: they cost an engine more than any question does, and
/// take seconds while it starts many containers.
const EXECUTED: ProbePace = ProbePace {
    attempt: Duration::from_secs(10),
    pauses: (Duration::from_millis(50), Duration::from_millis(500)),
    stalled: "the program of `Exec` does not end",
};

/// Finds out whether containers can serve, as their services' `ready` says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prober;

// === impl Prober ===

impl Probe<Container> for Prober {
    async fn ready(&self, container: &Container, not_yet: &NotYet) -> Result<(), ProbeError> {
        if container.waits_for_a_lease() {
            return Ok(());
        }
        let began = Instant::now();
        let ready = async {
            match &container.spec().ready {
                Ready::Started => Ok(()),
                Ready::Log { text, times } => log::wait_for(container, text, *times, not_yet).await,
                Ready::Exec(_) => repeat(container, EXECUTED, not_yet).await,
                Ready::Tcp { linger } => listens(container, *linger, not_yet).await,
                Ready::Banner(_)
                | Ready::Exchange { .. }
                | Ready::Http { .. }
                | Ready::Healthcheck(_) => repeat(container, ASKED, not_yet).await,
            }
        };
        let connected = async {
            ready.await?;
            container.note_ready(began.elapsed());
            preconnect(container, not_yet).await;
            container.step_done("ready", began);
            Ok(())
        };
        tokio::select! {
            // A container that has ended is not ready, whatever it said before.
            biased;
            end = container.ended() => Err(ProbeError(format!("{end} before it was ready"))),
            ready = connected => ready,
        }
    }

    async fn check(&self, container: &Container) -> Result<Proof, ProbeError> {
        // Before another connection takes the place of the one made ahead.
        let proof = if container.is_certain() { Proof::Itself } else { Proof::Address };
        let verdict = match &container.spec().ready {
            Ready::Started | Ready::Log { .. } => attempt::runs(container).await,
            // Its command has not started, so that it does not listen yet.
            _ if container.waits_for_a_lease() => attempt::runs(container).await,
            _ => attempt(container).await,
        };
        is_unharmed(container, verdict)?;
        // Its banner will be there by the time: the service has begun to send it.
        let hot = container.preconnect(false).await;
        hot.map(|()| proof).map_err(takes_none)
    }

    fn check_limit(&self, container: &Container) -> Duration {
        match container.spec().ready {
            Ready::Exec(_) | Ready::Healthcheck(_) | Ready::Started | Ready::Log { .. } => {
                EXECUTED.attempt
            }
            Ready::Tcp { .. } | Ready::Banner(_) | Ready::Exchange { .. } | Ready::Http { .. } => {
                CHECK
            }
        }
    }

    fn check_at_once(&self, container: &Container) -> Option<Result<Proof, ProbeError>> {
        // A service that does not listen may be between two clients: the other check, which comes
        // later, decides.
        if !container.listens_at_once() {
            return None;
        }
        if let Err(error) = is_unharmed(container, Verdict::Ready) {
            return Some(Err(error));
        }
        let made = container.preconnect_at_once()?;
        Some(made.map(|()| Proof::Itself).map_err(takes_none))
    }
}

fn takes_none(error: io::Error) -> ProbeError {
    ProbeError(format!("takes no connection: {error}"))
}

/// Whether a container is as good as it was before it was leased.
fn is_unharmed(container: &Container, verdict: Verdict) -> Result<(), ProbeError> {
    match verdict {
        Verdict::Ready if container.ran_out_of_memory() => {
            Err(ProbeError("the kernel killed a process in it for memory".to_owned()))
        }
        Verdict::Ready => Ok(()),
        Verdict::NotYet(why) | Verdict::Never(why) => Err(ProbeError(why)),
    }
}

/// Makes the connection that is made ahead: a failure proves that the container is not ready,
/// whatever else has shown that it is.
async fn preconnect(container: &Container, not_yet: &NotYet) {
    let (mut pause, longest) = ASKED.pauses;
    while let Err(error) = container.preconnect(true).await {
        not_yet.note(format!("takes no connection: {error}"));
        sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
    }
}

/// The most times that a service of several processes is given `linger` while they are busy.
const RESTLESS: u32 = 10;

/// Waits until the service listens. Of several processes one may listen while another prepares, or
/// on behalf of a start script: then it has to listen for `linger`, and its processes have to rest.
async fn listens(
    container: &Container,
    linger: Duration,
    not_yet: &NotYet,
) -> Result<(), ProbeError> {
    let pace = match container.address() {
        Address::Namespace { .. } => LOOKED,
        Address::Published(_) => ASKED,
    };
    loop {
        repeat(container, pace, not_yet).await?;
        if linger.is_zero() || !container.may_be_several() {
            return Ok(());
        }
        for round in 1..=RESTLESS {
            sleep(linger).await;
            match attempt(container).await {
                Verdict::Ready if container.rests() || round == RESTLESS => return Ok(()),
                Verdict::Ready => not_yet.note("it listens, and its processes are busy"),
                Verdict::Never(why) => return Err(ProbeError(why)),
                Verdict::NotYet(why) => {
                    not_yet.note(why);
                    break;
                }
            }
        }
    }
}

async fn repeat(
    container: &Container,
    pace: ProbePace,
    not_yet: &NotYet,
) -> Result<(), ProbeError> {
    let (mut pause, longest) = pace.pauses;
    loop {
        let verdict = timeout(pace.attempt, attempt(container)).await;
        let why = match verdict {
            Ok(Verdict::Ready) => return Ok(()),
            Ok(Verdict::Never(why)) => return Err(ProbeError(why)),
            Ok(Verdict::NotYet(why)) => why,
            Err(_) => format!("{} for {:?}", pace.stalled, pace.attempt),
        };
        tracing::trace!(?container, why, "not ready yet");
        not_yet.note(why);
        sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
    }
}
