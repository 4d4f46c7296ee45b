//! Metrics that events update.

use std::time::Duration;

use ganger_pool::core::{Fault, GivenUp};
use ganger_pool::{EventKind, Observer, PoolEvent};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, ServiceLabel};
use crate::docker::{EngineObserver, EngineRequest, Step};
use crate::proxy::{ConnRecord, Recorder, StartKind};

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics that are written to when something happens.
pub(super) struct Happenings {
    lease_wait: Histograms<OfService>,
    first_byte: Histograms<ByStart>,
    lease_duration: Histograms<OfService>,
    ends: Family<ByCode, Counter>,
    starts: Histograms<ByPhase>,
    start_failures: Family<ByFault, Counter>,
    rollouts: Family<ByResult, Counter>,
    requests: Histograms<ByRequest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: ServiceLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStart {
    service: ServiceLabel,
    start: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    service: ServiceLabel,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFault {
    service: ServiceLabel,
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    service: ServiceLabel,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRequest {
    op: &'static str,
    outcome: &'static str,
}

/// From 0.1 ms to 30 s.
fn latencies() -> Histogram {
    const STEPS: [f64; 17] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0, 30.0,
    ];
    Histogram::new(STEPS)
}

/// From 1 ms to an hour.
fn durations() -> Histogram {
    const STEPS: [f64; 14] =
        [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];
    Histogram::new(STEPS)
}

// === impl Happenings ===

impl Happenings {
    /// Registered under these names, which are an interface.
    pub(super) fn new(registry: &mut Registry) -> Self {
        fn histograms<L>(make: fn() -> Histogram) -> Histograms<L>
        where
            L: Clone + Eq + std::hash::Hash,
        {
            Family::new_with_constructor(make)
        }
        let this = Self {
            lease_wait: histograms(latencies),
            first_byte: histograms(latencies),
            lease_duration: histograms(durations),
            ends: Family::default(),
            starts: histograms(latencies),
            start_failures: Family::default(),
            rollouts: Family::default(),
            requests: histograms(latencies),
        };
        registry.register(
            "lease_wait_seconds",
            "From accept to the first lease, of connections that had one and have ended",
            this.lease_wait.clone(),
        );
        registry.register(
            "first_byte_seconds",
            "From accept to the container's first byte, of connections that have ended",
            this.first_byte.clone(),
        );
        registry.register(
            "lease_duration_seconds",
            "From the first lease to the end, of connections that have ended",
            this.lease_duration.clone(),
        );
        registry.register(
            "connection_ends",
            "Connections that have ended, by end code",
            this.ends.clone(),
        );
        registry.register(
            "container_start_seconds",
            "How long the steps of starting a container took; total is the whole launch until ready",
            this.starts.clone(),
        );
        registry.register(
            "container_start_failures",
            "Launches that failed, by who is at fault",
            this.start_failures.clone(),
        );
        registry.register("rollouts", "Rollouts that have ended, by how", this.rollouts.clone());
        registry.register(
            "engine_request_seconds",
            "How long engines took to begin to answer, by what they were asked",
            this.requests.clone(),
        );
        this
    }

    fn ended(&self, record: &ConnRecord) {
        let service = ServiceLabel(record.service.clone());
        if let Some(wait) = record.wait {
            let labels = OfService { service: service.clone() };
            self.lease_wait.get_or_create(&labels).observe(wait.as_secs_f64());
            let held = record.total.saturating_sub(wait);
            self.lease_duration.get_or_create(&labels).observe(held.as_secs_f64());
        }
        if let (Some(first_byte), Some(start)) = (record.first_byte, record.start) {
            let labels = ByStart { service: service.clone(), start: start_word(start) };
            self.first_byte.get_or_create(&labels).observe(first_byte.as_secs_f64());
        }
        self.ends.get_or_create(&ByCode { service, code: record.end.to_string() }).inc();
    }

    fn phase(&self, phase: &'static str, took: Duration) {
        self.starts.get_or_create(&ByPhase { phase }).observe(took.as_secs_f64());
    }
}

/// How a lease was served, in a word.
pub(super) const fn start_word(start: StartKind) -> &'static str {
    match start {
        StartKind::Warm => "warm",
        StartKind::Reused => "reused",
        StartKind::Cold => "cold",
    }
}

/// Who is at fault, in a word.
pub(in crate::admin) const fn fault_word(fault: Fault) -> &'static str {
    match fault {
        Fault::Service => "service",
        Fault::Daemon => "daemon",
        Fault::Unprepared => "unprepared",
        Fault::Full => "full",
        _ => "unwanted",
    }
}

// === impl Metrics ===

impl Recorder for Metrics {
    fn ended(&self, record: &ConnRecord) {
        self.happenings.ended(record);
    }
}

impl EngineObserver for Metrics {
    fn step(&self, step: &Step<'_>) {
        // Not a step of a start.
        if step.name != "remove" {
            self.happenings.phase(step.name, step.took);
        }
    }

    fn request(&self, request: &EngineRequest) {
        let labels = ByRequest { op: request.operation, outcome: request.outcome.as_str() };
        self.happenings.requests.get_or_create(&labels).observe(request.took.as_secs_f64());
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &PoolEvent) {
        let rollout = |service: &_, result| {
            let labels = ByResult { service: ServiceLabel(Clone::clone(service)), result };
            self.happenings.rollouts.get_or_create(&labels).inc();
        };
        match &event.kind {
            EventKind::LaunchReady { took, .. } => self.happenings.phase("total", *took),
            EventKind::LaunchFailed { service, fault, .. } => {
                let fault = fault_word(*fault);
                let labels = ByFault { service: ServiceLabel(service.clone()), fault };
                self.happenings.start_failures.get_or_create(&labels).inc();
            }
            EventKind::SwitchedOver { service, .. } => rollout(service, "completed"),
            EventKind::RolledBack { service, why, .. } => rollout(
                service,
                match why {
                    GivenUp::Failed => "failed",
                    GivenUp::Refused => "refused",
                    GivenUp::Replaced => "replaced",
                    GivenUp::Operator => "operator",
                },
            ),
            _ => {}
        }
    }

    fn wants_leases(&self) -> bool {
        false
    }
}
