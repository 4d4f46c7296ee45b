//! The built program, which may be killed and started again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ganger_test_support::{Config, Fleet, Ganger};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::nap;
use crate::places::Places;
use crate::setup::{COMMAND, Service};

/// Every process of the program so far; the last one runs.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    lives: Mutex<Vec<Life>>,
    config: Mutex<Config>,
    pub(crate) places: Places,
    label: String,
    /// Between a kill and the next start: nobody may listen.
    away: AtomicBool,
}

/// A process of the program.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) ganger: Ganger,
    pub(crate) began: Instant,
    pub(crate) killed: Option<Instant>,
}

// === impl Program ===

impl Program {
    /// Starts it on these daemons, and waits until its stock is full.
    pub(crate) fn start(path: &Path, fleet: &Fleet, places: Places) -> Self {
        let config = Config::new("soak").everywhere().with("drain_timeout: \"10s\"");
        let mut config = places.daemons().into_iter().fold(config, Config::daemon);
        for service in Service::ALL {
            config = config.fixture(service.name(), &service.fields(0), &COMMAND);
        }
        let began = Instant::now();
        let ganger = config.serve(&path.to_string_lossy(), fleet);
        Self {
            path: path.to_owned(),
            label: ganger.label(),
            lives: Mutex::new(vec![Life { ganger, began, killed: None }]),
            config: Mutex::new(config),
            places,
            away: AtomicBool::new(false),
        }
    }

    pub(crate) fn port(&self, service: Service) -> u16 {
        self.config.lock().port(service.name())
    }

    /// The label of its containers.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn lives(&self) -> MutexGuard<'_, Vec<Life>> {
        self.lives.lock()
    }

    /// The process that runs.
    pub(crate) fn ganger(&self) -> MappedMutexGuard<'_, Ganger> {
        MutexGuard::map(self.lives.lock(), |lives| {
            let last = lives.len() - 1;
            &mut lives[last].ganger
        })
    }

    /// Whether it was killed, and the next one does not listen yet.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    /// Notes that nobody may listen from now on.
    pub(crate) fn leaves(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    /// Kills it and starts it again, while its guardian does what it can. Says
    /// whether it listens again in time.
    pub(crate) fn kill_and_start(&self, fleet: &Fleet, deadline: Duration) -> bool {
        self.leaves();
        let config = self.config.lock().clone();
        {
            let mut lives = self.lives.lock();
            if let Some(life) = lives.last_mut() {
                life.ganger.kill();
                life.killed = Some(Instant::now());
            }
            let began = Instant::now();
            let ganger = config.start(&self.path.to_string_lossy(), fleet);
            lives.push(Life { ganger, began, killed: None });
        }
        let listens = self.says("listening", Service::ALL.len(), deadline);
        self.away.store(false, Ordering::SeqCst);
        listens
    }

    /// Has it reload its configuration with a change; `kept` if it is to be started with that
    /// from now on.
    pub(crate) fn reload(&self, kept: bool, change: impl FnOnce(Config) -> Config) {
        let mut config = self.config.lock();
        let changed = change(config.clone());
        self.ganger().reload(&changed.to_string());
        if kept {
            *config = changed;
        }
    }

    /// Has it reload a broken configuration.
    pub(crate) fn reload_garbage(&self) {
        self.ganger().reload("(services: {{");
    }

    /// Waits until so many lines of the one that runs contain this.
    pub(crate) fn says(&self, text: &str, count: usize, deadline: Duration) -> bool {
        so_by(deadline, || self.ganger().count(text) >= count)
    }
}

/// Waits until it is so; says whether it is by the deadline.
pub(crate) fn so_by(deadline: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        nap(Duration::from_millis(100));
    }
}
