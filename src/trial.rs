//! Finds out what an image needs to be a service, by starting it again and again: with what start
//! scripts need, then with less, until it does not start any more.
//!
//! Needs that only a client brings about stay unseen: a login, an upload, a query.

mod attempt;
mod draft;
mod words;
mod writing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use ganger_pool::core::DaemonName;
use ganger_pool::runtime::CallError;
use thiserror::Error;

use crate::docker::{Docker, ImageFacts};
use attempt::{Down, Launcher, Up, list};
use draft::{Draft, Rights, quoted};
use writing::{directory_of, writing};

/// The least limit of memory that is proposed, in bytes.
const LEAST_MEMORY: u64 = 32 << 20;
/// Limits below this may be doubled, in bytes.
const MOST_MEMORY: u64 = 2 << 30;
/// How long a container has to get ready by default.
const USUAL: Duration = Duration::from_secs(30);
/// A user that no image knows.
const NOBODY: &str = "65534:65534";
/// How many lines of a log are shown.
const LINES: usize = 10;
/// How many starts with a read-only file system are tried.
const PATHS: usize = 5;

/// The image to try.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The image, as a service names it.
    pub image: String,
    /// Environment that it demands.
    pub env: Vec<(String, String)>,
    /// Arguments in place of the image's; empty keeps those.
    pub command: Vec<String>,
    /// Its port; `None` takes one that it exposes, or that listens.
    pub port: Option<u16>,
    /// How long a container may take to listen.
    pub patience: Duration,
}

/// Why nothing can be proposed.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The engine is at fault.
    #[error("{0}")]
    Engine(CallError),
    /// The engine lacks what it was prepared with.
    #[error("{0}")]
    Unprepared(String),
    /// The draft is no valid service.
    #[error("{0}")]
    Draft(String),
    /// The image does not start, whatever it is given.
    #[error("{0}")]
    Image(String),
}

/// Told the findings, for people.
pub type Progress<'p> = &'p mut (dyn FnMut(&str) + Send);

struct Trial<'t> {
    launcher: Launcher,
    tell: Progress<'t>,
}

/// Tries images on one daemon.
#[derive(Debug)]
pub struct Tester {
    docker: Docker,
    daemon: DaemonName,
    launched: Arc<AtomicU64>,
}

// === impl Tester ===

impl Tester {
    /// `docker` is connected to `daemon`.
    #[must_use]
    pub fn new(docker: Docker, daemon: DaemonName) -> Self {
        Self { docker, daemon, launched: Arc::default() }
    }

    fn launcher(&self, patience: Duration) -> Launcher {
        let (docker, daemon) = (self.docker.clone(), self.daemon.clone());
        Launcher { docker, daemon, patience, launched: Arc::clone(&self.launched) }
    }

    /// Tries an image that the daemon has, or fetches; returns a service, as a configuration has it.
    ///
    /// # Errors
    /// Nothing can be proposed: see [`TrialError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves a container to [`Tester::clear`].
    pub async fn propose(
        &self,
        subject: &Subject,
        tell: Progress<'_>,
    ) -> Result<String, TrialError> {
        Trial { launcher: self.launcher(subject.patience), tell }.propose(subject).await
    }

    /// Removes the containers of a trial that was given up, also any that may still start.
    ///
    /// # Errors
    /// A container may be left.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest.
    pub async fn clear(&self) -> Result<(), TrialError> {
        self.launcher(Duration::ZERO).clear().await
    }
}

// === impl Trial ===

