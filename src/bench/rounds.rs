//! Connections of every kind in turn, round after round, so that whatever changes on the
//! machine meanwhile changes for all kinds alike. Between two kinds nothing is under way.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::Lease;
use tokio::time::{Instant, timeout};

use super::BenchProgress;
use super::exchange::{Answered, Miss};
use super::load::{Load, Pace, drive};
use super::precise_sleep;
use super::records::Recorded;
use super::report::{Point, Series};
use super::round_kind::RoundKind;
use super::series::SeriesRecorder;
use super::setup::Setup;
use super::test_bed::{self, BenchError, Children, TestBed};
use crate::docker::Docker;
use crate::reach::Backend;
use crate::shutdown::Stop;

/// How long the record of a connection that has ended may take.
const RECORD: Duration = Duration::from_secs(10);
/// The steps of a cold start, in their order. `first_byte` is what remains of the time that
/// the client waited: the proxy, the dial, and the service itself.
pub const STEPS: [&str; 7] =
    ["create", "room", "start", "inspect", "ready", "first_byte", "remove"];
const FIRST_BYTE: &str = "first_byte";
const REMOVE: &str = "remove";
/// The name of a refill's series.
pub const REFILL: &str = "refill";

/// How it is measured.
#[derive(Debug, Clone)]
pub struct Rounds {
    /// Which kinds, each once.
    pub kinds: Vec<RoundKind>,
    /// How often.
    pub rounds: u32,
    /// The connections of one kind in one round.
    pub load: Load,
    /// Containers in stock; as many as there are clients at a time, or few will be warm.
    pub stock: u32,
    /// How long a connection may take.
    pub patience: Duration,
}

/// The surroundings of a measurement.
#[derive(Debug)]
pub struct Surroundings<'s> {
    /// The instance that containers are labelled with.
    pub instance: &'s str,
    /// Starts a guardian that logs so much.
    pub guardian: fn(&str) -> Command,
    /// Starts a keeper of cells.
    pub keeper: fn() -> Command,
    /// What is logged.
    pub log: &'s str,
    /// Ends the measurement.
    pub stop: &'s Stop,
}

// === impl Surroundings ===

impl Surroundings<'_> {
    fn children(&self) -> Children {
        Children { guardian: (self.guardian)(self.log), keeper: (self.keeper)() }
    }
}

/// The figures so far.
struct Tally {
    kinds: BTreeMap<RoundKind, (SeriesRecorder, Duration)>,
    steps: BTreeMap<&'static str, SeriesRecorder>,
}

/// Measures every kind. When interrupted after the first round, returns what was measured until
/// then.
///
/// # Errors
/// See [`BenchError`].
///
/// # Cancel safety
/// Dropping the future leaves the removal of containers to the guardian.
pub async fn rounds(
    setup: &Setup,
    how: &Rounds,
    with: &Surroundings<'_>,
    progress: BenchProgress<'_>,
) -> Result<Point, BenchError> {
    let spare = if how.is_alone() { 0 } else { how.stock };
    let config = setup.plan(&how.kinds, how.stock, spare, how.patience);
    let (children, stop) = (with.children(), with.stop);
    let (mut tally, mut done) = (Tally::new(&how.kinds), 0);
    let measured = test_bed::with(config, &how.kinds, with.instance, children, stop, async |bed| {
        let direct = match how.kinds.contains(&RoundKind::Direct) {
            true => Some(bed.lease(RoundKind::Direct).await?),
            false => None,
        };
        for kind in
            how.kinds.iter().filter(|kind| matches!(kind, RoundKind::Reused | RoundKind::Hot))
        {
            bed.use_up(*kind).await?;
        }
        for round in 1..=how.rounds {
            for kind in &how.kinds {
                progress(kind.as_str(), round.into());
                tally.one(bed, setup, how, *kind, direct.as_ref()).await?;
            }
            done = round;
        }
        Ok(())
    })
    .await;
    match measured {
        Ok(()) => Ok(tally.point()),
        Err(BenchError::Interrupted) if done > 0 => Ok(tally.point()),
        Err(error) => Err(error),
    }
}

/// Measures how many fresh containers a second are launched, used once and removed, when so many
/// clients at a time ask for them. When interrupted, returns what was measured until then.
///
/// # Errors
/// See [`BenchError`].
///
/// # Cancel safety
/// As [`rounds`].
pub async fn refill(
    setup: &Setup,
    clients: u32,
    duration: Duration,
    patience: Duration,
    with: &Surroundings<'_>,
    progress: BenchProgress<'_>,
) -> Result<Series, BenchError> {
    let mut setup = setup.clone();
    setup.set_launches(clients);
    let config = setup.plan(&[RoundKind::Cold], clients, clients, patience);
    let (children, stop) = (with.children(), with.stop);
    let (mut recorder, mut took) = (SeriesRecorder::new(), Duration::ZERO);
    let measured =
        test_bed::with(config, &[RoundKind::Cold], with.instance, children, stop, async |bed| {
            let pace = Pace::Closed { concurrency: clients as usize };
            let load = Load { pace, requests: None, duration: Some(duration) };
            let shot = dial(bed, &setup, RoundKind::Cold, patience)?;
            let began = Instant::now();
            // The test bed ends what is under way when it is to stop.
            let never = Default::default();
            drive(&load, precise_sleep::until, shot, &never, |due, outcome| {
                recorder.note(due, outcome.map(|answered| answered.at));
                took = began.elapsed();
                progress(REFILL, recorder.total());
            })
            .await;
            Ok(())
        })
        .await;
    match measured {
        Err(BenchError::Interrupted) if recorder.total() > 0 => {}
        measured => measured?,
    }
    Ok(recorder.series(REFILL, took))
}

