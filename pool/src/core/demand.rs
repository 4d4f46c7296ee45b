//! How many ready containers meet the demand: learnt from arrivals and launch times.
//!
//! Each container that is taken from the stock is replaced by one that is ready a lead
//! time `T` later, so the stock that is missing at any moment is the demand of the last
//! `T`: the base-stock model. An arrival finds a container when less than all of the stock
//! is missing, and a stock `s` meets a share `h` of arrivals when `P(D >= s) <= 1 - h` for
//! the demand `D` of a lead time. With Poisson arrivals `D` is Poisson of mean `rate * E[T]`
//! whatever the distribution of `T` is (Palm's theorem), if launches go on side by side.
//! Where they wait for each other, or arrivals come in bursts, `D` varies more:
//!
//! ```text
//! E[D] = rate * E[T]        Var[D] = I * rate * E[T] + rate^2 * Var[T]
//! ```
//!
//! with `I`, the index of dispersion of counts, and `D` is taken to be negative binomial.
//! Source: P. Zipkin, Foundations of Inventory Management, 2000, chapters 6 and 7 (base
//! stock, Palm's theorem, lead-time demand); the second moment for orders that do not
//! overtake each other is J. Keilson and L. Servi's distributional form of Little's law,
//! Operations Research Letters 7(5), 1988.
//!
//! Where containers are used again, `D` counts how far arrivals get ahead of the
//! containers that come back.
//!
//! Two rules are added to the formula. When the mean of the last few windows differs from
//! the usual mean by more than chance, the past is forgotten. And errors of the formula
//! are corrected: while more arrivals miss than may, fewer misses are aimed at.

mod moments;
mod quantile;

use std::time::{Duration, Instant};

use super::Auto;
use moments::Moments;
use quantile::quantile;

/// The lead time that is assumed until one was seen.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Windows are as long as the lead time, within these bounds.
const WINDOWS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
/// How long, and how many windows at least, the demand is remembered.
const MEMORY: (Duration, f64) = (Duration::from_secs(120), 64.0);
/// The windows without demand that are assumed before the first.
const BEFORE: f64 = 16.0;
/// The memory of the recent mean, which shows that demand has risen, in windows.
const FAST: f64 = 8.0;
/// The standard deviations of the recent mean from which a change is no chance.
const CHANGE: f64 = 4.0;
/// The memory of lead times, in launches.
const LEADS: f64 = 1024.0;
/// The most times the mean that a lead time counts as: a launch that waited until a
/// daemon was back says nothing of the next.
const LONGEST: f64 = 4.0;

/// How far the budget of misses may be overdrawn and saved up.
const BUDGET: (f64, f64) = (-64.0, 4.0);
/// The misses of the budget by which the share that is aimed at halves or doubles.
const GAIN: f64 = 8.0;
/// The windows at the beginning whose misses do not count.
const BEGINNING: f64 = 64.0;
/// The share of the allowed misses that is aimed at: the estimate is not exact.
const AIM: f64 = 0.25;

/// The demand of a service, as learnt so far.
#[derive(Debug)]
pub(super) struct Demand {
    window: Duration,
    /// When the window under way began: with the first arrival.
    opened: Option<Instant>,
    /// Arrivals less containers that came back, in the window under way, and the most it was.
    ahead: i64,
    peak: u32,
    /// The peaks of windows.
    counts: Moments,
    recent: Moments,
    /// From wanted to ready, in seconds.
    lead: Moments,
    /// Misses that were allowed and did not happen; less than 0 when more did.
    budget: f64,
    /// Windows until misses count.
    beginning: f64,
    /// While less is wanted than is kept: when the stock is lowered, and the most wanted since.
    lower: Option<(Instant, u32)>,
}

// === impl Demand ===

impl Default for Demand {
    fn default() -> Self {
        Self {
            window: UNKNOWN,
            opened: None,
            ahead: 0,
            peak: 0,
            counts: Moments::zeros(BEFORE, memory(UNKNOWN)),
            recent: Moments::zeros(FAST, FAST),
            lead: Moments::new(LEADS),
            budget: 0.0,
            beginning: BEGINNING,
            lower: None,
        }
    }
}

impl Demand {
    /// Somebody wants a container. Returns whether the wanted stock may change.
    pub(super) fn arrived(&mut self, now: Instant) -> bool {
        let closed = self.advance(now);
        if self.opened.is_none() {
            self.resize();
            self.opened = Some(now);
        }
        self.ahead += 1;
        let ahead = u32::try_from(self.ahead).unwrap_or(0);
        let higher = ahead > self.peak;
        self.peak = self.peak.max(ahead);
        closed || (higher && self.risen().is_some())
    }

    /// An arrival found a container, or a stock that was larger would have had one for it.
    pub(super) fn met(&mut self, found: bool, auto: &Auto) {
        if self.beginning > 0.0 {
            return;
        }
        let misses = if found { 0.0 } else { 1.0 };
        self.budget = (self.budget + share(auto) - misses).clamp(BUDGET.0, BUDGET.1);
    }