impl Trial<'_> {
    async fn propose(&mut self, subject: &Subject) -> Result<String, TrialError> {
        let mut draft = Draft {
            name: name(&subject.image),
            image: subject.image.clone(),
            port: subject.port.unwrap_or_default(),
            command: subject.command.clone(),
            env: subject.env.clone(),
            ..Draft::default()
        };
        self.launcher.fetch(&draft).await?;
        let docker = &self.launcher.docker;
        let facts = docker.image_facts(&self.launcher.daemon, &subject.image).await;
        let facts = facts.map_err(TrialError::Engine)?;
        if let (None, 1) = (subject.port, facts.ports.len()) {
            draft.port = facts.ports.iter().next().copied().unwrap_or_default();
        }
        let first = self.first(&mut draft, &facts).await?;
        self.reduce_privileges(&mut draft, &first, &facts).await?;
        let memory = self.close_files(&mut draft, &first, &facts).await?.max(first.memory);
        settle_memory(&mut draft, memory);
        settle_readiness(&mut draft, &first);
        self.confirm(&mut draft).await
    }

    /// Starts it with all that a start script may need, and finds its port.
    async fn first(&mut self, draft: &mut Draft, facts: &ImageFacts) -> Result<Up, TrialError> {
        let up = match self.launcher.attempt(draft).await? {
            Ok(up) => up,
            Err(down) => return Err(TrialError::Image(does_not_start(&down, draft))),
        };
        if draft.port == 0 {
            let known = up.ports.intersection(&facts.ports).next().or(up.ports.iter().next());
            draft.port = known.copied().unwrap_or_default();
        }
        let others: BTreeSet<_> =
            up.ports.iter().copied().filter(|port| *port != draft.port).collect();
        if !others.is_empty() {
            let remark =
                format!("It listens on {} as well: --port chooses another.", list(&others));
            draft.remarks.insert("port", remark);
        }
        self.say(&format!(
            "port {} listens {:.1} s after the launch",
            draft.port,
            seconds(up.took)
        ));
        Ok(up)
    }

    /// Finds how few capabilities it needs to start as well as with the standard ones.
    async fn reduce_privileges(
        &mut self,
        draft: &mut Draft,
        first: &Up,
        facts: &ImageFacts,
    ) -> Result<(), TrialError> {
        if first.banner.as_ref().is_some_and(|said| said.starts_with("SSH-")) {
            self.say("standard privileges are kept: what a login needs shows with a login alone");
            let remark = "`privileges` are the standard ones: what a login needs was not tried.";
            draft.remarks.insert("limits", remark.to_owned());
            return Ok(());
        }
        let (mut has, mut guessed) = (BTreeSet::new(), Vec::<&str>::new());
        loop {
            let only = Rights::Only(has.clone());
            let tried = Draft { privileges: only.clone(), ..draft.clone() };
            let log = match self.launcher.attempt(&tried).await? {
                Ok(up) if is_as_good(&up, first) => {
                    draft.privileges = only;
                    break;
                }
                Ok(up) => up.log,
                Err(down) => down.log,
            };
            let mut more = words::needed(&log, &has);
            if more.is_empty() {
                let next = words::LIKELY.iter().find(|one| !has.contains(**one));
                guessed.extend(next);
                more.extend(next);
            }
            if more.is_empty() {
                self.say("standard privileges are kept: it does not start as well without");
                return Ok(());
            }
            has.extend(more.into_iter().map(str::to_owned));
            self.say(&format!("it fails with less; trying with {}", joined(&has)));
        }
        for one in guessed {
            let Rights::Only(has) = &draft.privileges else { break };
            let less: BTreeSet<_> = has.iter().filter(|has| *has != one).cloned().collect();
            let tried = Draft { privileges: Rights::Only(less), ..draft.clone() };
            if self.launcher.attempt(&tried).await?.is_ok_and(|up| is_as_good(&up, first)) {
                draft.privileges = tried.privileges;
            }
        }
        let Rights::Only(has) = &draft.privileges else { return Ok(()) };
        let (none, found) = (has.is_empty(), joined(has));
        self.say(&match none {
            true => "it needs no capability to start".to_owned(),
            false => format!("it needs {found} to start"),
        });
        if none && facts.user.is_empty() {
            let tried = Draft { user: Some(NOBODY.to_owned()), ..draft.clone() };
            if self.launcher.attempt(&tried).await?.is_ok_and(|up| is_as_good(&up, first)) {
                self.say("it starts as a user who is not root");
                draft.user = tried.user;
            }
        }
        Ok(())
    }

    /// Tries it with a read-only file system, but for some places in memory; returns the memory
    /// that it uses then.
    async fn close_files(
        &mut self,
        draft: &mut Draft,
        first: &Up,
        facts: &ImageFacts,
    ) -> Result<u64, TrialError> {
        let found = writing(&first.written);
        if let Some(path) = found.fixed.iter().next() {
            self.say(&format!("not read-only: it writes {path}"));
            let remark = format!("Not `read_only`: it writes {path}, beside files of its image.");
            draft.remarks.insert("limits", remark);
            return Ok(0);
        }
        let mut tried = Draft { read_only: true, tmpfs: found.tmpfs, ..draft.clone() };
        tried.tmpfs.retain(|path| !facts.volumes.contains(path));
        for _ in 0..PATHS {
            let (why, log) = match self.launcher.attempt(&tried).await? {
                Ok(up) if is_as_good(&up, first) => {
                    self.say("it starts with a read-only file system");
                    *draft = tried;
                    return Ok(up.memory);
                }
                Ok(up) => ("it does not serve as before".to_owned(), up.log),
                Err(down) => (down.why, down.log),
            };
            let paths = words::unwritable(&log);
            let paths = paths.iter().filter_map(|path| directory_of(path));
            let more: BTreeSet<_> = paths.filter(|path| !tried.tmpfs.contains(path)).collect();
            if more.is_empty() {
                let last = log.last().map(|line| format!(": {line}")).unwrap_or_default();
                self.say(&format!("not read-only: {why}{last}"));
                break;
            }
            tried.tmpfs.extend(more);
        }
        let remark = "Not `read_only`: it was not found out what it has to write to.";
        draft.remarks.entry("limits").or_insert_with(|| remark.to_owned());
        Ok(0)
    }

    /// Starts the draft as it is proposed.
    async fn confirm(&mut self, draft: &mut Draft) -> Result<String, TrialError> {
        let took = loop {
            let down = match self.launcher.confirm(draft).await? {
                Ok(took) => break took,
                Err(down) => down,
            };
            // Findings are taken back, the surest last.
            if down.lacks_memory && draft.memory.is_some_and(|memory| memory < MOST_MEMORY) {
                draft.memory = draft.memory.map(|memory| memory * 2);
            } else if draft.ready.take().is_some() {
                self.say(&format!("it is not ready by what it says: {}", down.why));
            } else if draft.read_only {
                self.say(&format!("not read-only: {}", down.why));
                (draft.read_only, draft.tmpfs) = (false, BTreeSet::new());
            } else {
                let why = format!("what was found out does not start: {}", down.why);
                return Err(TrialError::Image(why));
            }
        };
        let count = self.launcher.launched.load(Ordering::Relaxed);
        self.say(&format!("ready {:.1} s after the launch, as proposed", seconds(took)));
        let remark = format!(
            "Found out by {count} starts; ready {:.1} s after the last one began. `warm` has that\n\
             done before clients come; whether they may follow each other in one container\n\
             (`reuse`), and what they make it do, only you know.",
            seconds(took)
        );
        draft.remarks.insert("", remark);
        Ok(draft.to_string())
    }

    fn say(&mut self, what: &str) {
        (self.tell)(what);
    }
}

