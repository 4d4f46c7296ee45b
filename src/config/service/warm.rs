//! Reads how many containers are kept ready: a number, or `Auto`.

use ganger_pool::core::Auto;

use crate::config::decode::{Cx, Decode, Fields, Flaw, Spanned};
use crate::config::keys::{Key, Tell, keys, optional, or};
use crate::config::report::{Mistake, Span};
use crate::config::tree::{Node, Shape};
use crate::config::value::Containers;

/// `warm` as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) enum Warm {
    Fixed(u32),
    Auto {
        misses: u32,
        min: u32,
        /// Where `min` is said, if it is.
        min_at: Option<Span>,
        max: Option<Spanned<u32>>,
    },
}

/// The hit rate, kept as the share of clients that find no container ready.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct HitRate(u32);

/// The least that is kept ready, with its place or else `name`; the bounds of `Auto`;
/// and `max`.
pub(super) fn warm_and_max(
    f: &mut Fields<'_, '_, '_>,
    warm_key: Key<Warm>,
    max_key: Key<Containers>,
    name: &Span,
) -> (Spanned<u32>, Option<Auto>, u32) {
    let (warm, limit) = (f.or(warm_key), f.or(max_key).0);
    let (place, max) = (f.place(warm_key), f.place(max_key));
    // A `max` that cannot be read has been reported; it clashes with nothing.
    let unread = f.unread(max_key);
    let within = |what: &str, given: &Spanned<u32>, f: &mut Fields<'_, '_, '_>| {
        if given.value <= limit || unread {
            return;
        }
        let source = if max.is_some() { "" } else { ", its default" };
        let title = format!("{what} is {}, but `max` is {limit}{source}", given.value);
        let mistake = Mistake::new(&given.span, title)
            .help("`warm` containers count towards `max`: lower one or raise the other");
        f.cx.report(match &max {
            Some(max) => mistake.also(max, "`max`"),
            None => mistake,
        });
    };
    let is_given = place.is_some();
    let span = place.unwrap_or_else(|| name.clone());
    match warm {
        Warm::Fixed(value) => {
            let warm = Spanned { value, span };
            if is_given {
                within("`warm`", &warm, f);
            }
            (warm, None, limit)
        }
        Warm::Auto { misses, min, min_at, max: most } => {
            let given = min_at.map(|span| Spanned { value: min, span });
            for (what, bound) in [("`min` of `warm`", &given), ("`max` of `warm`", &most)] {
                if let Some(bound) = bound {
                    within(what, bound, f);
                }
            }
            if let (Some(min), Some(most)) = (&given, &most)
                && min.value > most.value
            {
                let title = format!("`min` is {}, but `max` is {}", min.value, most.value);
                f.cx.report(Mistake::new(&min.span, title).also(&most.span, "`max`"));
            }
            let most = most.map_or(limit, |most| most.value);
            let min = given.unwrap_or(Spanned { value: min.min(most), span });
            let auto = Auto { misses, min: min.value, max: most };
            (min, Some(auto), limit)
        }
    }
}

keys! {
    /// The keys of `warm: Auto(…)`.
    AUTO, AutoKeys, AUTO_ROWS;
    hit_rate: HitRate = or("0.999", "The share of clients that are to find a container ready.");
    min: u32 = or("1", "The least that is kept.");
    max: Containers = optional("`max` of the service", "12", "The most that is kept.");
}

// === impl Decode ===

impl Decode for Warm {
    const WHAT: &'static str = "a whole number such as 4, or `Auto(hit_rate: 0.999)`";
    const TELL: Tell = Tell::Keys(&[("Auto", AUTO_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let word = match &node.shape {
            Shape::Name => cx.source(&node.span),
            Shape::Struct { name: Some(name), .. } => cx.source(name),
            Shape::Atom if !cx.source(&node.span).contains('"') => {
                return u32::decode(node, cx).map(Self::Fixed);
            }
            _ => "",
        };
        if word != "Auto" {
            return cx.expected(node, Self::WHAT);
        }
        cx.variant_fields(node, "`Auto`", |f| {
            let (misses, min, max) = (f.or(AUTO.hit_rate).0, f.or(AUTO.min), f.optional(AUTO.max));
            let max = max.zip(f.place(AUTO.max));
            let max = max.map(|(max, span)| Spanned { value: max.0, span });
            Self::Auto { misses, min, min_at: f.place(AUTO.min), max }
        })
    }
}

impl Decode for HitRate {
    const WHAT: &'static str = "a share such as 0.999";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |rate: f64| {
            Auto::misses_at(rate).map(Self).ok_or_else(|| {
                let (least, most) = (Auto::HIT_RATES.start(), Auto::HIT_RATES.end());
                let title = format!("{rate:?} is not a hit rate from {least} to {most}");
                let help = "it is the share of clients that find a container ready, such as 0.999";
                Flaw::new(title).help(help)
            })
        })
    }
}
