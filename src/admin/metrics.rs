//! Metrics for Prometheus: counters and histograms that live as long as the process, and the state
//! of pool and proxy at the moment of a scrape.
//!
//! Nothing is counted on the way to a lease. The counts of the ledger and the proxy are read from a
//! copy at a scrape; the ends of connections, launches and engine requests are counted as they
//! happen, away from clients that wait for a container.

mod happenings;
mod process;
mod reading;
mod state;

use std::fmt::{self, Write};
use std::sync::Arc;

use ganger_pool::core::ServiceName;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelValue, LabelValueEncoder, prometheus_text, text,
};
use prometheus_client::registry::Registry;

use happenings::Happenings;
pub(super) use happenings::fault_word;
pub use reading::{MetricsReading, ReloadResult, SourceNow, SourceReading, TlsFile};

/// The prefix of all names but those of the process.
const PREFIX: &str = "ganger";

/// All metrics of the process.
pub struct Metrics {
    happenings: Happenings,
    registry: Registry,
    reading: Latest,
}

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// The text of Prometheus, version 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// The reading that is written next.
#[derive(Debug, Clone, Default)]
struct Latest(Arc<Mutex<Arc<MetricsReading>>>);

/// A service as the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ServiceLabel(ServiceName);

// === impl Metrics ===

impl Metrics {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        let (mut registry, reading) = (Registry::default(), Latest::default());
        let happenings = Happenings::new(registry.sub_registry_with_prefix(PREFIX));
        registry.register_collector(Box::new(reading.clone()));
        Self { happenings, registry, reading }
    }

    /// Writes all of them, with the state of pool and proxy as it was read just now.
    #[must_use]
    pub fn encode(&self, reading: MetricsReading, exposition: Exposition) -> String {
        *self.reading.0.lock() = Arc::new(reading);
        let mut said = String::new();
        let written = match exposition {
            Exposition::Classic => prometheus_text::encode(&mut said, &self.registry),
            Exposition::OpenMetrics => text::encode(&mut said, &self.registry),
        };
        if written.is_err() {
            // Writing to a String does not fail: a row of this module is wrong.
            tracing::error!("metrics cannot be written");
        }
        said
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

// === impl Exposition ===

impl Exposition {
    /// The one that a reader asks for by its `Accept`.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(types) if types.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Classic,
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

// === impl Latest ===

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let reading = Arc::clone(&self.0.lock());
        state::encode(&reading, &mut encoder)?;
        process::encode(&mut encoder)
    }
}

// === impl ServiceLabel ===

impl EncodeLabelValue for ServiceLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests;
