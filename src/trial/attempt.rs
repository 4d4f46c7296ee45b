//! One container of a draft: launched, watched, talked to, and removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ganger_pool::core::{DaemonName, Generation, LaunchId, ServiceName};
use ganger_pool::probe::{NotYet, Probe};
use ganger_pool::runtime::{
    CallError, ContainerKey, ContainerRuntime, Fault, LaunchOrder, Removal, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::TrialError;
use super::draft::Draft;
use crate::docker::{Container, Docker, Ready, Spec, Written};
use crate::probe::Prober;

/// The service that containers are labelled with.
const SERVICE: &str = "try";
/// How long a port has to listen before it counts: start scripts listen for a moment, too.
const STAYS: Duration = Duration::from_millis(500);
/// The pause between two looks at a container.
const LOOK: Duration = Duration::from_millis(20);
/// How long a service is given to say something by itself.
const SILENCE: Duration = Duration::from_secs(1);
/// The pause between a banner and a look at the log.
const ANSWER: Duration = Duration::from_millis(300);
/// How long a removal is tried.
const REMOVAL: Duration = Duration::from_secs(60);
/// The limit of memory while it is not known how much is needed, in bytes.
const MEMORY: u64 = 2 << 30;
/// The most bytes of a banner that are kept.
const BANNER: usize = 256;

/// Launches containers one after the other.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) docker: Docker,
    pub(super) daemon: DaemonName,
    /// How long a container may take to listen.
    pub(super) patience: Duration,
    /// How many there were; shared with the `Tester`, which clears leftovers.
    pub(super) launched: Arc<AtomicU64>,
}

/// A service that listens.
#[derive(Debug)]
pub(super) struct Up {
    /// From the begin of the launch until it listened for good.
    pub(super) took: Duration,
    /// The listening ports; empty where the kernel cannot be asked.
    pub(super) ports: BTreeSet<u16>,
    /// The banner that it sends by itself, if that is text.
    pub(super) banner: Option<String>,
    /// The service closes connections that sent nothing wrong.
    pub(super) hangs_up: bool,
    /// Its log.
    pub(super) log: Vec<String>,
    /// In bytes.
    pub(super) memory: u64,
    pub(super) written: Vec<Written>,
}

/// A container that ended, or that nothing listened in.
#[derive(Debug)]
pub(super) struct Down {
    /// The reason, for people.
    pub(super) why: String,
    /// Its log until then.
    pub(super) log: Vec<String>,
    /// The container lacked memory.
    pub(super) lacks_memory: bool,
}

// === impl Launcher ===

impl Launcher {
    /// Has the daemon fetch the image, if it lacks it.
    ///
    /// # Errors
    /// The engine is at fault, or the draft is no valid service.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a pull to the engine.
    pub(super) async fn fetch(&self, draft: &Draft) -> Result<(), TrialError> {
        self.prepare(&SERVICE.into(), &Arc::new(spec(draft)?)).await
    }

    async fn prepare(&self, service: &ServiceName, spec: &Arc<Spec>) -> Result<(), TrialError> {
        let prepared = self.docker.prepare(&self.daemon, service, spec).await;
        prepared.map_err(TrialError::Engine)
    }

    /// Launches a container and watches it. The container is removed before this returns.
    ///
    /// # Errors
    /// The engine is at fault, or the draft is no valid service.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the container to [`Launcher::clear`].
    pub(super) async fn attempt(&mut self, draft: &Draft) -> Result<Result<Up, Down>, TrialError> {
        match self.try_once(draft).await {
            // The second try prepares anew: with another way to reach containers, for example.
            Err(TrialError::Unprepared(_)) => self.try_once(draft).await,
            outcome => outcome,
        }
    }

    async fn try_once(&mut self, draft: &Draft) -> Result<Result<Up, Down>, TrialError> {
        let (began, patience) = (Instant::now(), self.patience);
        let spec = Spec { ready: Ready::Started, ..spec(draft)? };
        self.with(spec, async |container| {
            let (took, ports) = listens(container, draft.port, patience, began).await?;
            let (banner, hangs_up) = talk(container).await;
            let said = |error: CallError| error.message;
            Ok(Up {
                took,
                ports,
                banner,
                hangs_up,
                log: container.logged().await,
                memory: container.memory_used().await.map_err(said)?,
                written: container.written().await.map_err(said)?,
            })
        })
        .await
    }

