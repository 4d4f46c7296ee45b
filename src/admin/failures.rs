//! `/api/v1/failures`: what is known of each launch, each container in stock and each lease that failed
//! lately, in one place and in fields.
//!
//! The sources exist anyway: events of the pool, which bear what the adapter has found, and records
//! of connections. A connection that has ended well costs a look at its two letters.

mod bundle;
mod found;
mod ring;

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ganger_pool::{Observer, PoolEvent};
use parking_lot::Mutex;

use super::ServerState;
use super::problem::Problem;
use super::query::{ListQuery, Params, Segment};
use crate::proxy::{ConnRecord, Recorder, ReplacedContainer};

pub use bundle::{FailureBundle, FailureLimits, FailurePhase};
use ring::FailureRing;

/// An observer, and a recorder, that remembers what failed lately.
#[derive(Debug, Default)]
pub struct FailureMemory {
    ring: Mutex<FailureRing>,
}

/// What is known of each failure of late, or of some of them: of the latest 64, and of the latest of
/// each service. What failed in the same way again and again is one of them.
#[utoipa::path(get, path = "/api/v1/failures", tag = "failures",
    params(ListQuery),
    responses((status = 200, description = "Those that were asked for, by their numbers", body = Vec<FailureBundle>, headers(("Link" = Option<String>, description = "Leads to the next part, where there is one")))))]
pub(super) async fn failures(
    State(admin): ServerState,
    Params(which): Params<ListQuery>,
) -> Result<Response, Problem> {
    which.of("/api/v1/failures", admin.failures.all())
}

/// What is known of one failure.
#[utoipa::path(get, path = "/api/v1/failures/{id}", tag = "failures",
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "All that is known of it", body = FailureBundle)))]
pub(super) async fn failure(
    State(admin): ServerState,
    Segment(id): Segment,
) -> Result<Json<FailureBundle>, Problem> {
    let found = id.parse().ok().and_then(|id| admin.failures.get(id));
    let absent =
        || Problem::absent(format!("there is no failure {id:?}, or it is not kept any more"));
    found.map(Json).ok_or_else(absent)
}

// === impl FailureMemory ===

impl FailureMemory {
    /// Sets the limits for containers of each service, from now on.
    pub fn set_limits(&self, limits: BTreeMap<String, FailureLimits>) {
        self.ring.lock().set_limits(limits);
    }

    /// All that are kept, by their numbers.
    pub(super) fn all(&self) -> Vec<FailureBundle> {
        let mut all = self.latest();
        all.sort_unstable_by_key(|failure| failure.id);
        all
    }

    /// The failure with this number, if it is kept.
    fn get(&self, id: u64) -> Option<FailureBundle> {
        let kept = self.ring.lock().latest().find(|kept| kept.id == id).cloned();
        kept.map(|kept| FailureBundle::clone(&kept))
    }

    /// All that are kept, the latest first.
    pub(super) fn latest(&self) -> Vec<FailureBundle> {
        // Observers need the lock: texts are cloned without it.
        let kept: Vec<_> = self.ring.lock().latest().cloned().collect();
        kept.iter().map(|kept| FailureBundle::clone(kept)).collect()
    }

    fn note(&self, found: Option<FailureBundle>) {
        if let Some(found) = found {
            let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            self.ring.lock().add(found, now);
        }
    }
}

impl Observer for FailureMemory {
    fn observe(&self, event: &PoolEvent) {
        self.note(found::in_event(&event.kind));
    }

    fn wants_leases(&self) -> bool {
        false
    }
}

impl Recorder for FailureMemory {
    fn ended(&self, record: &ConnRecord) {
        self.note(found::in_record(record));
    }

    fn replaced(&self, replaced: &ReplacedContainer) {
        self.note(found::in_replaced(replaced));
    }
}

#[cfg(test)]
mod tests;
