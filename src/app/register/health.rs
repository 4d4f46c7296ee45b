//! The health of a service, as Consul is told of it.

use ganger_pool::core::{ServiceView, State};

/// The health of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceHealth {
    pub(super) status: CheckStatus,
    /// The same for people, without what containers have printed.
    pub(super) note: String,
}

/// A status of Consul's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckStatus {
    /// There is stock, or it can be launched.
    Passing,
    /// There is stock, and no more can be launched.
    Warning,
    /// Clients are refused, or its containers keep failing and there is none in stock.
    Critical,
}

/// The facts that it is judged by.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    idle: u32,
    leased: u32,
    waiting: u32,
    /// Its containers keep failing.
    failing: bool,
    /// Clients that find nothing in stock are refused.
    refusing: bool,
}

// === impl ServiceHealth ===

impl ServiceHealth {
    /// `None` is a service that is not served any more.
    pub(super) fn of(service: Option<&ServiceView>) -> Self {
        let critical = |note: &str| Self { status: CheckStatus::Critical, note: note.to_owned() };
        let Some(view) = service.filter(|view| !view.leaving) else {
            return critical("it takes no more clients");
        };
        if !view.admin.is_ready() {
            let leased = view.counts[State::Leased];
            return critical(&format!(
                "{leased} leased; the operator has set it to {}",
                view.admin
            ));
        }
        let counts = |state| view.counts[state];
        Self::judged(Facts {
            idle: counts(State::Idle),
            leased: counts(State::Leased),
            waiting: view.waiting,
            failing: view.failing.is_some(),
            refusing: view.refusing.is_some(),
        })
    }

    fn judged(facts: Facts) -> Self {
        let Facts { idle, leased, waiting, failing, refusing } = facts;
        // A service that fails is as it is until a container gets ready, also while
        // the next one is tried.
        let (status, what) = match (idle, failing, refusing) {
            (_, false, false) => (CheckStatus::Passing, ""),
            (1.., true, _) => {
                (CheckStatus::Warning, ", and new ones keep failing: see the log of Ganger")
            }
            (1.., false, true) => (CheckStatus::Warning, ", and no daemon can launch more"),
            (0, true, _) => {
                (CheckStatus::Critical, ": containers keep failing, see the log of Ganger")
            }
            (0, false, true) => (CheckStatus::Critical, ": no daemon can launch it"),
        };
        let waiting = match waiting {
            0 => String::new(),
            waiting => format!(", {waiting} clients wait"),
        };
        Self { status, note: format!("{idle} ready, {leased} leased{waiting}{what}") }
    }
}

// === impl CheckStatus ===

impl CheckStatus {
    /// As Consul writes it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_critical_without_stock_while_its_containers_fail_or_none_can_be_launched() {
        let none = Facts::default();
        for (facts, status, note) in [
            (none, "passing", "0 ready, 0 leased"),
            (
                Facts { leased: 3, waiting: 2, ..none },
                "passing",
                "0 ready, 3 leased, 2 clients wait",
            ),
            (Facts { idle: 1, refusing: true, ..none }, "warning", "no daemon can launch more"),
            (Facts { idle: 1, failing: true, ..none }, "warning", "new ones keep failing"),
            (Facts { leased: 1, refusing: true, ..none }, "critical", "no daemon can launch it"),
            (Facts { failing: true, ..none }, "critical", "containers keep failing"),
            (Facts { failing: true, refusing: true, ..none }, "critical", "keep failing"),
        ] {
            let health = ServiceHealth::judged(facts);
            assert_eq!(health.status.as_str(), status, "{facts:?}");
            assert!(health.note.contains(note), "{facts:?}: {}", health.note);
        }
    }

    #[test]
    fn what_is_not_served_is_critical() {
        assert_eq!(ServiceHealth::of(None).status, CheckStatus::Critical);
    }
}
