//! Leases of real containers beside HAProxy, which leads to the same program on loopback, and to the
//! same containers over their bridge: set-ups a second, times, processor time, context switches and system calls for each connection.
//!
//! All ways take turns within a round; ratios are of one round. What changes with the number of
//! clients is measured at each of [`AT_A_TIME`], and all of it under the machine's congestion
//! control and under cubic.

mod costs;
mod load;
mod peers;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use self::costs::{Congestion, Costs};
use self::peers::{Echoes, Peer};
use self::report::Report;
use super::engine::BenchEngine;
use super::ganger::{self, Ganger};
use crate::child::Interrupts;
use crate::{command, wait};

/// How many clients there are at a time, and how many connections they make in each round.
const AT_A_TIME: [(usize, usize); 4] = [(1, 1000), (16, 3200), (64, 6400), (256, 6400)];
/// Clients, and connections, of a count of system calls.
const COUNTED: [(usize, usize); 2] = [(1, 500), (64, 3200)];
/// The services: name, `reuse`, stock, further settings.
const SERVICES: [(&str, u32, usize, &str); 3] = [
    ("reused", u32::MAX - 1, 264, ""),
    (HOT, u32::MAX - 1, 72, ", preconnect: Tcp"),
    (STRICT, 0, 32, ""),
];
/// The port that a container's program listens on.
const PORT: u16 = 7000;
const HOT: &str = "hot";
const STRICT: &str = "strict";
/// Connections of a burst to the strict service, fewer than it has containers.
const BURST: usize = 16;
const CUBIC: &str = "cubic";
/// Connections are made ahead meanwhile, and earlier ones end.
const REST: Duration = Duration::from_millis(200);
/// The launch of all containers.
const START: Duration = Duration::from_secs(600);
/// The launch of as many strict ones as there are.
const REFILL: Duration = Duration::from_secs(60);

/// A way to an echo.
struct Way {
    name: &'static str,
    to: Vec<SocketAddr>,
    /// The proxy's process.
    pid: Option<u32>,
    /// No more clients than this come at a time.
    most: usize,
}

/// All ways, and the processes behind them.
struct Bench {
    ganger: Ganger,
    log: PathBuf,
    strict: SocketAddr,
    ways: Vec<Way>,
    _echoes: Echoes,
    _peers: Vec<Peer>,
}

/// Tables in Markdown, of so many rounds under each congestion control.
pub(super) fn measure(
    engine: &BenchEngine,
    rounds: usize,
    interrupts: &Interrupts,
) -> Result<String> {
    let default = Congestion::default_name()?;
    let mut controls = vec![default];
    if controls[0] != CUBIC {
        controls.push(CUBIC.to_owned());
    }
    let mut text = String::new();
    for control in controls {
        let _control = Congestion::set(&control)?;
        let mut bench = Bench::start(engine, interrupts)?;
        let mut report = Report::default();
        for round in 0..rounds {
            bench.round(round, engine, interrupts, &mut report)?;
        }
        bench.count_calls(&mut report)?;
        bench.ganger.stop()?;
        text += &report.text(&control);
    }
    Ok(text)
}

// === impl Bench ===

