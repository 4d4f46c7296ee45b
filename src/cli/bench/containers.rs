//! `ganger bench` of containers: what is measured, where, and under which circumstances.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ganger_pool::runtime::ContainerRuntime;
use indexmap::IndexMap;

use super::advice::by_options;
use super::counter::Counter;
use super::{BenchArguments, known, load_of, subject, usage};
use crate::app::{self, Plan};
use crate::bench::{
    BenchError, BenchImage, BenchReport, Exchange, Load, Machine, Pace, Point, REFILL, RoundKind,
    Rounds, STEPS, Setup, Skipped, Surroundings, refill, rounds,
};
use crate::cli::out::complain;
use crate::cli::{Exit, Failure, demo, guard, keeper, loaded, run};
use crate::config::{self, ImageRef, LogFormat, Name, Network, Sandbox, StockedAs};
use crate::docker::{Docker, Identity};
use crate::endpoint::Endpoint;
use crate::shutdown::{HangUp, Stop};

/// The default number of rounds.
const ROUNDS: u32 = 20;
/// The default number of containers in stock at a rate.
const STOCK: u32 = 4;
/// How long connections are made unless a number or a duration is given.
const DURATION: Duration = Duration::from_secs(10);

/// Circumstances that everything is measured for.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Sweep {
    what: &'static str,
    /// Never empty.
    values: Vec<String>,
}

/// A value of a sweep, or the only circumstances.
struct Circumstances {
    at: IndexMap<String, String>,
    setup: Setup,
    how: Rounds,
}

/// Measures; returns besides whether it came to the end, and was not interrupted.
pub(super) async fn measured(
    arguments: &BenchArguments,
    config: Option<PathBuf>,
    exchange: Option<Exchange>,
    log: &str,
) -> Result<(BenchReport, bool), Failure> {
    let kinds = kinds(arguments);
    assertable(arguments, &kinds)?;
    let setup = setup(arguments, config, exchange)?;
    let all = circumstances(arguments, &setup, &kinds)?;
    let engine = look(&setup).await?;
    let stop = run::stop(HangUp::Stops)?;
    let instance = format!("bench-{}", std::process::id());
    let with =
        Surroundings { instance: &instance, guardian, keeper: keeper::command, log, stop: &stop };

    let what = format!("{} on {engine}", setup.describe());
    // A sweep or a refill says itself how many clients there are.
    let load = match all.as_slice() {
        [only] if arguments.refill.is_empty() => Some(&only.how.load),
        _ => None,
    };
    let subject = subject(&what, &setup.exchange, load);
    let mut report = BenchReport::begin(subject, Machine::here(Some(engine)));
    let sweeping = arguments.sweep.is_some();
    for Circumstances { at, setup, how } in all.into_iter().filter(|_| !kinds.is_empty()) {
        let point = Point { at, series: Vec::new(), phases: Vec::new() };
        let mut counter = Counter::new("round ", Some(how.rounds.into()), None);
        let mut progress = |kind: &str, round: u64| {
            counter.tell(format!("{} {kind}", point.label()).trim_start(), round);
        };
        let measured = rounds(&setup, &how, &with, &mut progress).await;
        counter.clear();
        match measured {
            Ok(measured) => report.points.push(Point { at: point.at, ..measured }),
            // Other points of a sweep may be measured all the same.
            Err(BenchError::Launch(reason) | BenchError::Unreachable(reason)) if sweeping => {
                let reason = advised(arguments, reason);
                report.skipped.push(Skipped { at: point.at, reason });
            }
            Err(BenchError::Interrupted) if !report.points.is_empty() => break,
            Err(error) => return Err(failed(arguments, &error)),
        }
        if is_stopped(&stop) {
            break;
        }
    }
    refills(arguments, &setup, &with, &mut report).await?;
    Ok((report, !is_stopped(&stop)))
}

async fn refills(
    arguments: &BenchArguments,
    setup: &Setup,
    with: &Surroundings<'_>,
    report: &mut BenchReport,
) -> Result<(), Failure> {
    let duration = arguments.duration.unwrap_or(DURATION);
    for clients in &arguments.refill {
        if is_stopped(with.stop) {
            break;
        }
        let mut counter = Counter::new("", None, Some(duration));
        let mut progress =
            |_: &str, count: u64| counter.tell(&format!("refill, {clients} at a time"), count);
        let measured =
            refill(setup, *clients, duration, arguments.timeout, with, &mut progress).await;
        counter.clear();
        let series = match measured {
            Err(BenchError::Interrupted)
                if !(report.points.is_empty() && report.refill.is_empty()) =>
            {
                break;
            }
            measured => measured.map_err(|error| failed(arguments, &error))?,
        };
        let at = IndexMap::from([("clients".to_owned(), clients.to_string())]);
        report.refill.push(Point { at, series: vec![series], phases: Vec::new() });
    }
    Ok(())
}

