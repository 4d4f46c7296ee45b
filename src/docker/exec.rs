//! Programs that are run in a container beside its own.

use std::time::Duration;

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt;
use ganger_pool::runtime::CallError;
use serde::Deserialize;
use tokio::time::sleep;

use super::container::Container;
use super::explain::explain;
use super::post_mortem::readable;

/// How many bytes are kept of a program's output, the last ones.
const KEPT: usize = 4 << 10;
/// The pause before an engine is asked again whether it has noticed a program's end.
const AGAIN: Duration = Duration::from_millis(10);

/// How a program ended that was run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executed {
    /// Its exit code; 126 or 127 when it could not be run.
    pub(crate) code: i64,
    /// The last line that it, or the engine, has printed.
    pub(crate) said: Option<String>,
}

/// The state of a program that an engine was told to run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Execution {
    running: bool,
    exit_code: Option<i64>,
}

// === impl Container ===

impl Container {
    /// Runs a program in it, as its user, and waits until that has ended and closed its
    /// outputs. Has no deadline.
    ///
    /// # Cancel safety
    /// The program may run on: the API has no way to end it.
    pub(crate) async fn exec(&self, command: &[String]) -> Result<Executed, CallError> {
        let endpoint = &self.daemon.endpoint;
        let failed = |error| CallError::refused(explain(endpoint, &error));
        let client = self.daemon.contact()?.client.clone();
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let id = client.create_exec(&self.id, config).await.map_err(failed)?.id;
        let mut printed = Vec::new();
        if let StartExecResults::Attached { mut output, .. } =
            client.start_exec(&id, None).await.map_err(failed)?
        {
            while let Some(Ok(piece)) = output.next().await {
                printed.extend_from_slice(&piece.into_bytes());
                let excess = printed.len().saturating_sub(KEPT);
                printed.drain(..excess);
            }
        }
        // The outputs end a moment before the engine knows how the program ended.
        let path = format!("/exec/{id}/json");
        loop {
            let seen: Execution = self.daemon.read(&path, self.daemon.deadlines.inspect).await?;
            if let (false, Some(code)) = (seen.running, seen.exit_code) {
                return Ok(Executed { code, said: readable(&printed).pop() });
            }
            sleep(AGAIN).await;
        }
    }
}
