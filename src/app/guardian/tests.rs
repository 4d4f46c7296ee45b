//! Both sides of the guardian without an engine.

use std::fs;
use std::path::PathBuf;

use ganger_pool::testing::{FakeEngine, Gate, Op};

use super::child::{Cleared, clear};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn fake_daemon() -> DaemonSpec<u32> {
    DaemonSpec { name: "d".into(), endpoint: 0, max_containers: 1, tier: 0, max_launches: None }
}

/// The outcome of clearing a fake daemon, to which `meanwhile` happens.
async fn cleared(engine: &FakeEngine, meanwhile: impl Future<Output = ()>) -> (Cleared, Duration) {
    let began = Instant::now();
    let (daemon, cleared) = (fake_daemon(), async |daemon| clear(engine, daemon, QUIET).await);
    let (cleared, ()) = tokio::join!(cleared(&daemon), meanwhile);
    (cleared, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_life_late_is_removed_and_waited_for() {
    let engine = FakeEngine::new(1);
    engine.add_stray("d", "at once");
    let ghost = async {
        tokio::time::sleep(QUIET - SECOND).await;
        assert_eq!(engine.real("d"), []);
        engine.add_stray("d", "late");
    };
    let (cleared, took) = cleared(&engine, ghost).await;
    assert_eq!(cleared, Cleared { removed: 2, left: None });
    assert_eq!(engine.real("d"), []);
    assert!(took >= 2 * QUIET - SECOND, "it was not waited for anew: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_answers_again_is_watched_from_then_on() {
    let engine = FakeEngine::new(1);
    engine.add_stray("d", "one");
    engine.gate("d", Op::Connect, Gate::Err);
    let (away, silent) = (GIVE_UP / 3, GIVE_UP / 3);
    let meanwhile = async {
        tokio::time::sleep(away).await;
        engine.gate("d", Op::Connect, Gate::Ok);
        engine.gate("d", Op::List, Gate::Err);
        tokio::time::sleep(silent).await;
        engine.gate("d", Op::List, Gate::Ok);
    };
    let (cleared, took) = cleared(&engine, meanwhile).await;
    assert_eq!(cleared, Cleared { removed: 1, left: None });
    assert!(took >= away + silent + QUIET, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_is_given_up_and_named() {
    for op in [Op::Connect, Op::List, Op::Retire] {
        let engine = FakeEngine::new(1);
        engine.add_stray("d", "one");
        engine.gate("d", op, Gate::Err);
        let (cleared, took) = cleared(&engine, async {}).await;
        assert!(cleared.removed == 0 && cleared.left.is_some(), "{cleared:?}");
        assert!(took >= GIVE_UP && took < GIVE_UP + 2 * QUIET + 60 * SECOND, "{took:?}");
    }
}

/// A directory of its own for each test, in which a late writer finds no place.
struct Heard(PathBuf);

// === impl Heard ===

impl Heard {
    fn new(name: &str) -> Self {
        let name = format!("ganger-guardian-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A stand-in for the guardian: it writes down the messages it reads, `lines` at most, and ends
    /// at a farewell.
    fn command(&self, lines: u32) -> std::process::Command {
        let script = format!(
            "exec 2>/dev/null; echo ready; n=0; while [ $n -lt {lines} ] && read -r line; do \
             n=$((n+1)); echo \"$line\" >> {file}; \
             case $line in *farewell*) exit;; esac; done",
            file = self.file().display()
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]);
        command
    }

    fn file(&self) -> PathBuf {
        self.0.join("heard")
    }

    fn messages(&self) -> Vec<GuardianMessage> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        text.lines().map(|line| GuardianMessage::read(line).unwrap()).collect()
    }

    /// The daemons of each message; none of a farewell.
    fn daemons(&self) -> Vec<Vec<String>> {
        let names = |message| match message {
            GuardianMessage::Guard(manifest) => {
                manifest.daemons.into_iter().map(|d| d.daemon).collect()
            }
            GuardianMessage::Farewell => Vec::new(),
        };
        self.messages().into_iter().map(names).collect()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn daemon(name: &str) -> DaemonSpec<Site> {
    DaemonSpec {
        name: name.into(),
        endpoint: Site::of("unix:///nonexistent/docker.sock".parse().unwrap()),
        max_containers: 1,
        tier: 0,
        max_launches: None,
    }
}

fn fleet(names: &[&str]) -> Arc<[DaemonSpec<Site>]> {
    names.iter().map(|name| daemon(name)).collect()
}

fn identity() -> Identity {
    Identity { instance: "i".into(), boot: "3fa9c1d2".into() }
}

async fn started(
    command: std::process::Command,
    source: FleetWatch<Site>,
) -> (Guardian, FleetWatch<Site>) {
    let docker = Arc::new(Docker::new(identity(), Vec::new()));
    Guardian::start(command, identity(), docker, source).await
}

#[tokio::test]
async fn a_daemon_is_told_before_it_is_used_and_stays_known_when_it_leaves() {
    let heard = Heard::new("told");
    let (discovery, source) = watch::channel(fleet(&["a"]));
    let (guardian, mut pool) = started(heard.command(100), source).await;
    assert_eq!(pool.borrow_and_update().len(), 1);
    for names in [&["a", "b"][..], &["b"], &["b", "a"]] {
        discovery.send(fleet(names)).unwrap();
        pool.changed().await.unwrap();
        assert_eq!(*pool.borrow_and_update(), fleet(names));
    }
    guardian.end(true).await;
    let daemons = heard.daemons();
    assert_eq!(daemons, [&["a"][..], &["a", "b"], &["b", "a"], &["b", "a"], &[]]);
    assert_eq!(heard.messages().last(), Some(&GuardianMessage::Farewell));
}

#[tokio::test]
async fn one_that_ends_is_replaced_and_the_next_one_told_everything() {
    let heard = Heard::new("replaced");
    let (_discovery, source) = watch::channel(fleet(&["a", "b"]));
    let (guardian, _pool) = started(heard.command(1), source).await;
    tokio::time::timeout(60 * SECOND, async {
        while heard.messages().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("three in a row");
    guardian.end(true).await;
    assert!(heard.daemons().iter().take(3).all(|daemons| *daemons == ["a", "b"]));
}

#[tokio::test]
async fn the_service_goes_on_without_a_guardian() {
    let (discovery, source) = watch::channel(fleet(&["a"]));
    let command = std::process::Command::new("/nonexistent/ganger");
    let (guardian, mut pool) = started(command, source).await;
    discovery.send(fleet(&["b"])).unwrap();
    pool.changed().await.unwrap();
    assert_eq!(*pool.borrow(), fleet(&["b"]));
    guardian.end(true).await;
}

#[tokio::test]
async fn no_farewell_is_said_while_something_is_left() {
    let heard = Heard::new("left");
    let (_discovery, source) = watch::channel(fleet(&["a"]));
    let (guardian, _pool) = started(heard.command(100), source).await;
    guardian.end(false).await;
    assert_eq!(heard.daemons().iter().filter(|daemons| daemons.is_empty()).count(), 0);
}