fn is_stopped(stop: &Stop) -> bool {
    stop.drain.is_cancelled()
}

/// The kinds that are to be measured: none where refills are asked for.
fn kinds(arguments: &BenchArguments) -> Vec<RoundKind> {
    let mut kinds = arguments.kinds.clone();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() && arguments.refill.is_empty() { RoundKind::ALL.to_vec() } else { kinds }
}

/// Fails for an assertion on what is not measured.
fn assertable(arguments: &BenchArguments, kinds: &[RoundKind]) -> Result<(), Failure> {
    let mut names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    if kinds.contains(&RoundKind::Cold) {
        names.extend(STEPS);
    }
    if !arguments.refill.is_empty() {
        names.push(REFILL);
    }
    known(&arguments.assertions, &names)
}

fn setup(
    arguments: &BenchArguments,
    config: Option<PathBuf>,
    exchange: Option<Exchange>,
) -> Result<Setup, Failure> {
    let mut setup = match &arguments.service {
        Some(name) => of_service(name, config, exchange)?,
        None => of_image(arguments, exchange)?,
    };
    if let Some(network) = &arguments.network {
        setup.set_network(network);
    }
    if let Some(runtime) = &arguments.runtime {
        setup.set_runtime(runtime);
    }
    if setup.exchange.is_connect_only() {
        return Err(usage(
            "say what shows that the service has answered, with --send and --expect: Ganger accepts \
             a connection before it has a container for it"
                .to_owned(),
        ));
    }
    Ok(setup)
}

fn of_service(
    name: &str,
    config: Option<PathBuf>,
    exchange: Option<Exchange>,
) -> Result<Setup, Failure> {
    let (mut config, path) = loaded(config)?;
    let names: Vec<_> = config.services.iter().map(|service| service.name.to_string()).collect();
    config.services.retain(|service| service.name.as_str() == name);
    if config.services.is_empty() {
        let help =
            match config::similar(name, &names.iter().map(String::as_str).collect::<Vec<_>>()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the names are {}", names.join(", ")),
            };
        return Err(usage(format!(
            "--service {name}: {} has none of this name: {help}",
            path.display()
        )));
    }
    Ok(Setup::of_service(config, exchange))
}

fn of_image(arguments: &BenchArguments, exchange: Option<Exchange>) -> Result<Setup, Failure> {
    // Docker's own client takes an empty DOCKER_HOST the same way.
    let url = if arguments.docker.is_empty() { demo::DEFAULT } else { &arguments.docker };
    let engine: Endpoint =
        url.parse().map_err(|error| usage(format!("--docker {url}: {error}")))?;
    if !engine.is_loopback() {
        return Err(usage(format!(
            "--docker {url}: plain tcp to another machine: make it a daemon of a configuration, with \
             `tls`, and name a service of that with --service"
        )));
    }
    let image = arguments.image.as_deref().zip(arguments.port).map(|(name, port)| {
        let name = ImageRef::new(name)
            .map_err(|why| usage(format!("--image {name:?} is not the name of an image: {why}")))?;
        Ok((name, port))
    });
    let image = image.transpose()?;
    let command = Some(arguments.command.clone()).filter(|command| !command.is_empty());
    let patience = arguments.timeout;
    Setup::of_image(BenchImage { image, command, engine, patience }, exchange)
        .map_err(|mistakes| Failure::new(Exit::Failed, mistakes))
}

/// The circumstances that everything is measured for, one after the other.
fn circumstances(
    arguments: &BenchArguments,
    setup: &Setup,
    kinds: &[RoundKind],
) -> Result<Vec<Circumstances>, Failure> {
    let how = how(arguments, kinds, None)?;
    let Some(Sweep { what, values }) = &arguments.sweep else {
        return Ok(vec![Circumstances { at: IndexMap::new(), setup: setup.clone(), how }]);
    };
    let wrong = |why: String| usage(format!("--sweep {what}: {}", advised(arguments, why)));
    let each = |value: &String| {
        let (mut setup, mut how) = (setup.clone(), how.clone());
        match *what {
            "concurrency" => {
                let clients = value.parse().ok().filter(|clients| (1..=1000).contains(clients));
                let clients =
                    clients.ok_or_else(|| wrong(format!("{value} is not from 1 to 1000")))?;
                how = self::how(arguments, kinds, Some(clients))?;
            }
            "network" => setup.set_network(&network(value).map_err(wrong)?),
            "sandbox" => {
                sandbox(value).and_then(|sandbox| setup.set_sandbox(sandbox)).map_err(wrong)?;
            }
            "stock" => {
                stocked_as(value).and_then(|stock| setup.set_stock(stock)).map_err(wrong)?;
            }
            "runtime" => setup.set_runtime(&runtime(value).map_err(wrong)?),
            _ => setup.set_daemon(value).map_err(wrong)?,
        }
        let at = IndexMap::from([((*what).to_owned(), value.clone())]);
        Ok(Circumstances { at, setup, how })
    };
    values.iter().map(each).collect()
}

