//! Mean and variance of what was seen lately.

/// Moments that forget: weights fall exponentially with each value that is added. Until
/// there are as many as the memory is long, all have the same weight.
#[derive(Debug)]
pub(super) struct Moments {
    seen: f64,
    memory: f64,
    mean: f64,
    /// The mean of squares.
    square: f64,
}

// === impl Moments ===

impl Moments {
    /// Moments of no values, with a memory of so many.
    pub(super) const fn new(memory: f64) -> Self {
        Self { seen: 0.0, memory, mean: 0.0, square: 0.0 }
    }

    /// Moments of so many zeros.
    pub(super) const fn zeros(seen: f64, memory: f64) -> Self {
        Self { seen, ..Self::new(memory) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen < 1.0
    }

    pub(super) const fn mean(&self) -> f64 {
        self.mean
    }

    pub(super) fn variance(&self) -> f64 {
        (self.square - self.mean * self.mean).max(0.0)
    }

    /// As if there had been so many values of this mean and variance, and none before.
    pub(super) fn restart(&mut self, mean: f64, variance: f64, seen: f64) {
        (self.mean, self.square) = (mean, variance + mean * mean);
        self.seen = seen.min(self.memory);
    }

    pub(super) fn add(&mut self, value: f64) {
        self.seen = (self.seen + 1.0).min(self.memory);
        self.mean += (value - self.mean) / self.seen;
        self.square += (value * value - self.square) / self.seen;
    }

    /// Adds so many zeros; the cost does not depend on their number.
    pub(super) fn add_zeros(&mut self, zeros: f64) {
        let growing = zeros.min((self.memory - self.seen).max(0.0));
        let grown = self.seen + growing;
        let fade = if grown > 0.0 { self.seen / grown } else { 1.0 };
        let fade = fade * (1.0 - 1.0 / self.memory).powf(zeros - growing);
        self.seen = grown;
        self.mean *= fade;
        self.square *= fade;
    }

    /// The values are counts of windows, which are now so many times as long: mean and
    /// variance grow alike.
    pub(super) fn scale(&mut self, ratio: f64, memory: f64) {
        let variance = self.variance() * ratio;
        self.mean *= ratio;
        self.square = variance + self.mean * self.mean;
        self.memory = memory;
        self.seen = (self.seen / ratio).min(memory);
    }
}