/// Whether it answers a client as before, and its log has no more refusals: a part of it may fail
/// while another listens.
fn is_as_good(up: &Up, first: &Up) -> bool {
    up.hangs_up == first.hangs_up
        && up.banner.is_some() == first.banner.is_some()
        && words::refusals(&up.log) <= words::refusals(&first.log)
}

/// Twice the memory used, rounded up to a power of two.
fn settle_memory(draft: &mut Draft, used: u64) {
    draft.memory = Some((2 * used).next_power_of_two().max(LEAST_MEMORY));
    let remark =
        format!("A container used {} once it had started.", ByteSize(used).display().iec());
    let known = draft.remarks.remove("limits").map(|known| format!("{known}\n"));
    draft.remarks.insert("limits", known.unwrap_or_default() + &remark);
}

fn settle_readiness(draft: &mut Draft, up: &Up) {
    // A banner that begins with an empty line says too little.
    let banner = up.banner.as_ref().filter(|banner| !banner.starts_with(['\r', '\n']));
    if let Some(banner) = banner {
        let end = banner.find([' ', '-', '\r', '\n']).map_or(banner.len(), |at| at + 1);
        let start = banner[..end].trim_end_matches(['\r', '\n']);
        draft.ready = Some(format!("Banner({})", quoted(start)));
    } else if let Some((text, times)) = words::readiness(&up.log) {
        let times = if times > 1 { format!(", times: {times}") } else { String::new() };
        draft.ready = Some(format!("Log({}{times})", quoted(&text)));
    }
    // The time that it took here is no promise.
    let seconds = 4 * up.took.as_secs();
    draft.start = Some(seconds).filter(|seconds| *seconds > USUAL.as_secs());
}

/// Why an image does not start, and what may help.
fn does_not_start(down: &Down, draft: &Draft) -> String {
    let mut why = format!("{} does not start: {}", draft.image, down.why);
    let last = down.log.len().saturating_sub(LINES);
    let lines: Vec<_> = down.log[last..].iter().map(|line| format!("\n    {line}")).collect();
    why.push_str(&lines.concat());
    let known = |name: &String| draft.env.iter().any(|(known, _)| known == name);
    let wanted: Vec<_> =
        words::variables(&down.log).into_iter().filter(|name| !known(name)).collect();
    if !wanted.is_empty() {
        why.push_str(&format!("\nit may want {}: --env NAME=VALUE", wanted.join(" or ")));
    }
    why
}

fn joined(capabilities: &BTreeSet<String>) -> String {
    capabilities.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The last part of an image's name, without its tag.
fn name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last).to_owned()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