/// The rounds to measure, by so many clients at a time where a sweep says so.
fn how(
    arguments: &BenchArguments,
    kinds: &[RoundKind],
    clients: Option<u32>,
) -> Result<Rounds, Failure> {
    if clients.is_some() && arguments.rate.is_some() {
        return Err(usage(
            "--sweep concurrency is for a closed loop, and --rate an open one".to_owned(),
        ));
    }
    let mut load = load_of(arguments, None)?;
    if let Some(clients) = clients {
        load.pace = Pace::Closed { concurrency: clients as usize };
    }
    let (rounds, stock) = match load {
        Load { pace: Pace::Open { .. }, requests: None, duration: None } => {
            load.duration = Some(DURATION);
            (1, STOCK)
        }
        Load { pace: Pace::Open { .. }, .. } => (1, STOCK),
        Load { pace: Pace::Closed { concurrency }, requests, duration } => {
            let stock = u32::try_from(concurrency).unwrap_or(u32::MAX);
            if requests.is_none() && duration.is_none() {
                // All clients at once, and one connection each.
                load.requests = u64::try_from(concurrency).ok();
                (ROUNDS, stock)
            } else {
                (1, stock)
            }
        }
    };
    Ok(Rounds {
        kinds: kinds.to_vec(),
        rounds: arguments.rounds.unwrap_or(rounds),
        load,
        stock: arguments.stock.unwrap_or(stock),
        patience: arguments.timeout,
    })
}

/// Makes contact with the engines before anything is launched; says what they are.
async fn look(setup: &Setup) -> Result<String, Failure> {
    let identity = Identity { instance: String::new(), boot: String::new() };
    let docker = Docker::new(identity, app::builtin());
    let unreachable = |error: String| Failure::new(Exit::Unreachable, error);
    let fleet = Plan::new(setup.config()).fleet.once().await.map_err(unreachable)?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for daemon in &fleet.daemons {
        match docker.connect(&daemon.name, &daemon.endpoint).await {
            Ok(facts) => found.push(facts.version),
            Err(error) => errors.push(format!("{}: {error}", daemon.name)),
        }
    }
    if found.is_empty() {
        let none = || "discovery knows no daemon".to_owned();
        return Err(unreachable(if errors.is_empty() { none() } else { errors.join("\n") }));
    }
    errors.iter().for_each(|error| complain(&format!("not used: {error}")));
    let count = found.len();
    found.sort_unstable();
    found.dedup();
    let many = if count > 1 { format!(" on {count} daemons") } else { String::new() };
    Ok(format!("{}{many}", found.join(", ")))
}

fn failed(arguments: &BenchArguments, error: &BenchError) -> Failure {
    let exit = match error {
        BenchError::Unreachable(_) => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, advised(arguments, error.to_string()))
}

/// Without a configuration there are options to change, and no settings.
fn advised(arguments: &BenchArguments, said: String) -> String {
    if arguments.service.is_some() { said } else { by_options(&said) }
}

fn guardian(log: &str) -> Command {
    guard::command(LogFormat::Text, log)
}

/// The engine's name of a runtime.
pub(super) fn runtime(text: &str) -> Result<Name, String> {
    Name::new(text)
}

/// The network namespace that containers get.
fn sandbox(text: &str) -> Result<Sandbox, String> {
    match text {
        "Fresh" => Ok(Sandbox::Fresh),
        "Pooled" => Ok(Sandbox::Pooled),
        "Cell" => Ok(Sandbox::Cell),
        _ => Err(format!("{text} is none of Fresh, Pooled and Cell")),
    }
}

/// How far containers in stock are.
fn stocked_as(text: &str) -> Result<StockedAs, String> {
    match text {
        "Started" => Ok(StockedAs::Started),
        "Created" => Ok(StockedAs::Created),
        _ => Err(format!("{text} is neither Started nor Created")),
    }
}

/// The network that containers can reach.
pub(super) fn network(text: &str) -> Result<Network, String> {
    Ok(match text {
        "Isolated" => Network::Isolated,
        "Bridge" => Network::Bridge,
        "Sealed" => Network::Sealed,
        name => Network::Named(Name::new(name)?.to_string()),
    })
}

// === impl Sweep ===

impl Sweep {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let known = ["concurrency", "network", "sandbox", "stock", "runtime", "daemon"];
        let (what, values) = text.split_once('=').ok_or("write WHAT=A,B,..")?;
        let what = known.into_iter().find(|known| *known == what);
        let what = what.ok_or_else(|| format!("write one of {} before the =", known.join(", ")))?;
        let values: Vec<_> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err("a value is empty".to_owned());
        }
        Ok(Self { what, values })
    }
}
