//! One launch of a container that is a cell.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ganger_pool::core::LaunchId;
use ganger_pool::runtime::{Fault, LaunchError, LaunchOrder};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::carriers::Carrier;
use super::cell_output::CellOutput;
use super::cells::{CellLaunch, EndedAtOnce, RunningCell, as_process_end};
use super::container::Container;
use super::daemon::Daemon;
use super::view::Inspected;
use super::{Docker, Spec, fault};
use crate::cell::{CellEnd, FailedCell};
use crate::reach::hot::Hot;
use crate::reach::process::Process;
use crate::spec::StockedAs;

// === impl Docker ===

impl Docker {
    pub(super) async fn start_cell(
        &self,
        daemon: &Arc<Daemon>,
        order: &LaunchOrder<Spec>,
        carrier: Arc<Carrier>,
    ) -> Result<Arc<Container>, LaunchError> {
        let launch = order.launch;
        let id = self.cell_id(launch);
        // First of all: from here on it can be found and removed.
        let known =
            CellLaunch { daemon: daemon.name.clone(), id: id.clone(), running: None, failed: None };
        self.cell_launches.lock().insert(launch, known);
        let is_asked_for = order.spec.stock == StockedAs::Created;
        let waits = is_asked_for && carrier.pace.is_quick(order.generation);
        if is_asked_for && let Some(slowness) = carrier.pace.slowness() {
            let (daemon, service, why) = (&daemon.name, &order.service, slowness.to_string());
            tracing::warn!(%daemon, %service, why, "`stock: Created` is not used: its stock is started");
        }
        let began = Instant::now();
        let launched = self.cells.launch(&carrier.adopted, &id, waits);
        let started = timeout(daemon.deadlines.start, launched);
        let (cell, started) = match started.await {
            Ok(Ok(started)) => started,
            Ok(Err(failed)) => return Err(self.cell_failed(daemon, order, &carrier, failed).await),
            Err(_) => {
                let why = format!("the cell was not made within {:?}", daemon.deadlines.start);
                return Err(self.cell_failed(daemon, order, &carrier, why.into()).await);
            }
        };
        carrier.note(true);
        daemon.observers.done("start", &id, began);
        let output =
            CellOutput::follow(started.output).map_err(|error| fault::daemon(error.to_string()))?;
        let waits = AtomicBool::new(waits);
        let (generation, retired) = (order.generation, AtomicBool::new(false));
        let running = Arc::new(RunningCell { cell, output, carrier, generation, waits, retired });
        if let Some(known) = self.cell_launches.lock().get_mut(&launch) {
            known.running = Some(Arc::clone(&running));
        }
        self.tell_of_end(daemon, launch, &running);
        if running.lost_its_keeper() {
            let why = "its carrier or keeper ended as soon as it was started";
            return Err(fault::unwanted(why.to_owned()));
        }

        let mut seen = Inspected::default();
        seen.state.pid = started.pid;
        let address = Address::in_namespace(&self.dialer, &id, &seen, order.spec.port).await;
        let address = match address {
            Ok(address) => Arc::new(address),
            Err(why) => {
                let is_ending = Process::open(started.pid).map_or(true, |first| first.is_ending());
                let end = match is_ending {
                    true => timeout(daemon.deadlines.notice, running.end()).await.ok(),
                    false => running.ended_already(),
                };
                return Err(match end {
                    _ if running.lost_its_keeper() => {
                        fault::unwanted("the cell ended with its carrier or keeper".to_owned())
                    }
                    Some(end) => {
                        fault::service(format!("the container {end} as soon as it was started"))
                    }
                    None => {
                        fault::daemon(format!("the cell is not reached by namespace: {}", why.why))
                    }
                });
            }
        };
        daemon.observers.done("inspect", &id, began);
        let hot = Hot::new(Arc::clone(&address), Arc::clone(&self.keeper));
        let (daemon, spec) = (Arc::clone(daemon), Arc::clone(&order.spec));
        let (neighbour, output, cell) = (None, Mutex::default(), Some(running));
        Ok(Arc::new(Container { id, daemon, spec, address, hot, neighbour, output, cell }))
    }

    /// Who is at fault for a cell that was not made. After some that are no service's fault, the
    /// service gets plain containers.
    async fn cell_failed(
        &self,
        daemon: &Arc<Daemon>,
        order: &LaunchOrder<Spec>,
        carrier: &Arc<Carrier>,
        failed: FailedCell,
    ) -> LaunchError {
        let FailedCell { why, end, output, by_runtime } = failed;
        let output = output.and_then(|output| CellOutput::follow(output).ok());
        if let Some(known) = self.cell_launches.lock().get_mut(&order.launch) {
            known.failed = Some(EndedAtOnce { end, output });
        }
        if !carrier.carries() {
            // The next launch makes another carrier, or keeper.
            return fault::unwanted(format!("the launch of a cell failed: {why}"));
        }
        if let Some(end) = end {
            let end = as_process_end(CellEnd::Exited(end));
            return fault::service(format!("the container {end} as soon as it was started"));
        }
        let error = fault::of_cell(&why, by_runtime);
        // A runtime that lacks a right fails with errors that elsewhere are a service's mistake: they
        // are the service's only where the runtime has made a cell before.
        let is_its = error.fault == Fault::Service && carrier.has_made_one();
        if !is_its && !carrier.note(false) {
            let place = (&order.service, &order.spec);
            self.give_up_cells(daemon, place, carrier, &error.message).await;
        }
        error
    }

    /// The id of a launch's cell, which looks like an engine's.
    fn cell_id(&self, launch: LaunchId) -> String {
        let name = format!("{}/{}", self.identity.instance, self.identity.launch(launch));
        Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
