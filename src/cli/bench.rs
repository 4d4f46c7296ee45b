//! `ganger bench`.

mod advice;
mod containers;
mod counter;
mod files;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::net::lookup_host;

use super::out::complain;
use super::{Exit, Failure, demo, loaded, run, unused};
use crate::bench::{
    Assertion, BenchReport, Exchange, Load, Machine, Pace, Point, RoundKind, TARGET, compare,
    failures, measure, page, show, unescape,
};
use crate::config::{Name, Network, origin, time};
use crate::proxy;
use crate::shutdown::HangUp;
use counter::Counter;
use files::{load, writable, write};

/// How long connections are made unless a number or a duration is given.
const DURATION: Duration = Duration::from_secs(10);
/// The most clients at a time, and the most connections a second.
const MOST: u32 = 100_000;
/// Descriptors that connections under way leave free.
const RESERVE: u64 = 64;

/// Options that say something of containers.
const OF_CONTAINERS: [&str; 7] =
    ["kinds", "rounds", "stock", "network", "runtime", "sweep", "refill"];

/// What is measured, how, and what is done with the figures.
#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    /// Measure this address
    #[arg(long, value_name = "HOST:PORT", group = "what", conflicts_with_all = OF_CONTAINERS)]
    target: Option<String>,
    /// Measure nothing: show, require and compare what `--json` wrote before; `-` is standard
    /// input
    #[arg(
        long,
        value_name = "FILE",
        group = "what",
        conflicts_with_all = OF_CONTAINERS,
        conflicts_with_all = ["rate", "concurrency", "requests", "duration"]
    )]
    from: Option<PathBuf>,
    /// Measure containers of this image, on `--docker` [default: the built-in echo]
    #[arg(long, value_name = "IMAGE", group = "what", requires = "port")]
    image: Option<String>,
    /// The port that the image's service listens on
    #[arg(long, value_name = "PORT", requires = "image", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Measure containers of this service of the configuration, on its daemons
    #[arg(long, value_name = "NAME", group = "what")]
    service: Option<String>,
    /// The engine that containers are measured on, unless by `--service`
    #[arg(long, env = "DOCKER_HOST", value_name = "URL", default_value = demo::DEFAULT)]
    docker: String,
    /// Kinds of starts [default: all of cold, warm, reused, hot, direct]
    #[arg(long, value_name = "KIND,..", value_delimiter = ',')]
    kinds: Vec<RoundKind>,
    /// How often every kind is measured in turn [default: 20; 1 with --rate, --requests or
    /// --duration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Containers in stock for each kind [default: --concurrency; 4 with --rate]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    stock: Option<u32>,
    /// What containers can reach: Isolated, Bridge, Sealed (nothing), or a network's name
    #[arg(long, value_name = "NETWORK", value_parser = containers::network)]
    network: Option<Network>,
    /// The engine's runtime for containers, such as crun or runsc
    #[arg(long, value_name = "NAME", value_parser = containers::runtime)]
    runtime: Option<Name>,
    /// Measure everything for each of these: concurrency=1,2,4, network=.., sandbox=.., stock=.., runtime=.., daemon=..
    #[arg(long, value_name = "WHAT=A,B,..", value_parser = containers::Sweep::parse)]
    sweep: Option<containers::Sweep>,
    /// Instead of kinds: measure how many fresh containers a second so many clients at a time get
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=1000),
        conflicts_with_all = ["kinds", "sweep", "rounds", "stock", "rate", "concurrency", "requests"]
    )]
    refill: Vec<u32>,
    /// What each client says once it is connected; \r, \n, \t, \0, \\, \xHH
    #[arg(long, value_name = "TEXT")]
    send: Option<String>,
    /// What the answer starts with; '' is any first byte [default: '' with --send]
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
    /// Open loop: so many connections a second, each due however those before it fare
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "concurrency")]
    rate: Option<f64>,
    /// Closed loop: so many clients at a time [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    concurrency: Option<u32>,
    /// How many connections, of each kind in each round
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// For how long connections are made, of each kind in each round [default: 10s for --target
    /// and with --rate, unless --requests is given]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How long a connection may take until its answer, and, if it is longer than 30s, a
    /// container of `--image` until it is ready
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    timeout: Duration,
    /// Write the figures there, as JSON (docs/bench.md); with `-` to standard output, and what
    /// is for people to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures there, as a page with plots and tables; `-` as with --json
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Require something, such as 'warm.p99<5ms'; what is not met makes the exit code 6
    #[arg(long = "assert", value_name = "WHAT")]
    assertions: Vec<Assertion>,
    /// Compare with what `--json` wrote before; `-` is standard input
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Arguments for the image, instead of its own
    #[arg(last = true, requires = "image", value_name = "COMMAND")]
    command: Vec<String>,
}