    /// Launches a container and waits until it is ready, as the draft says; returns the time taken.
    ///
    /// # Errors
    /// As for [`Launcher::attempt`].
    ///
    /// # Cancel safety
    /// As for [`Launcher::attempt`].
    pub(super) async fn confirm(
        &mut self,
        draft: &Draft,
    ) -> Result<Result<Duration, Down>, TrialError> {
        let service = draft.service().map_err(TrialError::Draft)?;
        let (began, patience) = (Instant::now(), service.start_timeout);
        self.with(service.spec, async |container| {
            let not_yet = NotYet::default();
            match timeout(patience, Prober.ready(container, &not_yet)).await {
                Ok(Ok(())) => Ok(began.elapsed()),
                Ok(Err(error)) => Err(error.0),
                Err(_) => {
                    let why = not_yet.last().unwrap_or_else(|| "no sign of it".to_owned());
                    Err(format!("it was not ready within {patience:?} ({why})"))
                }
            }
        })
        .await
    }

    async fn with<T>(
        &mut self,
        spec: Spec,
        watch: impl AsyncFnOnce(&Arc<Container>) -> Result<T, String>,
    ) -> Result<Result<T, Down>, TrialError> {
        let (spec, service) = (Arc::new(spec), ServiceName::from(SERVICE));
        let launch = LaunchId(self.launched.fetch_add(1, Ordering::Relaxed) + 1);
        let target = Target { daemon: self.daemon.clone(), key: ContainerKey::Launch(launch) };
        self.prepare(&service, &spec).await?;
        let order = LaunchOrder {
            launch,
            daemon: self.daemon.clone(),
            service,
            generation: Generation(1),
            spec,
            // No limit, whatever else the engine has.
            max_containers: u32::MAX,
        };
        let outcome = match self.docker.launch(&order).await {
            Ok(container) => match watch(&container).await {
                Ok(seen) => Ok(seen),
                Err(why) => Err((why, container.logged().await)),
            },
            Err(error) if error.fault == Fault::Service => Err((error.message, Vec::new())),
            Err(error) => {
                self.remove(&target).await?;
                return Err(match error.fault {
                    Fault::Unprepared => TrialError::Unprepared(error.message),
                    _ => TrialError::Engine(CallError::refused(error.message)),
                });
            }
        };
        let outcome = match outcome {
            Ok(seen) => Ok(seen),
            Err((why, log)) => Err(self.look_at(&target, why, log).await),
        };
        self.remove(&target).await?;
        Ok(outcome)
    }

    /// Removes every container of this trial that is there: a launch that was given up may still
    /// create one.
    pub(super) async fn clear(&self) -> Result<(), TrialError> {
        for launch in 1..=self.launched.load(Ordering::Relaxed) {
            let key = ContainerKey::Launch(LaunchId(launch));
            self.remove(&Target { daemon: self.daemon.clone(), key }).await?;
        }
        Ok(())
    }

    /// Reads the post-mortem of a container that failed.
    async fn look_at(&self, target: &Target, why: String, log: Vec<String>) -> Down {
        let found = self.docker.post_mortem(target).await.unwrap_or_default();
        let lacks = |hint: &String| hint.contains("limits.memory");
        let lacks_memory = found.out_of_memory || found.hint.as_ref().is_some_and(lacks);
        let hint = found.hint.map(|hint| format!("; see {hint}")).unwrap_or_default();
        // The log of a container that ended during its launch is not read yet.
        let log = if log.is_empty() { found.log } else { log };
        Down { why: format!("{why}{hint}"), log, lacks_memory }
    }

    async fn remove(&self, target: &Target) -> Result<(), TrialError> {
        let deadline = Instant::now() + REMOVAL;
        loop {
            match self.docker.retire(target).await {
                Ok(Removal::Gone) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(TrialError::Engine(error)),
                _ if Instant::now() >= deadline => {
                    let why = "a container is not removed within a minute";
                    return Err(TrialError::Engine(CallError::refused(why)));
                }
                _ => sleep(LOOK).await,
            }
        }
    }
}

/// The spec to launch for a draft.
fn spec(draft: &Draft) -> Result<Spec, TrialError> {
    // Port 1 stands in for a port that is not known yet.
    let service = Draft { port: draft.port.max(1), ..draft.clone() }.service();
    let mut spec = service.map_err(TrialError::Draft)?.spec;
    spec.limits.memory = draft.memory.or(Some(MEMORY));
    Ok(spec)
}

