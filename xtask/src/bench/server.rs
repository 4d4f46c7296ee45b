//! The ganger that is measured.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::engine::BenchEngine;
use super::figures::FigureKind;
use crate::command;

/// The first start also loads the image.
const START: Duration = Duration::from_secs(120);
const END: Duration = Duration::from_secs(30);
const WARM: usize = 6;
/// Enough containers that the next client need not wait for the check of the one that
/// came back last.
const REUSED: usize = 4;

/// The process stops, and removes its containers, when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    instance: String,
    config: PathBuf,
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

#[derive(Debug, Deserialize)]
struct Line {
    message: String,
    #[serde(default)]
    service: String,
    address: Option<SocketAddr>,
}

// === impl Server ===

impl Server {
    /// Starts Ganger, and returns once every stock is full.
    pub(super) fn start(engine: &BenchEngine) -> Result<Self> {
        let instance = format!("bench-{}", std::process::id());
        let config = std::env::temp_dir().join(format!("ganger-{instance}.ron"));
        fs::write(&config, self::config(engine, &instance)?)?;
        let mut child = command::ganger()
            .args(["run", "--config"])
            .arg(&config)
            .env_remove("GANGER_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for us: we stop it once we have what we wait for.
            .process_group(0)
            .spawn()
            .context("the release build of ganger")?;
        let stderr = child.stderr.take().context("its log")?;
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut server = Self { child, instance, config, log, addresses: BTreeMap::new() };
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
        &self.instance
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
        self.terminate()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "ganger failed ({status})");
        Ok(())
    }

    fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("its pid")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    fn line(&mut self, patience: Duration) -> Result<String> {
        match self.log.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(_) => match self.child.try_wait()? {
                Some(status) => bail!("ganger ended ({status})"),
                None => bail!("ganger does not log what was waited for"),
            },
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Unless it was stopped; it waits for its containers, and so do we.
        if let Ok(None) = self.child.try_wait()
            && self.terminate().is_ok()
        {
            let _ = self.child.wait();
        }
        let _ = fs::remove_file(&self.config);
    }
}

/// The differences of the services: name, `reuse`, `warm`, `max`.
const SERVICES: [(FigureKind, u32, usize, usize); 3] = [
    (FigureKind::Cold, 0, 0, 2),
    (FigureKind::Warm, 0, WARM, WARM + 2),
    (FigureKind::Reused, u32::MAX - 1, REUSED, REUSED),
];

fn config(engine: &BenchEngine, instance: &str) -> Result<String> {
    let socket = engine.socket().to_str().context("a path that is not text")?;
    let services = SERVICES.map(|(kind, reuse, warm, max)| {
        let name = kind.start();
        format!(
            "{name:?}: (listen: \"127.0.0.1:0\", image: \"ganger.local/echo:1\", port: 7000, \
             reuse: {reuse}, warm: {warm}, max: {max}, surplus_after: \"0s\")"
        )
    });
    Ok(format!(
        "(daemons: Static([(name: \"local\", url: \"unix://{socket}\", max_containers: 20)]), \
         services: {{{}}}, instance: {instance:?}, log: (format: Json))",
        services.join(", ")
    ))
}
