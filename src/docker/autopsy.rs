//! What a failed container leaves behind for people to read.

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use ganger_pool::runtime::{Autopsy, ContainerKey, Target};
use tokio::time::timeout;

use super::Docker;
use super::daemon::Daemon;
use super::naming::is_id;

/// How many log lines are kept, and how many bytes of each.
const LINES: usize = 20;
const WIDTH: usize = 500;

// === impl Docker ===

impl Docker {
    pub(super) async fn look_at(&self, target: &Target) -> Option<Autopsy> {
        let daemon = self.daemon(&target.daemon).ok()?;
        let container = match &target.key {
            ContainerKey::Launch(launch) => self.calls.name(*launch)?,
            ContainerKey::Stray(id) if is_id(id) => id.clone(),
            ContainerKey::Stray(_) => return None,
        };
        let deadline = daemon.deadlines.autopsy;
        let seen = timeout(deadline, daemon.inspect(&container)).await.ok()?.ok()??;
        // Half a log is better than none.
        let mut log = Vec::new();
        let _ = timeout(deadline, last_lines(&daemon, &container, &mut log)).await;
        Some(Autopsy {
            exit_code: (!seen.state.running).then_some(seen.state.exit_code),
            out_of_memory: seen.state.oom_killed,
            log,
        })
    }
}

async fn last_lines(daemon: &Daemon, container: &str, log: &mut Vec<String>) {
    let Ok(contact) = daemon.contact() else {
        return;
    };
    let tail = LINES.to_string();
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
    let mut lines = std::pin::pin!(contact.client.logs(container, Some(options)));
    while let Some(Ok(line)) = lines.next().await {
        log.extend(readable(&line.into_bytes()));
        let excess = log.len().saturating_sub(LINES);
        log.drain(..excess);
    }
}

/// The lines of a log, cut to size and free of what a terminal obeys.
fn readable(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let clean = |line: &str| -> String {
        line.trim_end().chars().filter(|c| !c.is_control() || *c == '\t').take(WIDTH).collect()
    };
    text.lines().map(clean).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_steer_a_terminal() {
        let lines = readable(b"one\r\n\n\x1b[31mtwo\x07\xff\n");
        assert_eq!(lines, ["one", "[31mtwo\u{fffd}"]);
        assert_eq!(readable(&[b'x'; 2000])[0].len(), WIDTH);
    }
}
