//! Engine calls that may bring a container to life, and what is known of them.
//!
//! An engine carries out a call whose caller has gone: a create that was
//! abandoned on a stopped engine is carried out when the engine goes on.
//! Therefore such calls run in tasks of their own, nobody cancels them, and a
//! launch is gone only when none of its calls can still have an effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use ganger_pool::core::LaunchId;
use ganger_pool::runtime::Target;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// No answer in time. The call goes on.
    Late(Duration),
    /// The engine said no, or contact with it failed.
    Engine(Error),
}

/// The calls of this run, by launch.
#[derive(Debug, Default)]
pub(super) struct Calls {
    launches: Mutex<BTreeMap<LaunchId, Launch>>,
    removals: Mutex<BTreeSet<(String, String)>>,
}

#[derive(Debug)]
struct Launch {
    name: String,
    made: Option<CreatedContainer>,
    /// The engine may have heard of the launch.
    known: bool,
    running: u32,
    lost: Option<Lost>,
}

/// The container that an engine said it has made.
#[derive(Debug)]
struct CreatedContainer {
    id: String,
    engine: String,
}

/// The possible effect of a call that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallOutcome {
    /// None: the engine never heard of the call.
    Unsent,
    /// The engine answered, whatever it said.
    Answered,
    /// Unknown: the effect may be still to come.
    Lost,
}

/// A call ended without an answer, so that its effect may be still to come.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// The engine has not answered anything since.
    Silent,
    /// The engine answers again since then.
    Answering(Instant),
}

/// Records the end of a call, however its task ends.
struct RunningCall {
    calls: Arc<Calls>,
    launch: LaunchId,
    ended: CallOutcome,
}

/// Lets the next removal of a container begin however the task of this one ends.
struct Removing {
    calls: Arc<Calls>,
    key: (String, String),
}

// === impl Calls ===

impl Calls {
    /// Notes the name of a launch's container, before the engine hears of it.
    pub(super) fn register(&self, launch: LaunchId, name: String) {
        self.launches
            .lock()
            .insert(launch, Launch { name, made: None, known: false, running: 0, lost: None });
    }

    /// Notes that an engine, by its own id, has made a launch's container with this id.
    pub(super) fn made(&self, launch: LaunchId, id: &str, engine: &str) {
        if let Some(known) = self.launches.lock().get_mut(&launch) {
            known.made = Some(CreatedContainer { id: id.to_owned(), engine: engine.to_owned() });
        }
    }

    /// Whether a container is a launch's by its id, whatever its name.
    pub(super) fn has_made(&self, id: &str) -> bool {
        let launches = self.launches.lock();
        launches.values().any(|known| known.made.as_ref().is_some_and(|made| made.id == id))
    }

    /// The id of a launch's container, if another engine than this one has made it.
    pub(super) fn made_elsewhere(&self, launch: LaunchId, engine: &str) -> Option<String> {
        let launches = self.launches.lock();
        let made = launches.get(&launch)?.made.as_ref()?;
        (made.engine != engine).then(|| made.id.clone())
    }

    /// Whether no engine can have heard of a launch.
    pub(super) fn is_unheard_of(&self, launch: LaunchId) -> bool {
        self.launches.lock().get(&launch).is_some_and(|known| !known.known && known.running == 0)
    }

    /// The id of a launch's container, if an engine has said that it has made it.
    pub(super) fn id(&self, launch: LaunchId) -> Option<String> {
        self.launches.lock().get(&launch)?.made.as_ref().map(|made| made.id.clone())
    }

    /// The name that [`Calls::register`] noted.
    pub(super) fn name(&self, launch: LaunchId) -> Option<String> {
        self.launches.lock().get(&launch).map(|known| known.name.clone())
    }

    /// Makes a call for a registered launch in a task of its own, and waits
    /// for it until `deadline`. The task ends with the call, or after `bound`.
    pub(super) async fn run<T, F>(
        self: &Arc<Self>,
        launch: LaunchId,
        deadline: Duration,
        bound: Duration,
        call: F,
    ) -> Result<T, CallFailure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let running = RunningCall::begin(self, launch);
        detached(deadline, async move {
            let result = timeout(bound, call).await.unwrap_or(Err(Error::RequestTimeoutError));
            running.end(result.as_ref().map_or_else(ended, |_| CallOutcome::Answered));
            result
        })
        .await
    }

    /// Whether a launch that a complete list just now did not show stays gone.
    ///
    /// After a lost call it does so only when the engine has been answering for
    /// `grace`: an engine that was stopped first reads what it was sent.
    pub(super) fn is_settled(&self, launch: LaunchId, grace: Duration) -> bool {
        let mut launches = self.launches.lock();
        let Some(known) = launches.get_mut(&launch) else {
            return true;
        };
        if known.running > 0 {
            return false;
        }
        match known.lost {
            None => true,
            Some(Lost::Silent) => {
                known.lost = Some(Lost::Answering(Instant::now()));
                false
            }
            Some(Lost::Answering(since)) => since.elapsed() >= grace,
        }
    }

    /// Forgets a launch that is gone.
    pub(super) fn forget(&self, launch: LaunchId) {
        self.launches.lock().remove(&launch);
    }

    /// Makes a removal in a task of its own, unless one of the same container
    /// is under way: attempts at a stuck one must not pile up in the engine.
    pub(super) async fn remove<F>(
        self: &Arc<Self>,
        target: &Target,
        id: &str,
        deadline: Duration,
        bound: Duration,
        call: F,
    ) -> Result<(), CallFailure>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Some(removing) = Removing::begin(self, target, id) else {
            return Ok(());
        };
        detached(deadline, async move {
            let _removing = removing;
            timeout(bound, call).await.unwrap_or(Err(Error::RequestTimeoutError))
        })
        .await
    }
}

