//! The kernel's figures of this process, under the names that all exporters have.

use std::fmt;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The figures of the process.
struct Usage {
    cpu: f64,
    started: f64,
    resident: u64,
    virtual_memory: u64,
    open_files: u64,
    max_files: Option<u64>,
    threads: i64,
}

/// Writes the figures; nothing where /proc is not there.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Ok(usage) = read() else { return Ok(()) };
    let cpu = ConstCounter::new(usage.cpu);
    let name = "process_cpu_seconds";
    let help = "User and system time spent in seconds";
    cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)?;
    let mut gauge = |name, help, value: f64| {
        let gauge = ConstGauge::new(value);
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    };
    let started = "Start time of the process since the epoch in seconds";
    gauge("process_start_time_seconds", started, usage.started)?;
    let resident = "Resident memory in bytes";
    gauge("process_resident_memory_bytes", resident, float(usage.resident))?;
    let mapped = "Virtual memory in bytes";
    gauge("process_virtual_memory_bytes", mapped, float(usage.virtual_memory))?;
    gauge("process_open_fds", "Open file descriptors", float(usage.open_files))?;
    if let Some(max) = usage.max_files {
        gauge("process_max_fds", "The most file descriptors that may be open", float(max))?;
    }
    let threads = u64::try_from(usage.threads).unwrap_or_default();
    gauge("process_threads", "Threads", float(threads))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and a float is what is written")]
fn float(value: u64) -> f64 {
    value as f64
}

fn read() -> ProcResult<Usage> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = float(procfs::ticks_per_second());
    let since_boot = float(stat.starttime) / ticks;
    let max_files = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    Ok(Usage {
        cpu: float(stat.utime + stat.stime) / ticks,
        started: float(procfs::boot_time_secs()?) + since_boot,
        resident: stat.rss_bytes().get(),
        virtual_memory: stat.vsize,
        open_files: u64::try_from(process.fd_count()?).unwrap_or(u64::MAX),
        max_files,
        threads: stat.num_threads,
    })
}
