//! `cargo xtask test`, `ci` and `sim`.

use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::child::Interrupts;
use crate::command::{self, cargo};
use crate::fleet::{Fleet, Settings, Site, assignment, is_root};
#[cfg(target_os = "linux")]
use crate::images::Images;
#[cfg(target_os = "linux")]
use crate::packages;
use crate::{SimArgs, TestArgs, axe, postgres, schemathesis};

/// The test target that needs real engines.
pub(crate) const ENGINE_TARGET: &str = "engines";
/// The test target that needs images of stock services.
const IMAGES_TARGET: &str = "images";
/// Three hosts with the machine's own Docker that tests share, six that they take, and one for each
/// of [`OTHER_KINDS`].
const HOSTS: u8 = 11;
/// Engine tests at a time: they mostly wait, for engines and for time-outs.
const ENGINE_THREADS: u8 = 6;
const OTHER_KINDS: [&str; 2] = ["10=docker-trixie", "11=podman-trixie"];

/// Runs the tests; returns 1 when one failed.
pub(crate) fn test(args: &TestArgs) -> Result<ExitCode> {
    let interrupts = Interrupts::take()?;
    if args.without_engines {
        command::say("left out: tiers T4 (real engines) and T5 (black box on engines)");
        if !is_root() {
            command::say("left out: tests that enter network namespaces, which need root");
        }
        let env = [("GANGER_WITHOUT_ENGINES".as_ref(), "1".as_ref())];
        return run_tests(&test_runs(false)?, args.filter.as_deref(), &env, &interrupts);
    }

    let obstacle = match () {
        () if !cfg!(target_os = "linux") => Some("this machine is not Linux"),
        () if !is_root() => Some("you are not root"),
        () => None,
    };
    if let Some(obstacle) = obstacle {
        bail!(
            "{obstacle}, so these tiers cannot run: T4 (real engines) and T5 (black box on \
             engines), which start Docker daemons in network namespaces; \
             `cargo xtask test --without-engines` runs the others"
        );
    }
    let fleet = Fleet::lock(Site::tests()?)?;
    let filter = args.filter.as_deref();
    let result = if args.images {
        test_images(&fleet, &interrupts, filter)
    } else {
        test_on(&fleet, &interrupts, filter).and_then(|code| match filter {
            None if code == ExitCode::SUCCESS => test_images(&fleet, &interrupts, None),
            _ => Ok(code),
        })
    };
    let down = fleet.down();
    let code = result?;
    down?;
    Ok(code)
}

fn test_on(fleet: &Fleet, interrupts: &Interrupts, filter: Option<&str>) -> Result<ExitCode> {
    postgres::ensure()?;
    packages::ensure_watchers()?;
    axe::ensure()?;
    schemathesis::ensure();
    // A fleet that runs may have been started otherwise, or be in any state.
    fleet.down()?;
    let kinds: Vec<_> = OTHER_KINDS.into_iter().map(assignment).collect::<Result<_>>()?;
    fleet.up(HOSTS, &kinds, &[], Settings::default())?;
    if interrupts.came() {
        bail!("interrupted");
    }
    let record = fleet.record();
    let env = [("GANGER_FLEET".as_ref(), record.as_os_str())];
    run_tests(&test_runs(true)?, filter, &env, interrupts)
}

/// Stock services in images, with real clients, on one engine.
#[cfg(target_os = "linux")]
fn test_images(fleet: &Fleet, interrupts: &Interrupts, filter: Option<&str>) -> Result<ExitCode> {
    postgres::ensure()?;
    packages::ensure_clients()?;
    let images = Images::ensure(interrupts)?;
    fleet.down()?;
    fleet.up(1, &[], &[0, 16], Settings::default())?;
    interrupts.check()?;
    images.load(&fleet.socket(1))?;
    let record = fleet.record();
    let env = [("GANGER_FLEET".as_ref(), record.as_os_str())];
    let targets = vec!["--test".to_owned(), IMAGES_TARGET.to_owned()];
    // Each test starts services that take all processors there are.
    let run = TestRun { targets, threads: Some(1), shown: true };
    run_tests(&[run], filter, &env, interrupts)
}

#[cfg(not(target_os = "linux"))]
fn test_images(_: &Fleet, _: &Interrupts, _: Option<&str>) -> Result<ExitCode> {
    bail!("images are made on Linux alone");
}

/// Targets that are run by one command, and how many tests of one at a time; as many as the
/// machine has processors where `threads` is `None`.
struct TestRun {
    targets: Vec<String>,
    threads: Option<u8>,
    /// Whether the output of passing tests is shown.
    shown: bool,
}

fn test_runs(with_engines: bool) -> Result<Vec<TestRun>> {
    let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
    targets.extend(test_targets()?.into_iter().flat_map(|name| ["--test".to_owned(), name]));
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut runs = vec![
        TestRun { targets, threads: None, shown: false },
        TestRun { targets: words(&["--doc"]), threads: None, shown: false },
    ];
    if with_engines {
        let targets = words(&["--test", ENGINE_TARGET]);
        runs.push(TestRun { targets, threads: Some(ENGINE_THREADS), shown: false });
    }
    Ok(runs)
}

/// Runs one after the other, until a test fails.
fn run_tests(
    runs: &[TestRun],
    filter: Option<&str>,
    env: &[(&OsStr, &OsStr)],
    interrupts: &Interrupts,
) -> Result<ExitCode> {
    for TestRun { targets, threads, shown } in runs {
        let mut command = cargo(&["test", "--workspace", "--all-features"]);
        command.args(targets).args(filter).envs(env.iter().copied());
        command.arg("--");
        if is_root() {
            // Tests that enter network namespaces.
            command.arg("--include-ignored");
        }
        command.args(threads.map(|threads| format!("--test-threads={threads}")));
        command.args(shown.then_some("--nocapture"));
        if !interrupts.run(&mut command)?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the integration tests that need no engine.
fn test_targets() -> Result<Vec<String>> {
    let command = cargo(&["metadata", "--no-deps", "--format-version=1"]).output();
    let metadata = command.context("`cargo metadata` could not be run")?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str())
        .filter(|name| ![ENGINE_TARGET, IMAGES_TARGET].contains(name))
        .map(str::to_owned)
        .collect())
}

/// Runs all that has to pass before a change goes in. Says how long each part took.
pub(crate) fn ci() -> Result<ExitCode> {
    part("fmt", || command::run(&mut cargo(&["fmt", "--all", "--check"])))?;
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    part("clippy", || command::run(&mut cargo(&clippy)))?;
    // The libraries alone: nobody reads the tools' documentation.
    let doc = ["doc", "--package", "ganger", "--package", "ganger-pool", "--lib", "--no-deps"];
    let mut doc = cargo(&[&doc[..], &["--all-features"]].concat());
    part("doc", || command::run(doc.env("RUSTDOCFLAGS", "-D warnings")))?;
    part("test", || test(&TestArgs::default()))
}

fn part<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let since = Instant::now();
    let outcome = run()?;
    command::say(&format!("ci: {name} took {} s", since.elapsed().as_secs()));
    Ok(outcome)
}

/// Runs the ledger's simulation; returns 1 when an invariant was broken.
pub(crate) fn sim(args: &SimArgs) -> Result<ExitCode> {
    let mut command = cargo(&["run", "--release", "--package", "ganger-pool", "--example", "sim"]);
    command.args(["--features", "testing", "--"]);
    command.args(["--seeds", &args.seeds.to_string(), "--first", &args.first.to_string()]);
    command::run(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