/// Makes connections of a kind that goes through the proxy.
fn dial(
    bed: &TestBed,
    setup: &Setup,
    kind: RoundKind,
    patience: Duration,
) -> Result<impl Fn() -> Shot + Clone + Send + Sync + 'static, BenchError> {
    let missing = || BenchError::Launch(format!("{kind}: nobody listens for it"));
    let address = bed.address(kind).ok_or_else(missing)?;
    let exchange = Arc::new(setup.exchange.clone());
    Ok(move || {
        let exchange = exchange.clone();
        let shot: Shot = Box::pin(async move { exchange.session(address, patience).await });
        shot
    })
}

type Shot = std::pin::Pin<Box<dyn Future<Output = Result<Answered, Miss>> + Send>>;

// === impl Rounds ===

impl Rounds {
    /// Whether all clients of a round come at once, and nothing is to go on beside them: what
    /// they use up is launched again only when they have gone.
    fn is_alone(&self) -> bool {
        let Load { pace, requests, duration } = self.load;
        let once = |clients: usize| requests == u64::try_from(clients).ok();
        matches!(pace, Pace::Closed { concurrency } if once(concurrency)) && duration.is_none()
    }
}

// === impl Tally ===

impl Tally {
    fn new(kinds: &[RoundKind]) -> Self {
        let kinds =
            kinds.iter().map(|kind| (*kind, (SeriesRecorder::new(), Duration::ZERO))).collect();
        Self { kinds, steps: STEPS.map(|step| (step, SeriesRecorder::new())).into() }
    }

    /// The connections of one kind in one round, until nothing of them is under way.
    async fn one(
        &mut self,
        bed: &TestBed,
        setup: &Setup,
        how: &Rounds,
        kind: RoundKind,
        direct: Option<&Lease<Docker>>,
    ) -> Result<(), BenchError> {
        let Some((recorder, total)) = self.kinds.get_mut(&kind) else { return Ok(()) };
        let mut served = Vec::new();
        let note = |due: Instant, outcome: Result<Answered, Miss>| {
            if let Ok(answered) = &outcome {
                served.push((due, *answered));
            }
            recorder.note(due, outcome.map(|answered| answered.at));
        };
        drop(bed.records.take());
        // The test bed ends what is under way when it is to stop.
        let never = Default::default();
        let began = Instant::now();
        match direct.filter(|_| kind == RoundKind::Direct) {
            Some(lease) => {
                let (container, exchange) = (lease.handle().clone(), setup.exchange.clone());
                let patience = how.patience;
                let shot = move || {
                    let (container, exchange) = (container.clone(), exchange.clone());
                    async move { exchange.over(container.dial(), patience).await }
                };
                drive(&how.load, precise_sleep::until, shot, &never, note).await;
                *total += began.elapsed();
            }
            None => {
                let shot = dial(bed, setup, kind, how.patience)?;
                drive(&how.load, precise_sleep::until, shot, &never, note).await;
                *total += began.elapsed();
                let clients: Vec<_> = served.iter().map(|(_, answered)| answered.client).collect();
                let missing = "a connection has ended, and there is no record of it";
                timeout(RECORD, bed.records.ended(&clients))
                    .await
                    .map_err(|_| BenchError::Launch(missing.to_owned()))?;
            }
        }
        bed.quiet().await?;
        let told = bed.records.take();
        for (_, answered) in &served {
            let record = told.served.get(&answered.client);
            if let Some(start) = record.and_then(|record| record.start) {
                recorder.started(start);
            }
        }
        if kind == RoundKind::Cold {
            self.note_steps(&served, &told);
        }
        Ok(())
    }

    fn note_steps(&mut self, served: &[(Instant, Answered)], told: &Recorded) {
        let mut time = |step: &str, took| {
            if let Some(recorder) = self.steps.get_mut(step) {
                recorder.time(took);
            }
        };
        for (due, answered) in served {
            let container = told.served.get(&answered.client).and_then(|s| s.container.as_deref());
            let launch = container.and_then(|container| told.launches.get(container));
            let Some(launch) = launch else { continue };
            launch.iter().for_each(|(step, took)| time(step, *took));
            let launched: Duration = launch.values().sum();
            time(FIRST_BYTE, answered.at.duration_since(*due).saturating_sub(launched));
        }
        told.removals.iter().for_each(|took| time(REMOVE, *took));
    }

    fn point(self) -> Point {
        let series = self.kinds.into_iter();
        let series = series.map(|(kind, (recorder, took))| recorder.series(kind.as_str(), took));
        let mut steps = self.steps;
        let phases = STEPS.iter().filter_map(|step| Some((step, steps.remove(step)?)));
        let phases = phases.map(|(step, recorder)| recorder.series(step, Duration::ZERO));
        Point {
            at: Default::default(),
            series: series.collect(),
            phases: phases.filter(|phase| phase.count > 0).collect(),
        }
    }
}