// === impl BenchArguments ===

impl BenchArguments {
    /// The default log filter. Warnings name settings of a configuration; where there is none, they
    /// are told once, with options to change.
    pub(super) fn log(&self) -> &'static str {
        if self.service.is_some() { "warn" } else { "error" }
    }
}

pub(super) async fn bench(
    arguments: BenchArguments,
    config: Option<PathBuf>,
    log: &str,
) -> Result<Exit, Failure> {
    // Mistakes that would be found too late.
    which(&arguments, config.as_ref())?;
    let tell = files::streams(&arguments, config.as_deref())?;
    let before = arguments.compare.as_deref().map(load).transpose()?;
    [&arguments.json, &arguments.html].into_iter().flatten().try_for_each(|path| writable(path))?;
    let exchange = exchange(&arguments)?;
    let (report, complete) = match (&arguments.from, &arguments.target) {
        (Some(from), _) => (load(from)?, true),
        (None, Some(target)) => {
            known(&arguments.assertions, &[TARGET])?;
            of_target(&arguments, target, exchange.unwrap_or_default()).await?
        }
        (None, None) => containers::measured(&arguments, config, exchange, log).await?,
    };
    tell(show(&report).trim_end());
    failures(&report).iter().for_each(|line| complain(&format!("not served: {line}")));
    if let Some(path) = &arguments.json {
        write(path, &report.json())?;
    }
    if let Some(path) = &arguments.html {
        write(path, &page(&report))?;
    }
    if let Some(before) = before {
        tell(&format!("\n{}", compare(&report, &before).trim_end()));
    }
    let unmet: Vec<_> = arguments.assertions.iter().flat_map(|a| a.unmet(&report)).collect();
    unmet.iter().for_each(|line| complain(&format!("not met: {line}")));
    if !complete {
        complain("interrupted: the figures are of what was measured so far");
    }
    let served = |point: &Point| point.series.iter().any(|series| series.count > 0);
    Ok(if !unmet.is_empty() {
        Exit::Missed
    } else if !complete || !report.points.iter().chain(&report.refill).any(served) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

/// Fails for a configuration of which no service is to be measured.
fn which(arguments: &BenchArguments, config: Option<&PathBuf>) -> Result<(), Failure> {
    let BenchArguments { target, from, image, service, .. } = arguments;
    let (None, Some(path)) = (service, config) else { return Ok(()) };
    if target.is_some() || from.is_some() || image.is_some() {
        let why = "it is for --service, and what is measured is named by another option";
        return unused(config.map(PathBuf::as_path), why);
    }
    let (config, _) = loaded(Some(path.clone()))?;
    let names: Vec<_> =
        config.services.iter().map(|service| format!("--service {}", service.name)).collect();
    let (path, names) = (origin(path), names.join(" or "));
    Err(usage(format!("say which service of {path} is to be measured: {names}")))
}

async fn of_target(
    arguments: &BenchArguments,
    target: &str,
    exchange: Exchange,
) -> Result<(BenchReport, bool), Failure> {
    let address = resolve(target).await?;
    // An unreachable target is a mistake of the command line's, and no result.
    let reached = Exchange::default().connect(address, arguments.timeout).await;
    reached.map_err(|miss| unreachable(target, &miss.to_string()))?;
    let stop = run::stop(HangUp::Stops)?;
    let load = load_of(arguments, Some(DURATION))?;
    let mut report =
        BenchReport::begin(subject(target, &exchange, Some(&load)), Machine::here(None));
    let mut counter = Counter::new("", load.requests, load.duration);
    let mut progress = |name: &str, count: u64| counter.tell(name, count);
    let series =
        measure(address, &exchange, &load, arguments.timeout, &stop.drain, &mut progress).await;
    counter.clear();
    report.points.push(Point { at: Default::default(), series: vec![series], phases: Vec::new() });
    Ok((report, !stop.drain.is_cancelled()))
}

async fn resolve(target: &str) -> Result<SocketAddr, Failure> {
    if target.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(usage(format!("--target {target}: write HOST:PORT")));
    }
    let mut found =
        lookup_host(target).await.map_err(|error| unreachable(target, &error.to_string()))?;
    found.next().ok_or_else(|| unreachable(target, "it has no address"))
}

fn unreachable(target: &str, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("nothing to measure at {target}: {why}"))
}