impl Bench {
    fn start(engine: &BenchEngine, interrupts: &Interrupts) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("ganger-bench-{}.log", std::process::id()));
        let config = |instance: &str| config(engine, instance);
        let mut ganger = Ganger::start_logged("bench-beside", config, &log)?;
        command::say(&format!("launching {} containers", containers()));
        let started = wait::every(REST, START, || {
            let lines = ganger::lines(&log).unwrap_or_default();
            let full = lines.iter().filter(|line| line.message == "stock is full").count();
            let done = full >= SERVICES.len();
            (done || interrupts.check().is_err() || ganger.check().is_err()).then_some(lines)
        });
        interrupts.check()?;
        ganger.check()?;
        let lines = started.context("the stock does not fill up")?;
        let address = |name: &str| {
            let listens = |line: &&ganger::Line| line.service == name && line.address.is_some();
            lines.iter().find(listens).and_then(|line| line.address).context("no listener")
        };
        let echoes = Echoes::start(engine, ganger.instance())?;
        let all = &echoes.addresses;
        let (haproxy, at) = peers::haproxy(all, false)?;
        let (splicing, at_splicing) = peers::haproxy(all, true)?;
        let containers = engine.addresses(ganger.instance(), SERVICES[0].0)?;
        let containers: Vec<_> = containers.into_iter().map(|ip| (ip, PORT).into()).collect();
        let (outside, at_outside) = peers::haproxy(&containers, false)?;
        let of = |name, to: Vec<SocketAddr>, pid, most| Way { name, to, pid, most };
        let many = usize::MAX;
        let own = Some(ganger.pid());
        let [reused, hot, _] = SERVICES;
        let ways = vec![
            of("direct", all.clone(), None, many),
            of("HAProxy", vec![at], Some(haproxy.pid()), many),
            of("HAProxy splice", vec![at_splicing], Some(splicing.pid()), many),
            of("HAProxy, bridge", vec![at_outside], Some(outside.pid()), many),
            of("ganger", vec![address(reused.0)?], own, reused.2),
            // More clients than containers would wait for each other.
            of("ganger, hot", vec![address(HOT)?], own, hot.2),
        ];
        let strict = address(STRICT)?;
        Ok(Self {
            ganger,
            log,
            strict,
            ways,
            _echoes: echoes,
            _peers: vec![haproxy, splicing, outside],
        })
    }

    fn round(
        &mut self,
        round: usize,
        engine: &BenchEngine,
        interrupts: &Interrupts,
        report: &mut Report,
    ) -> Result<()> {
        command::say(&format!("round {} beside HAProxy", round + 1));
        // Each way is first, second, … in turn.
        let turn = || self.ways.iter().cycle().skip(round % self.ways.len()).take(self.ways.len());
        for (clients, count) in AT_A_TIME {
            for way in turn().filter(|way| way.most >= clients) {
                interrupts.check()?;
                wait::pause(REST);
                let before = way.pid.map(Costs::of).transpose()?;
                let times = load::set_ups(&way.to, clients, count).with_context(|| {
                    let odd = ganger::odd_end(&self.log).unwrap_or_default();
                    format!("{}, {clients} at a time {odd}", way.name)
                })?;
                // The work of a proxy once a client has left belongs to its connection.
                wait::pause(REST);
                let note = &mut |what, value| report.note(way.name, (clients, what), value);
                note("set-up p50", times.quantile(50));
                note("set-up p99", times.quantile(99));
                note("set-ups", times.rate());
                if let (Some(pid), Some(before)) = (way.pid, before) {
                    let costs = Costs::of(pid)? - before;
                    note("cpu", costs.cpu / count as f64);
                    note("switches", costs.switches / count as f64);
                }
            }
        }
        for way in turn() {
            wait::pause(REST);
            let times = load::ping_pong(way.to[0])?;
            report.note(way.name, (1, "ping-pong p50"), times.quantile(50));
        }
        for clients in [1, BURST] {
            self.at_rest(engine, interrupts)?;
            let times = load::set_ups(&[self.strict], clients, BURST)?;
            report.note("ganger, strict", (clients, "set-up p50"), times.quantile(50));
            report.note("ganger, strict", (clients, "set-up p99"), times.quantile(99));
        }
        self.at_rest(engine, interrupts)
    }

    /// Waits until nothing is being launched or removed.
    fn at_rest(&self, engine: &BenchEngine, interrupts: &Interrupts) -> Result<()> {
        let rests = || engine.rests(self.ganger.instance(), containers());
        let rest = wait::every(REST, REFILL, || {
            let done = interrupts.check().is_err() || rests().unwrap_or(true);
            done.then_some(())
        });
        interrupts.check()?;
        rest.context("the stock does not fill up")
    }

    /// Counts system calls, in a pass of its own: a traced process is several times as slow.
    fn count_calls(&self, report: &mut Report) -> Result<()> {
        for (clients, count) in COUNTED {
            for way in &self.ways {
                let Some(pid) = way.pid else { continue };
                let calls =
                    costs::calls(pid, count, || load::set_ups(&way.to, clients, count).map(drop))?;
                report.note_calls(way.name, clients, calls);
            }
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.log);
    }
}

fn containers() -> usize {
    SERVICES.iter().map(|(_, _, stock, _)| stock).sum()
}

fn config(engine: &BenchEngine, instance: &str) -> String {
    let services = SERVICES.map(|(name, reuse, stock, more)| {
        format!(
            "{name:?}: (listen: \"127.0.0.1:0\", image: \"ganger.local/echo:1\", port: {PORT}, \
             reuse: {reuse}, warm: {stock}, max: {stock}, surplus_after: \"0s\", \
             queue: (length: 1000){more})"
        )
    });
    ganger::config(engine, instance, 2 * containers(), &services)
}
