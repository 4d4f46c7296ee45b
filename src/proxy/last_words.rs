//! The last log lines of a container that failed. Asked for while its lease is held: once that is
//! given back, the container is removed, and its log with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::end::{End, EndCode, Phase, Who};
use super::supply::{Leased, Outcome};
use crate::reach::Backend;

/// How long a lease is held for them. A daemon that hangs must not keep the place that the lease
/// takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the container's log may tell why a connection ended so.
const fn are_wanted(code: EndCode) -> bool {
    matches!(
        code,
        EndCode { who: Who::Container, phase: Phase::Connect | Phase::Data }
            | EndCode { who: Who::Death, phase: Phase::Data }
    )
}

/// Ends a lease. Adds the container's last log lines to `end`, where they are wanted and come
/// before the operator's `cut`.
pub(super) async fn give_back<L: Leased>(
    lease: L,
    outcome: Outcome,
    end: &mut End,
    cut: &CancellationToken,
) {
    if are_wanted(end.code) {
        let backend = Arc::clone(lease.backend());
        let lines = tokio::select! {
            biased;
            () = cut.cancelled() => Vec::new(),
            lines = timeout(PATIENCE, backend.last_lines()) => lines.unwrap_or_default(),
        };
        if !lines.is_empty() || end.post_mortem.is_some() {
            let post_mortem = end.post_mortem.get_or_insert_default();
            // The log of a container that may run on says nothing of an end.
            if post_mortem.exit_code.is_some() {
                post_mortem.hint = backend.hint(&lines, post_mortem.out_of_memory);
            }
            post_mortem.log = lines;
        }
    }
    lease.finish(outcome);
}
