//! The stock that meets all but a share of a demand.

/// Closer to Poisson than this, the negative binomial is taken to be Poisson.
const POISSON: f64 = 1.001;

/// A sum larger than this is rescaled.
const LARGE: f64 = 1e100;

/// The least `s` up to `most` with `P(D >= s) <= misses`, for a demand `D` of this mean
/// and variance: Poisson, or negative binomial when the variance is larger than the mean.
/// `most` when there is none. The cost grows with the answer.
pub(super) fn quantile(mean: f64, variance: f64, misses: f64, most: u32) -> u32 {
    if mean <= 0.0 {
        return 0;
    }
    let dispersion = variance / mean;
    // p(k + 1) / p(k) = (a + b * k) / (k + 1), as in Panjer's recursion.
    let (first, a, b) = if dispersion < POISSON {
        (-mean, mean, 0.0)
    } else {
        let b = 1.0 - 1.0 / dispersion;
        let size = mean / (dispersion - 1.0);
        (-size * dispersion.ln(), b * size, b)
    };
    // Both in units of e^unit, as the first of them may be smaller than any number.
    let (mut point, mut below, mut unit) = (1.0, 0.0, first);
    for stock in 0..most {
        if 1.0 - below * f64::exp(unit) <= misses {
            return stock;
        }
        below += point;
        point *= (a + b * f64::from(stock)) / f64::from(stock + 1);
        if below > LARGE {
            (point, below, unit) = (point / LARGE, below / LARGE, unit + LARGE.ln());
        }
    }
    most
}
