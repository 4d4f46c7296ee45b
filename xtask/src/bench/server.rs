//! The ganger that is measured.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::engine::BenchEngine;
use super::figures::FigureKind;
use super::ganger::{Ganger, Line};

/// The first start also loads the image.
const START: Duration = Duration::from_secs(120);
const END: Duration = Duration::from_secs(30);
const WARM: usize = 6;
/// Enough containers that the next client need not wait for the check of the one that
/// came back last.
const REUSED: usize = 4;

/// A ganger whose connections are followed by its log.
#[derive(Debug)]
pub(super) struct Server {
    ganger: Ganger,
    log: Receiver<String>,
    addresses: BTreeMap<String, SocketAddr>,
}

/// How a connection ended, by its log line.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    pub(super) container: String,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) reason: Option<String>,
    client: SocketAddr,
}

// === impl Server ===

impl Server {
    /// Starts Ganger, and returns once every stock is full.
    pub(super) fn start(engine: &BenchEngine) -> Result<Self> {
        let (ganger, stderr) = Ganger::start("bench", |instance| config(engine, instance))?;
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut server = Self { ganger, log, addresses: BTreeMap::new() };
        let mut full = 0;
        while full < SERVICES.len() {
            let line = server.line(START)?;
            let seen: Line = serde_json::from_str(&line).with_context(|| line.clone())?;
            match (seen.message.as_str(), seen.address) {
                ("listening", Some(address)) => _ = server.addresses.insert(seen.service, address),
                ("stock is full", _) => full += 1,
                _ => {}
            }
        }
        Ok(server)
    }

    pub(super) fn instance(&self) -> &str {
        self.ganger.instance()
    }

    /// How many containers it has when nobody is connected.
    pub(super) fn stock(&self) -> usize {
        WARM + REUSED
    }

    /// Where connections of this kind are taken.
    pub(super) fn address(&self, kind: FigureKind) -> Result<SocketAddr> {
        self.addresses.get(kind.start()).copied().context("not a kind that ganger serves")
    }

    /// Waits for the end of a connection.
    pub(super) fn end_of(&mut self, client: SocketAddr) -> Result<End> {
        let deadline = Instant::now() + END;
        loop {
            let line = self.line(deadline.saturating_duration_since(Instant::now()))?;
            if let Ok(end) = serde_json::from_str::<End>(&line)
                && end.client == client
            {
                return Ok(end);
            }
        }
    }

    /// Stops it, with all its containers.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.ganger.stop()
    }

    fn line(&mut self, patience: Duration) -> Result<String> {
        match self.log.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(_) => {
                self.ganger.check()?;
                bail!("ganger does not log what was waited for")
            }
        }
    }
}

/// The differences of the services: name, `reuse`, `warm`, `max`.
const SERVICES: [(FigureKind, u32, usize, usize); 3] = [
    (FigureKind::Cold, 0, 0, 2),
    (FigureKind::Warm, 0, WARM, WARM + 2),
    (FigureKind::Reused, u32::MAX - 1, REUSED, REUSED),
];

fn config(engine: &BenchEngine, instance: &str) -> String {
    let services = SERVICES.map(|(kind, reuse, warm, max)| {
        let name = kind.start();
        format!(
            "{name:?}: (listen: \"127.0.0.1:0\", image: \"ganger.local/echo:1\", port: 7000, \
             reuse: {reuse}, warm: {warm}, max: {max}, surplus_after: \"0s\")"
        )
    });
    super::ganger::config(engine, instance, 20, &services)
}
