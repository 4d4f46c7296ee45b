//! HAProxy, and the echo service on loopback that it leads to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::engine::BenchEngine;
use crate::wait;

/// Echo processes on loopback: with one for each client, as with containers, none waits in the
/// backlog of a listener.
const ECHOES: usize = 16;
const START: Duration = Duration::from_secs(10);

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Peer {
    child: Child,
    config: Option<PathBuf>,
}

/// The echo service of the containers, run on loopback.
#[derive(Debug)]
pub(super) struct Echoes {
    program: PathBuf,
    _processes: Vec<Peer>,
    pub(super) addresses: Vec<SocketAddr>,
}

// === impl Peer ===

impl Peer {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(config) = &self.config {
            let _ = fs::remove_file(config);
        }
    }
}

// === impl Echoes ===

impl Echoes {
    /// Starts the program that a container of this instance runs.
    pub(super) fn start(engine: &BenchEngine, instance: &str) -> Result<Self> {
        let program = std::env::temp_dir().join(format!("{instance}-echo"));
        let pid = engine.container(&engine.any(instance)?)?.pid;
        fs::copy(format!("/proc/{pid}/exe"), &program).context("copy of a container's program")?;
        let mut echoes = Self { program, _processes: Vec::new(), addresses: Vec::new() };
        for _ in 0..ECHOES {
            let address = free_address()?;
            let mut command = Command::new(&echoes.program);
            command.args(["--port", &address.port().to_string()]);
            echoes._processes.push(listening(&mut command, address, None)?);
            echoes.addresses.push(address);
        }
        Ok(echoes)
    }
}

impl Drop for Echoes {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.program);
    }
}

/// Starts HAProxy in front of these addresses.
pub(super) fn haproxy(to: &[SocketAddr], splice: bool) -> Result<(Peer, SocketAddr)> {
    let address = free_address()?;
    let servers = to.iter().enumerate().map(|(n, to)| format!(" server s{n} {to}\n"));
    let splice = if splice { " option splice-request\n option splice-response\n" } else { "" };
    let config = format!(
        "global\n maxconn 4000\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n \
         timeout client 1h\n timeout server 1h\n{splice}frontend f\n bind {address}\n \
         default_backend b\nbackend b\n balance roundrobin\n{}",
        servers.collect::<String>()
    );
    let path = std::env::temp_dir().join(format!("ganger-bench-haproxy-{}.cfg", address.port()));
    fs::write(&path, config)?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(&path);
    Ok((listening(&mut command, address, Some(path))?, address))
}

/// Starts a program, and returns once it listens.
fn listening(command: &mut Command, at: SocketAddr, config: Option<PathBuf>) -> Result<Peer> {
    let system = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", system).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let peer = Peer { child, config };
    wait::until(START, || TcpStream::connect(at).ok())
        .with_context(|| format!("{command:?} does not listen at {at}"))?;
    Ok(peer)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
