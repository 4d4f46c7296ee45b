//! The containers of a run that are cells: listed, ended and removed without the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ganger_pool::core::{DaemonName, Generation, LaunchId};
use ganger_pool::runtime::{CallError, ContainerKey, Owned, PostMortem, Removal, RuntimeEvent};
use parking_lot::Mutex;

use super::carriers::Carrier;
use super::cell_output::CellOutput;
use super::daemon::Daemon;
use super::hints::hint;
use super::view::ProcessEnd;
use super::{Docker, Identity, Scope, naming};
use crate::cell::{CellEnd, CellExit, CellLife, sweep};
use crate::reach::process::Process;

/// The cells of this run that may be there, by launch.
pub(super) type CellLaunches = Mutex<BTreeMap<LaunchId, CellLaunch>>;

/// What is known of the cell of a launch.
#[derive(Debug, Clone)]
pub(super) struct CellLaunch {
    pub(super) daemon: DaemonName,
    pub(super) id: String,
    /// Once it was made.
    pub(super) running: Option<Arc<RunningCell>>,
    /// If it was not, or ended at once.
    pub(super) failed: Option<EndedAtOnce>,
}

/// What is left of a cell that ended before anybody had it.
#[derive(Debug, Clone, Default)]
pub(super) struct EndedAtOnce {
    pub(super) end: Option<CellExit>,
    pub(super) output: Option<CellOutput>,
}

/// A cell that was made, which keeps its carrier.
#[derive(Debug)]
pub(super) struct RunningCell {
    pub(super) cell: Arc<CellLife>,
    pub(super) output: CellOutput,
    pub(super) carrier: Arc<Carrier>,
    /// The generation of its service.
    pub(super) generation: Generation,
    /// Its command waits for the first lease.
    pub(super) waits: AtomicBool,
    /// Its removal was ordered.
    pub(super) retired: AtomicBool,
}

// === impl Docker ===

impl Docker {
    /// Removes the control groups that killed keepers of cells have left. In the scope of an instance,
    /// whose lock the caller holds, they are those of earlier runs, except of runs that go on; in the
    /// scope of a run they are that run's.
    pub fn sweep_cells(&self) {
        let Identity { instance, boot } = &*self.identity;
        let is_over = |run: &str| match self.scope {
            Scope::Instance => run != boot && !self.goes_on(run),
            Scope::Run => run == boot,
            Scope::Overdue => false,
        };
        sweep(|name| naming::run_of_cells(name, instance).is_some_and(is_over));
    }

    /// Whether the cell of a launch was ended by the end of its keeper or carrier, and not by itself.
    pub(super) fn lost_its_keeper(&self, launch: LaunchId) -> bool {
        let known = self.cell_launches.lock().get(&launch).and_then(|known| known.running.clone());
        known.is_some_and(|running| running.lost_its_keeper())
    }

    /// Passes on the end of a cell as an engine would.
    pub(super) fn tell_of_end(
        &self,
        daemon: &Arc<Daemon>,
        launch: LaunchId,
        running: &Arc<RunningCell>,
    ) {
        let (running, daemon) = (Arc::clone(running), Arc::clone(daemon));
        tokio::spawn(async move {
            match running.cell.ended().await {
                CellEnd::Exited(exit) => {
                    let is_clean = exit.code == 0 && !exit.out_of_memory;
                    if !is_clean && !running.retired.load(Relaxed) {
                        running.carrier.pace.note_failed();
                    }
                    if exit.out_of_memory {
                        daemon.tell_cell(RuntimeEvent::OutOfMemory(launch));
                    }
                    daemon.tell_cell(RuntimeEvent::Died(launch));
                }
                CellEnd::Unknown => daemon.tell_cell(RuntimeEvent::Taken(launch)),
            }
        });
    }

    /// Tells of the end of all cells of a carrier when that ends: nobody knows for how long the layers
    /// below them are kept then.
    pub(super) fn watch_carrier(&self, daemon: &Arc<Daemon>, carrier: &Carrier) {
        let Ok(process) = Process::open(carrier.process.pid()) else { return };
        let (launches, daemon, number) =
            (Arc::clone(&self.cell_launches), Arc::clone(daemon), carrier.number);
        tokio::spawn(async move {
            process.ended().await;
            let of_it = |known: &CellLaunch| {
                known.running.as_ref().is_some_and(|running| running.carrier.number == number)
            };
            let launches: Vec<_> = launches
                .lock()
                .iter()
                .filter(|(_, known)| of_it(known))
                .map(|(launch, _)| *launch)
                .collect();
            launches.into_iter().for_each(|launch| daemon.tell_cell(RuntimeEvent::Taken(launch)));
        });
    }