/// Waits until something listens for good: on `port`, or on any if that is 0. Returns when it began
/// to, and on which ports; none where only the port that is known can be tried.
async fn listens(
    container: &Container,
    port: u16,
    patience: Duration,
    began: Instant,
) -> Result<(Duration, BTreeSet<u16>), String> {
    let wait = async {
        let mut since: Option<Instant> = None;
        loop {
            let ports = match container.listening() {
                Some(Ok(ports)) => Some(ports),
                Some(Err(_)) => Some(BTreeSet::new()),
                None if port == 0 => return Err(no_port()),
                None => None,
            };
            let there = match &ports {
                Some(ports) => {
                    if port == 0 {
                        !ports.is_empty()
                    } else {
                        ports.contains(&port)
                    }
                }
                None => container.connect().await.is_ok(),
            };
            let first = if there { *since.get_or_insert_with(Instant::now) } else { began };
            if !there {
                since = None;
            } else if first.elapsed() >= STAYS {
                return Ok((first.duration_since(began), ports.unwrap_or_default()));
            }
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        end = container.ended() => Err(format!("it {end}")),
        heard = timeout(patience, wait) => heard.unwrap_or_else(|_| {
            let where_ = if port == 0 { "any port".to_owned() } else { format!("port {port}") };
            let others = match container.listening() {
                Some(Ok(ports)) if !ports.is_empty() => format!(" (it listens on {})", list(&ports)),
                _ => String::new(),
            };
            Err(format!("nothing listens on {where_} after {patience:?}{others}"))
        }),
    }
}

fn no_port() -> String {
    "the image exposes no port, and what listens in it cannot be seen from here: name it with --port"
        .to_owned()
}

/// Ports for people.
pub(super) fn list(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Connects; returns the banner, if one is sent, and whether it hangs up.
async fn talk(container: &Container) -> (Option<String>, bool) {
    let Ok(mut stream) = container.connect().await else { return (None, true) };
    let mut said = vec![0; BANNER];
    let banner = match timeout(SILENCE, stream.read(&mut said)).await {
        Err(_) => return (None, false),
        Ok(Ok(0) | Err(_)) => return (None, true),
        Ok(Ok(length)) => String::from_utf8_lossy(&said[..length]).into_owned(),
    };
    // Some SSH servers finish their start for a client that names itself.
    let named = banner.starts_with("SSH-") && stream.write_all(b"SSH-2.0-ganger\r\n").await.is_ok();
    sleep(ANSWER).await;
    let hangs_up = named && {
        let mut more = [0];
        matches!(timeout(SILENCE, stream.read(&mut more)).await, Ok(Ok(0) | Err(_)))
    };
    let text = banner.chars().all(|c| !c.is_control() || "\r\n\t".contains(c));
    (text.then_some(banner), hangs_up)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::docker::fake::{Engine, Reply, Seen};
    use crate::docker::{Identity, Site};

    /// Every container has ended by the time that it is looked at.
    fn ended(seen: &Seen) -> Option<Reply> {
        let line = "it wants a password";
        if seen.line.contains("/logs?") {
            return Some(Reply::Chunked(format!("\x02\0\0\0\0\0\0{}{line}", '\x13')));
        }
        let asks = seen.line.starts_with("GET /containers/") && seen.line.ends_with("/json");
        let state = json!({"Running": false, "ExitCode": 1});
        asks.then(|| Reply::Json(200, json!({ "State": state })))
    }

    #[tokio::test]
    async fn a_container_that_ends_at_once_is_known_by_its_last_words() {
        let engine = Engine::start(ended);
        let identity = Identity { instance: "try".into(), boot: "3fa9c1d2".into() };
        let docker = Docker::new(identity, Vec::new());
        let site = Site {
            endpoint: engine.endpoint(),
            publish_on: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        };
        docker.connect(&"d".into(), &site).await.unwrap();
        let patience = Duration::from_secs(60);
        let launched = Arc::default();
        let mut launcher = Launcher { docker, daemon: "d".into(), patience, launched };
        let draft = Draft { name: "x".into(), image: "x:1".into(), port: 1, ..Draft::default() };
        let down = launcher.attempt(&draft).await.unwrap().unwrap_err();
        assert_eq!(down.why, "the container exited with code 1 as soon as it was started");
        assert_eq!(down.log, ["it wants a password"]);
    }
}
