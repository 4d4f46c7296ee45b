//! Orders of the operator that change how the process serves: the server carries them out between
//! reloads.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use ganger_pool::ServiceOptions;
use ganger_pool::core::{Policy, ServiceName};
use tokio::sync::{mpsc, oneshot};

use super::plan::Plan;
use crate::admin::{NotOrdered, Ordered};
use crate::config;
use crate::proxy;

/// An order, and where its outcome is sent.
#[derive(Debug)]
pub(super) struct SentOrder {
    pub(super) order: ServerOrder,
    pub(super) answer: oneshot::Sender<Result<Ordered, NotOrdered>>,
}

/// The orders that the server carries out.
#[derive(Debug)]
pub(super) enum ServerOrder {
    Scale { service: ServiceName, scale: StockScale },
    Reload { dry_run: bool },
}

/// How many containers a service has, whatever the configuration says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StockScale {
    pub(super) warm: Option<u32>,
    pub(super) max: Option<NonZeroU32>,
}

/// Where orders are sent to.
pub(super) type Orders = mpsc::Sender<SentOrder>;

/// Has the server carry out an order.
pub(super) async fn send(orders: &Orders, order: ServerOrder) -> Result<Ordered, NotOrdered> {
    let (answer, answered) = oneshot::channel();
    let sent = orders.send(SentOrder { order, answer }).await;
    sent.map_err(|_| NotOrdered::Stopping)?;
    answered.await.unwrap_or(Err(NotOrdered::Stopping))
}

// === impl StockScale ===

impl StockScale {
    /// The same, with the numbers of a later order.
    pub(super) fn then(self, later: Self) -> Self {
        Self { warm: later.warm.or(self.warm), max: later.max.or(self.max) }
    }

    /// The policy with these numbers.
    ///
    /// # Errors
    /// The numbers do not fit together.
    pub(super) fn applied(self, policy: &Policy) -> Result<Policy, String> {
        let mut scaled = policy.clone();
        if let Some(max) = self.max.map(NonZeroU32::get) {
            if let Some(auto) = &mut scaled.auto {
                // An `auto.max` equal to `max` follows it; a lower one stays, up to the new `max`.
                auto.max = if auto.max == scaled.max { max } else { auto.max.min(max) };
            }
            scaled.max = max;
        }
        if let Some(warm) = self.warm {
            (scaled.warm, scaled.auto) = (warm, None);
        }
        // With `Auto`, `warm` is its `min`.
        let (warm, max) = (scaled.warm, scaled.max);
        if warm > max {
            return Err(format!("{warm} containers cannot be kept ready of at most {max}"));
        }
        Ok(scaled)
    }
}

/// Applies to the options what was ordered since the configuration was read.
pub(super) fn scale<S>(
    options: &mut [ServiceOptions<S>],
    scales: &BTreeMap<ServiceName, StockScale>,
) {
    for options in options {
        let scaled = scales.get(&options.name).map(|scale| scale.applied(&options.policy));
        if let Some(Ok(policy)) = scaled {
            options.policy = policy;
        }
    }
}

/// How many connections may be there at a time beside all that is planned, under a limit on open
/// files.
///
/// # Errors
/// The daemons have no room for the stock, or the open files do not suffice: a configuration that
/// asks for as much is refused likewise.
pub(super) fn fitting(plan: &Plan, files: u64) -> Result<usize, String> {
    let kept = plan.services.iter().map(|options| u64::from(options.policy.warm));
    let (warm, room) = (kept.sum::<u64>(), plan.fleet.capacity());
    if let Some(room) = room.filter(|room| warm > *room) {
        let why = config::no_room(warm, room);
        return Err(format!("{why}: lower `warm`, raise `max_containers`, or add a daemon"));
    }
    let cap = proxy::connection_cap(files, plan.containers(), plan.daemons());
    cap.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use ganger_pool::core::Auto;

    use super::*;
    use crate::config::Config;

    fn stock_scale(warm: Option<u32>, max: Option<u32>) -> StockScale {
        StockScale { warm, max: max.and_then(NonZeroU32::new) }
    }

    #[test]
    fn a_scale_has_to_fit_on_the_daemons_and_under_the_limit_on_open_files() {
        let text = "(daemons: Static([(name: \"d\", url: \"unix:///d.sock\", max_containers: 20)]), \
                    services: {\"a\": (listen: \"127.0.0.1:5001\", image: \"i:1\", port: 1, warm: 8, max: 10), \
                    \"b\": (listen: \"127.0.0.1:5002\", image: \"i:1\", port: 1, warm: 8, max: 10)})";
        let config = Config::parse(text, "test").unwrap();
        let fits = |warm, max, files| {
            let mut plan = Plan::new(&config);
            let scale_a = stock_scale(warm, max);
            scale(&mut plan.services, &BTreeMap::from([("a".into(), scale_a)]));
            fitting(&plan, files)
        };
        let before = fits(None, None, 1024).unwrap();
        assert_eq!(fits(Some(12), Some(12), 1024), Ok(before), "there is no room for more");
        assert!(fits(None, Some(9), 1024).unwrap() > before);
        let error = fits(Some(13), Some(13), 1024).unwrap_err();
        assert!(error.contains("keep 21 containers warm, but the daemons hold 20"), "{error}");
        let few = 256 + 10 * 18 + 64 + 2;
        assert!(fits(None, Some(8), few).is_ok());
        let error = fits(None, Some(9), few).unwrap_err();
        assert!(error.contains("the limit on open files is"), "{error}");
    }

    #[test]
    fn a_scale_changes_what_it_says_and_has_to_make_sense() {
        let policy = Policy { warm: 2, max: 8, ..Policy::default() };
        let scaled = |warm, max| {
            let scaled = stock_scale(warm, max).applied(&policy);
            scaled.map(|policy| (policy.warm, policy.max))
        };
        assert_eq!(scaled(Some(5), None), Ok((5, 8)));
        assert_eq!(scaled(None, Some(3)), Ok((2, 3)));
        assert_eq!(scaled(Some(0), Some(1)), Ok((0, 1)));
        assert!(scaled(Some(9), None).unwrap_err().contains("of at most 8"));
        assert!(scaled(None, Some(1)).unwrap_err().contains("2 containers"));
        let auto = |min, most, max| {
            let auto = Auto { misses: 1000, min, max: most };
            let policy = Policy { warm: min, max: 8, auto: Some(auto), ..Policy::default() };
            let scaled = stock_scale(None, Some(max)).applied(&policy);
            scaled.map(|policy| policy.auto.map(|auto| (auto.min, auto.max)))
        };
        assert_eq!(auto(2, 8, 20), Ok(Some((2, 20))), "what follows `max` has not");
        assert_eq!(auto(2, 8, 4), Ok(Some((2, 4))));
        assert_eq!(auto(2, 6, 20), Ok(Some((2, 6))), "what was lower is to stay");
        assert_eq!(auto(2, 6, 4), Ok(Some((2, 4))));
        assert!(auto(2, 6, 1).unwrap_err().contains("2 containers"));
        let both = stock_scale(Some(1), None).then(stock_scale(None, Some(4)));
        assert_eq!(both, stock_scale(Some(1), Some(4)));
    }
}