    /// Tries once to remove the cell of a launch; `None` where it has none.
    pub(super) async fn remove_cell(
        &self,
        key: &ContainerKey,
    ) -> Option<Result<Removal, CallError>> {
        let ContainerKey::Launch(launch) = key else { return None };
        let CellLaunch { id, running, .. } = self.cell_launches.lock().get(launch)?.clone();
        if let Some(running) = running {
            running.retired.store(true, Relaxed);
        }
        let removal = self.cells.remove(&id).await;
        if removal == Ok(Removal::Gone) {
            self.cell_launches.lock().remove(launch);
        }
        Some(removal)
    }

    /// The cells that are there on a daemon, as a list of it has containers.
    pub(super) fn listed_cells(&self, daemon: &DaemonName) -> Vec<Owned> {
        let launches = self.cell_launches.lock();
        let here = launches.iter().filter(|(_, known)| known.daemon == *daemon);
        let owned = here.map(|(launch, known)| Owned {
            key: ContainerKey::Launch(*launch),
            running: known
                .running
                .as_ref()
                .is_none_or(|running| running.cell.end().is_none() && running.carrier.carries()),
        });
        owned.collect()
    }

    /// The post-mortem of a launch's cell; `None` where it has none.
    pub(super) async fn cell_post_mortem(&self, key: &ContainerKey) -> Option<PostMortem> {
        let ContainerKey::Launch(launch) = key else { return None };
        let CellLaunch { id, running, failed, .. } = self.cell_launches.lock().get(launch)?.clone();
        let EndedAtOnce { mut end, mut output } = failed.unwrap_or_default();
        if let Some(running) = running {
            let removed = running.taken_away();
            if removed.is_some() {
                // Nothing is known of its end.
                return Some(PostMortem { container: Some(id), removed, ..PostMortem::default() });
            }
            end = running.cell.end().and_then(CellEnd::exit);
            output = Some(running.output.clone());
        }
        let log = match output {
            Some(output) => output.last_lines(end.is_some()).await,
            None => Vec::new(),
        };
        let out_of_memory = end.is_some_and(|end| end.out_of_memory);
        Some(PostMortem {
            container: Some(id),
            exit_code: end.map(|end| end.code.into()),
            out_of_memory,
            hint: hint(&log, out_of_memory).filter(|_| end.is_some()),
            log,
            ..PostMortem::default()
        })
    }
}

// === impl Daemon ===

impl Daemon {
    /// Tells what became of a cell as if the engine had.
    fn tell_cell(&self, event: RuntimeEvent) {
        if let Some(sink) = &*self.cell_events.lock() {
            // Without a reader, the list shows it.
            _ = sink.send(event);
        }
    }
}

// === impl RunningCell ===

impl RunningCell {
    /// Waits until it has ended, and says how.
    pub(super) async fn end(&self) -> ProcessEnd {
        as_process_end(self.cell.ended().await)
    }

    /// Whether its command waits for the first lease.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// Has the caller start its command, if that has waited until now.
    pub(super) fn take_wait(&self) -> bool {
        self.waits() && self.waits.swap(false, Relaxed)
    }

    pub(super) fn lost_its_keeper(&self) -> bool {
        self.taken_away().is_some()
    }

    /// How it was ended, for people, if it did not end by itself.
    fn taken_away(&self) -> Option<&'static str> {
        if self.cell.end() == Some(CellEnd::Unknown) {
            Some("the keeper of cells has ended, and the cell with it")
        } else if !self.carrier.carries() {
            Some("its carrier is gone, and the cell with it")
        } else {
            None
        }
    }

    /// How it ended, if it has.
    pub(super) fn ended_already(&self) -> Option<ProcessEnd> {
        self.cell.end().map(as_process_end)
    }
}

pub(super) fn as_process_end(end: CellEnd) -> ProcessEnd {
    match end.exit() {
        Some(CellExit { code, out_of_memory }) => {
            ProcessEnd::Exited { code: code.into(), out_of_memory }
        }
        None => ProcessEnd::Unknown,
    }
}