    /// A container came back that can be leased again.
    pub(super) fn came_back(&mut self) {
        self.ahead -= 1;
    }

    /// A container got ready so long after it was wanted.
    pub(super) fn launched(&mut self, lead: Duration) {
        let usual = LONGEST * self.lead.mean();
        let lead = lead.as_secs_f64();
        self.lead.add(if self.lead.is_empty() { lead } else { lead.min(usual) });
    }

    /// Whether any lead time is known.
    pub(super) fn knows_lead(&self) -> bool {
        !self.lead.is_empty()
    }

    /// How many ready containers to keep where there were `warm`: more at once, fewer
    /// when fewer have been enough for so long as `hold`.
    pub(super) fn wanted(&mut self, now: Instant, auto: &Auto, warm: u32, hold: Duration) -> u32 {
        self.advance(now);
        let (warm, stock) = (warm.clamp(auto.min, auto.max), self.stock(auto));
        if stock >= warm {
            self.lower = None;
            return stock;
        }
        let (ends, most) = self.lower.unwrap_or((now + hold, 0));
        let most = most.max(stock).min(auto.max);
        self.lower = Some((ends, most)).filter(|_| now < ends);
        if now < ends { warm } else { most }
    }

    /// When to look again while nobody comes.
    pub(super) fn look_after(&self) -> Duration {
        self.window.max(Duration::from_secs(1))
    }

    /// The stock that meets the demand as it is known. The cost grows with the answer.
    fn stock(&self, auto: &Auto) -> u32 {
        let (mean, dispersion) = (self.counts.mean(), self.dispersion());
        let mean = self.risen().unwrap_or(mean) / self.window.as_secs_f64();
        let lead = if self.lead.is_empty() { UNKNOWN.as_secs_f64() } else { self.lead.mean() };
        let (demand, late) = (mean * lead, mean * mean * self.lead.variance());
        if 1.0 - (-demand).exp() <= share(auto) {
            return auto.min;
        }
        let misses = share(auto) * AIM * (self.budget / GAIN).exp2();
        let variance = dispersion * demand + late;
        quantile(demand, variance, misses.min(0.9), auto.max).max(auto.min)
    }

    /// The variance of counts by their mean. Less than Poisson's is not relied upon.
    fn dispersion(&self) -> f64 {
        let (mean, variance) = (self.counts.mean(), self.counts.variance());
        if mean > 0.0 { (variance / mean).max(1.0) } else { 1.0 }
    }

    /// The mean of the last few windows and of the one under way, if it is above the
    /// usual by more than chance.
    fn risen(&self) -> Option<f64> {
        let closed = self.recent.mean();
        let open = closed + (f64::from(self.peak) - closed) / FAST;
        Some(open).filter(|open| *open > self.counts.mean() + self.chance())
    }

    /// How far the mean of the last few windows may be from the usual by chance.
    fn chance(&self) -> f64 {
        let usual = self.counts.variance().max(self.counts.mean()).max(0.5);
        CHANGE * (usual / (2.0 * FAST - 1.0)).sqrt()
    }

    /// When the demand has changed, forgets the demand before, except for its
    /// dispersion.
    fn begin_anew(&mut self) {
        let recent = self.recent.mean();
        if (recent - self.counts.mean()).abs() > self.chance() {
            self.counts.restart(recent, recent * self.dispersion(), FAST);
        }
    }

    /// Closes the windows that are over; says whether there were any.
    fn advance(&mut self, now: Instant) -> bool {
        let Some(opened) = self.opened else { return false };
        let over = now.saturating_duration_since(opened).as_secs_f64();
        let over = (over / self.window.as_secs_f64()).floor();
        if over < 1.0 {
            return false;
        }
        for counts in [&mut self.counts, &mut self.recent] {
            counts.add(f64::from(self.peak));
            counts.add_zeros(over - 1.0);
        }
        self.begin_anew();
        self.beginning -= over;
        (self.ahead, self.peak) = (0, 0);
        self.opened =
            Some(opened + self.window.mul_f64(over)).filter(|at| *at <= now).or(Some(now));
        self.resize();
        true
    }

    /// Adapts the window when the lead time has doubled or halved.
    fn resize(&mut self) {
        if self.lead.is_empty() {
            return;
        }
        let window = Duration::from_secs_f64(self.lead.mean()).clamp(WINDOWS.0, WINDOWS.1);
        let ratio = window.as_secs_f64() / self.window.as_secs_f64();
        if !(0.5..=2.0).contains(&ratio) {
            self.window = window;
            self.counts.scale(ratio, memory(window));
            self.recent.scale(ratio, FAST);
        }
    }
}

/// The share of arrivals that may find the stock empty.
fn share(auto: &Auto) -> f64 {
    f64::from(auto.misses) / f64::from(Auto::SCALE)
}

/// How many windows are remembered.
fn memory(window: Duration) -> f64 {
    (MEMORY.0.as_secs_f64() / window.as_secs_f64()).max(MEMORY.1)
}

#[cfg(test)]
mod tests;
