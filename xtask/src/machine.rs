//! The engine of this machine, or one of our own where it has none: for what needs a single
//! one, the demo and the benchmark.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::child::Interrupts;
use crate::command::say;
use crate::fleet::{self, Fleet, Presence, Settings, Site};
use crate::wait;

/// How long an engine may take that is about to start: the first start of one that was just
/// installed makes its directories, networks and keys.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The engine answers.
    Use,
    /// The engine is about to answer.
    Wait,
    /// No engine is there, and perhaps none is installed.
    Install,
    /// No engine is there.
    Start,
    /// An engine that is not ours is in the way.
    GiveUp,
}

/// The installation of an engine that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installed {
    /// Not looked at.
    Unknown,
    /// The engine was installed before, or nobody starts what was installed now.
    Idle,
    /// The engine was installed now, and the machine's service manager starts what is installed.
    Starting,
}

/// Finds the machine's engine, or starts one: `Some`, which is to be taken down again.
pub(crate) fn engine(site: Site, interrupts: &Interrupts) -> Result<Option<Fleet>> {
    let socket = site.root_socket();
    let (mut installed, mut since) = (Installed::Unknown, Instant::now());
    let mut told = false;
    loop {
        interrupts.check()?;
        match step(fleet::presence(&socket), installed, since.elapsed()) {
            Step::Use => return Ok(None),
            Step::Wait => {
                if !told {
                    say(&format!("waiting for the engine that starts at {}", socket.display()));
                    told = true;
                }
                wait::step();
            }
            Step::Install => {
                must_be_root(&socket)?;
                installed = if fleet::install_engine()? {
                    say("the machine starts the engine that was installed: using that one");
                    Installed::Starting
                } else {
                    Installed::Idle
                };
                since = Instant::now();
            }
            Step::Start => {
                let socket = socket.display();
                say(&format!("no engine answers at {socket}: starting one, for this alone"));
                return own(site).map(Some);
            }
            Step::GiveUp => bail!(
                "something listens at {}, but answers nothing for {} s; if it is the machine's \
                 engine, its log says why, as in `journalctl -u docker`",
                socket.display(),
                PATIENCE.as_secs()
            ),
        }
    }
}

/// Fails where an engine is missing and only root could start one.
pub(crate) fn check(site: &Site) -> Result<()> {
    let socket = site.root_socket();
    match fleet::presence(&socket) {
        Presence::Nobody => must_be_root(&socket),
        Presence::Answers | Presence::Listens => Ok(()),
    }
}

/// A second engine at a socket that somebody has, or is about to have, takes it away.
fn step(seen: Presence, installed: Installed, waited: Duration) -> Step {
    match (seen, installed) {
        (Presence::Answers, _) => Step::Use,
        // Systemd does so for an engine that it starts at the first connection.
        (Presence::Listens, _) if waited < PATIENCE => Step::Wait,
        (Presence::Listens, _) => Step::GiveUp,
        (Presence::Nobody, Installed::Unknown) => Step::Install,
        (Presence::Nobody, Installed::Starting) if waited < PATIENCE => Step::Wait,
        (Presence::Nobody, _) => Step::Start,
    }
}

fn own(site: Site) -> Result<Fleet> {
    let fleet = Fleet::lock(site)?;
    if let Err(error) = fleet.up(0, &[], &[], Settings::default()) {
        fleet.down()?;
        return Err(error);
    }
    Ok(fleet)
}

fn must_be_root(socket: &Path) -> Result<()> {
    if !fleet::is_root() {
        bail!(
            "no engine answers at {0}, and only root can start one; start one yourself, or run \
             this as root. If one runs, you may lack permission for {0}",
            socket.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_secs(61);

    #[test]
    fn an_engine_that_answers_is_used_whoever_started_it() {
        for installed in [Installed::Unknown, Installed::Idle, Installed::Starting] {
            assert_eq!(step(Presence::Answers, installed, LATE), Step::Use);
        }
    }

    #[test]
    fn an_engine_that_the_installation_started_is_waited_for() {
        assert_eq!(step(Presence::Nobody, Installed::Unknown, SOON), Step::Install);
        assert_eq!(step(Presence::Nobody, Installed::Starting, SOON), Step::Wait);
        assert_eq!(step(Presence::Listens, Installed::Starting, SOON), Step::Wait);
        // Its service may be masked.
        assert_eq!(step(Presence::Nobody, Installed::Starting, LATE), Step::Start);
    }

    #[test]
    fn no_second_engine_starts_at_a_socket_that_somebody_has() {
        for installed in [Installed::Unknown, Installed::Idle, Installed::Starting] {
            assert_eq!(step(Presence::Listens, installed, SOON), Step::Wait);
            assert_eq!(step(Presence::Listens, installed, LATE), Step::GiveUp);
        }
    }

    #[test]
    fn where_nobody_starts_one_ours_starts_at_once() {
        assert_eq!(step(Presence::Nobody, Installed::Idle, Duration::ZERO), Step::Start);
    }
}
