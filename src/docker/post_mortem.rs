//! The last state and log lines of a failed container, for people to read.

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use ganger_pool::runtime::{ContainerKey, PostMortem, Target};
use tokio::time::timeout;

use super::Docker;
use super::daemon::Daemon;
use super::hints::hint;
use super::naming::is_id;
use crate::legible::legible;

/// How many log lines are shown: the cause of an end often stands before the last.
pub(super) const LINES: usize = 5;
/// How many lines are asked for. Empty ones are left out.
const ASKED: usize = 20;
/// The width to which each line is cut, in characters.
const WIDTH: usize = 200;

// === impl Docker ===

impl Docker {
    pub(super) async fn look_at(&self, target: &Target) -> Option<PostMortem> {
        let daemon = self.daemon(&target.daemon).ok()?;
        let container = match &target.key {
            ContainerKey::Launch(launch) => self.calls.name(*launch)?,
            ContainerKey::Stray(id) if is_id(id) => id.clone(),
            ContainerKey::Stray(_) => return None,
        };
        let deadline = daemon.deadlines.post_mortem;
        let known = match &target.key {
            ContainerKey::Launch(launch) => self.calls.id(*launch),
            ContainerKey::Stray(id) => Some(id.clone()),
        };
        let Some(seen) = timeout(deadline, daemon.inspect(&container)).await.ok()?.ok()? else {
            return Some(PostMortem {
                container: known,
                removed: PostMortem::BY_SOMEBODY,
                ..PostMortem::default()
            });
        };
        let log = last_lines(&daemon, &container).await;
        Some(PostMortem {
            container: known.or_else(|| is_id(&seen.id).then_some(seen.id)),
            exit_code: (!seen.state.running).then_some(seen.state.exit_code),
            out_of_memory: seen.state.oom_killed,
            paused: seen.state.paused,
            removed: None,
            hint: hint(&log, seen.state.oom_killed).filter(|_| !seen.state.running),
            log,
        })
    }
}

/// The last lines that a container has logged, oldest first, fit to be shown. Answers within
/// the deadline of a post-mortem: half a log is better than none.
pub(super) async fn last_lines(daemon: &Daemon, container: &str) -> Vec<String> {
    let mut log = Vec::new();
    _ = timeout(daemon.deadlines.post_mortem, read_lines(daemon, container, &mut log)).await;
    log
}

async fn read_lines(daemon: &Daemon, container: &str, log: &mut Vec<String>) {
    let Ok(contact) = daemon.contact() else {
        return;
    };
    let tail = ASKED.to_string();
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
    let mut lines = std::pin::pin!(contact.client.logs(container, Some(options)));
    while let Some(Ok(line)) = lines.next().await {
        log.extend(readable(&line.into_bytes()));
        let excess = log.len().saturating_sub(LINES);
        log.drain(..excess);
    }
}

/// The lines of a log, cut to size, with what a terminal would obey as text.
pub(super) fn readable(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let clean = |line: &str| {
        let start: String = line.trim_end().chars().take(WIDTH + 1).collect();
        let clean = legible(&start);
        match clean.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}…", &clean[..end]),
            None => clean,
        }
    };
    text.lines().map(clean).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_steer_a_terminal_or_fill_the_line() {
        let lines = readable(b"o\tn\"e\"\r\n\n\x1b[31mtwo\x07\xff\n\xe2\x80\xaethree");
        let steered = r"\u{1b}[31mtwo\u{7}".to_owned() + "\u{fffd}";
        assert_eq!(lines, [r#"o n"e""#, &steered, r"\u{202e}three"]);
        for long in [[b'x'; 2000], [0x1b; 2000]] {
            let shown = &readable(&long)[0];
            assert!(shown.chars().count() == WIDTH + 1 && shown.ends_with('…'), "{shown}");
        }
    }
}