pub(super) fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// The exchange on each connection, if the options name one.
fn exchange(arguments: &BenchArguments) -> Result<Option<Exchange>, Failure> {
    let bytes = |option: &str, text: &Option<String>| {
        let bytes = text.as_deref().map(unescape).transpose();
        bytes.map_err(|why| usage(format!("{option}: {why}")))
    };
    let send = bytes("--send", &arguments.send)?;
    let expect = bytes("--expect", &arguments.expect)?;
    if send.is_none() && expect.is_none() {
        return Ok(None);
    }
    Ok(Some(Exchange { send: send.unwrap_or_default(), expect: Some(expect.unwrap_or_default()) }))
}

/// The load that is asked for; for the time `otherwise` where none is given.
fn load_of(arguments: &BenchArguments, otherwise: Option<Duration>) -> Result<Load, Failure> {
    let files = proxy::raise_open_files();
    let files = files.map_err(|error| Failure::new(Exit::Failed, error))?;
    let free = files.saturating_sub(RESERVE);
    let pace = match arguments.rate {
        Some(rate) => {
            Pace::Open { rate, in_flight: usize::try_from(free.clamp(1, MOST.into())).unwrap_or(1) }
        }
        None => {
            let concurrency = arguments.concurrency.unwrap_or(1);
            if u64::from(concurrency) > free {
                return Err(usage(format!(
                    "--concurrency {concurrency}: this process may open {files} files: `ulimit -n`"
                )));
            }
            Pace::Closed { concurrency: concurrency as usize }
        }
    };
    let BenchArguments { requests, duration, .. } = *arguments;
    let duration = duration.or(otherwise.filter(|_| requests.is_none()));
    Ok(Load { pace, requests, duration })
}

fn subject(what: &str, exchange: &Exchange, load: Option<&Load>) -> String {
    let said = match exchange {
        exchange if exchange.is_connect_only() => "connect only".to_owned(),
        Exchange { send, expect: Some(expect) } if expect.is_empty() => {
            format!("send \"{}\", wait for the first byte", send.escape_ascii())
        }
        Exchange { send, expect } => {
            let expect = expect.as_deref().unwrap_or_default();
            format!("send \"{}\", expect \"{}\"", send.escape_ascii(), expect.escape_ascii())
        }
    };
    let pace = load.map(|load| match load.pace {
        Pace::Open { rate, .. } => format!("; {rate} a second (open loop)"),
        Pace::Closed { concurrency } => format!("; {concurrency} at a time (closed loop)"),
    });
    format!("{what}: {said}{}", pace.unwrap_or_default())
}

/// Fails for an assertion on something that will not be measured.
pub(super) fn known(assertions: &[Assertion], kinds: &[&str]) -> Result<(), Failure> {
    let unknown = assertions.iter().find(|a| a.series().is_some_and(|name| !kinds.contains(&name)));
    match unknown {
        None => Ok(()),
        Some(assertion) => Err(usage(format!(
            "--assert '{assertion}': {} is not measured here; what is: {}",
            assertion.series().unwrap_or_default(),
            kinds.join(", ")
        ))),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fit = rate > 0.0 && rate <= f64::from(MOST);
    fit.then_some(rate).ok_or_else(|| format!("write a number above 0, at most {MOST}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = time(text)?;
    if duration.is_zero() { Err("write a time above 0".to_owned()) } else { Ok(duration) }
}
