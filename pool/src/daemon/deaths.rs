//! Reports how containers ended in stock, since their removal deletes their logs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::core::{RetireReason, ServiceName};
use crate::events::{EventKind, Events};
use crate::panics::catch_panic;
use crate::runtime::{ContainerRuntime, PostMortem, Target};

/// How long a removal waits for the post-mortem of a container that ended in stock.
const POST_MORTEM_TIMEOUT: Duration = Duration::from_secs(8);
/// The least time between two reports for a service.
const QUIET: Duration = Duration::from_secs(1);

/// By service, when the end of a container in its stock was reported last, and how many
/// were not reported since then.
#[derive(Default)]
pub(crate) struct Deaths(Mutex<BTreeMap<ServiceName, (Instant, u32)>>);

// === impl Deaths ===

impl Deaths {
    /// Reports how a container ended in stock: one a second for each service, with the number
    /// of those that were not reported.
    pub(super) async fn tell<R: ContainerRuntime>(
        &self,
        events: &Events,
        runtime: &R,
        service: &ServiceName,
        target: &Target,
        why: RetireReason,
    ) {
        let now = Instant::now();
        let untold = match self.0.lock().entry(service.clone()) {
            Entry::Occupied(mut told) if now - told.get().0 < QUIET => {
                told.get_mut().1 += 1;
                return;
            }
            Entry::Occupied(mut told) => told.insert((now, 0)).1,
            Entry::Vacant(never) => never.insert((now, 0)).1,
        };
        let post_mortem =
            timeout(POST_MORTEM_TIMEOUT, catch_panic("a post-mortem", runtime.post_mortem(target)))
                .await;
        let post_mortem = post_mortem.ok().and_then(Result::ok).flatten();
        let (target, service) = (target.clone(), service.clone());
        let (reason, post_mortem) = how_it_ended(why, post_mortem);
        let (reason, post_mortem) = (reason.into(), post_mortem.map(Arc::new));
        events.tell(EventKind::EndedInStock { target, service, reason, post_mortem, untold });
    }
}

/// How a container in stock ended, for people, and its post-mortem. After an out-of-memory
/// event its first process may still run, and the engine may not know of the kill yet.
fn how_it_ended(
    why: RetireReason,
    post_mortem: Option<PostMortem>,
) -> (String, Option<PostMortem>) {
    let out_of_memory = why == RetireReason::OutOfMemory;
    let post_mortem = post_mortem.map(|post_mortem| PostMortem {
        out_of_memory: post_mortem.out_of_memory || out_of_memory,
        ..post_mortem
    });
    let said = post_mortem.as_ref().map(ToString::to_string);
    (said.unwrap_or_else(|| format!("{why}, and its daemon does not say more")), post_mortem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_stock_is_told_as_the_event_and_the_engine_have_it() {
        use RetireReason::{Died, OutOfMemory};
        let ran = PostMortem { log: vec!["ate it all".into()], ..PostMortem::default() };
        let ended = PostMortem { exit_code: Some(137), ..PostMortem::default() };
        let rows = [
            // The event comes before the process has ended.
            (OutOfMemory, Some(ran), "still running, out of memory, last log line: ate it all"),
            (OutOfMemory, Some(ended.clone()), "exited with code 137, out of memory"),
            (OutOfMemory, None, "oom, and its daemon does not say more"),
            (Died, Some(ended), "exited with code 137"),
            (Died, Some(PostMortem { paused: true, ..PostMortem::default() }), "paused"),
            (
                Died,
                Some(PostMortem { removed: PostMortem::BY_SOMEBODY, ..PostMortem::default() }),
                "somebody removed it",
            ),
        ];
        for (why, post_mortem, told) in rows {
            let (said, left) = how_it_ended(why, post_mortem);
            assert_eq!(said, told);
            assert!(why != OutOfMemory || left.is_none_or(|left| left.out_of_memory), "{told}");
        }
    }
}
