//! The counters of a service.

use std::collections::BTreeMap;

use super::super::StartKind;
use super::RetireReason;

/// Counters of a service since it was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Launches ordered.
    pub launched: u64,
    /// Of them, hedges: launches because another took unusually long.
    pub hedged: u64,
    /// Launches that failed.
    pub launch_failures: u64,
    /// Leases given, by how they were served.
    pub leases: BTreeMap<StartKind, u64>,
    /// Connections that got nothing, by [`super::super::Refusal::kind`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections that had to wait.
    pub waited: u64,
    /// Connections that left before they were answered.
    pub abandoned: u64,
    /// Containers retired, by reason.
    pub retired: BTreeMap<RetireReason, u64>,
}
