//! A ganger with a configuration of its own.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::engine::BenchEngine;
use crate::command;

/// A running `ganger run`, whose log has the format `Json`. The process stops, and removes its
/// containers, when this is dropped.
#[derive(Debug)]
pub(super) struct Ganger {
    child: Child,
    instance: String,
    config: PathBuf,
}

/// A line of the log about what a service is at.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) message: String,
    #[serde(default)]
    pub(super) service: String,
    pub(super) address: Option<SocketAddr>,
}

// === impl Ganger ===

impl Ganger {
    /// Starts it; its log goes to a pipe.
    pub(super) fn start(
        purpose: &str,
        config: impl FnOnce(&str) -> String,
    ) -> Result<(Self, ChildStderr)> {
        let mut ganger = Self::start_with(purpose, config, Stdio::piped())?;
        let log = ganger.child.stderr.take().context("its log")?;
        Ok((ganger, log))
    }

    /// Starts it; its log goes to a file, as a service manager would have it.
    pub(super) fn start_logged(
        purpose: &str,
        config: impl FnOnce(&str) -> String,
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        Self::start_with(purpose, config, file.into())
    }

    fn start_with(purpose: &str, config: impl FnOnce(&str) -> String, log: Stdio) -> Result<Self> {
        let instance = format!("{purpose}-{}", std::process::id());
        let path = std::env::temp_dir().join(format!("ganger-{instance}.ron"));
        fs::write(&path, config(&instance))?;
        let child = command::ganger()
            .args(["run", "--config"])
            .arg(&path)
            .env_remove("GANGER_LOG")
            .stdin(Stdio::null())
            .stderr(log)
            // Ctrl-C is for us: we stop it once we have what we wait for.
            .process_group(0)
            .spawn()
            .context("the release build of ganger")?;
        Ok(Self { child, instance, config: path })
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails once the process has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => anyhow::bail!("ganger ended ({status})"),
            None => Ok(()),
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
}

impl Drop for Ganger {
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

/// A configuration with these services, on one daemon of this capacity.
pub(super) fn config(
    engine: &BenchEngine,
    instance: &str,
    capacity: usize,
    services: &[String],
) -> String {
    format!(
        "(daemons: Static([(name: \"local\", url: \"unix://{}\", max_containers: {capacity})]), \
         services: {{{}}}, instance: {instance:?}, log: (format: Json))",
        engine.socket().display(),
        services.join(", ")
    )
}

/// The last line of a log about a connection that did not end normally.
pub(super) fn odd_end(log: &Path) -> Result<String> {
    let text = fs::read_to_string(log)?;
    let is_odd = |line: &&str| line.contains("conn end") && !line.contains("\"end\":\"--\"");
    Ok(text.lines().rfind(is_odd).unwrap_or_default().to_owned())
}

/// The lines of a log in a file.
pub(super) fn lines(log: &Path) -> Result<Vec<Line>> {
    let mut text = String::new();
    File::open(log)?.read_to_string(&mut text)?;
    // The last line may be half written.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