async fn detached<T, F>(deadline: Duration, call: F) -> Result<T, CallFailure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody may be waiting any more.
        let _ = sender.send(call.await);
    });
    match timeout(deadline, receiver).await {
        Ok(Ok(result)) => result.map_err(CallFailure::Engine),
        // A task that panicked, or a runtime that shuts down.
        Ok(Err(_)) => Err(CallFailure::Engine(Error::RequestTimeoutError)),
        Err(_) => Err(CallFailure::Late(deadline)),
    }
}

/// The possible effect of a failed call.
fn ended(error: &Error) -> CallOutcome {
    match error {
        // The transport returns these only before a request is sent.
        Error::IOError { .. } => CallOutcome::Unsent,
        Error::RequestTimeoutError
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. } => CallOutcome::Lost,
        _ => CallOutcome::Answered,
    }
}

// === impl RunningCall ===

impl RunningCall {
    fn begin(calls: &Arc<Calls>, launch: LaunchId) -> Self {
        if let Some(known) = calls.launches.lock().get_mut(&launch) {
            known.running += 1;
        }
        Self { calls: Arc::clone(calls), launch, ended: CallOutcome::Lost }
    }

    fn end(mut self, ended: CallOutcome) {
        self.ended = ended;
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        if let Some(known) = self.calls.launches.lock().get_mut(&self.launch) {
            known.running -= 1;
            known.known |= self.ended != CallOutcome::Unsent;
            if self.ended == CallOutcome::Lost {
                known.lost = Some(Lost::Silent);
            }
        }
    }
}

// === impl Removing ===

impl Removing {
    /// `None` when a removal of the container is under way.
    fn begin(calls: &Arc<Calls>, target: &Target, id: &str) -> Option<Self> {
        let key = (target.daemon.to_string(), id.to_owned());
        let first = calls.removals.lock().insert(key.clone());
        first.then(|| Self { calls: Arc::clone(calls), key })
    }
}

impl Drop for Removing {
    fn drop(&mut self) {
        self.calls.removals.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use ganger_pool::runtime::ContainerKey;

    use super::*;

    const LAUNCH: LaunchId = LaunchId(1);
    const GRACE: Duration = Duration::from_secs(10);

    fn calls() -> Arc<Calls> {
        let calls = Arc::new(Calls::default());
        calls.register(LAUNCH, "name".into());
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_call_goes_on_and_holds_its_launch() {
        let calls = calls();
        let (answer, answered) = oneshot::channel::<()>();
        let call = async move { answered.await.map_err(|_| Error::RequestTimeoutError) };
        let minute = Duration::from_secs(60);
        let result = calls.run(LAUNCH, Duration::from_secs(1), minute, call).await;
        assert!(matches!(result, Err(CallFailure::Late(_))));
        assert!(!calls.is_settled(LAUNCH, GRACE));
        answer.send(()).unwrap();
        while !calls.is_settled(LAUNCH, GRACE) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_call_holds_its_launch_until_the_engine_answers_for_a_while() {
        let calls = calls();
        let second = Duration::from_secs(1);
        let never = std::future::pending::<Result<(), Error>>();
        let result = calls.run(LAUNCH, 3 * second, 2 * second, never).await;
        assert!(matches!(result, Err(CallFailure::Engine(Error::RequestTimeoutError))));
        tokio::time::advance(2 * GRACE).await;
        assert!(!calls.is_settled(LAUNCH, GRACE), "the first answer since");
        tokio::time::advance(GRACE - second).await;
        assert!(!calls.is_settled(LAUNCH, GRACE));
        tokio::time::advance(second).await;
        assert!(calls.is_settled(LAUNCH, GRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_call_is_settled() {
        let calls = calls();
        let no = Error::DockerResponseServerError { status_code: 400, message: "no".into() };
        let second = Duration::from_secs(1);
        let result = calls.run(LAUNCH, second, second, async { Err::<(), _>(no) }).await;
        assert!(matches!(result, Err(CallFailure::Engine(_))));
        assert!(calls.is_settled(LAUNCH, GRACE));
        assert!(!calls.is_unheard_of(LAUNCH));
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_that_panics_does_not_keep_the_next_one_from_beginning() {
        let (calls, second) = (calls(), Duration::from_secs(1));
        let target = Target { daemon: "d".into(), key: ContainerKey::Launch(LAUNCH) };
        let broken = async { panic!("as a bug in a library would") };
        let result = calls.remove(&target, "id", second, second, broken).await;
        assert!(matches!(result, Err(CallFailure::Engine(_))));
        let (began, begun) = oneshot::channel();
        let next = async { began.send(()).map_err(|()| Error::RequestTimeoutError) };
        calls.remove(&target, "id", second, second, next).await.unwrap();
        begun.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_never_sent_leaves_nothing_to_look_for() {
        let calls = calls();
        let refused = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let second = Duration::from_secs(1);
        let result = calls.run(LAUNCH, second, second, async { Err::<(), _>(refused) }).await;
        assert!(matches!(result, Err(CallFailure::Engine(_))));
        assert!(calls.is_unheard_of(LAUNCH) && calls.is_settled(LAUNCH, GRACE));
    }
}
