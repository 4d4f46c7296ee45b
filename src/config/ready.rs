//! What shows that a container can serve.

use std::time::Duration;

use ganger_pool::probe::CHECK;

use super::decode::{Cx, Decode, Fields, Spanned};
use super::report::Mistake;
use super::tree::Node;
use super::value::{Bytes, Text};
use crate::spec::Ready;

/// Of the time for a check the rest is for making the connection.
const LONGEST_LINGER: Duration = Duration::from_millis(CHECK.as_millis() as u64 / 2);

// === impl Ready ===

impl Decode for Ready {
    const WHAT: &'static str = "`Tcp` or another sign of readiness";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = ["Tcp", "Banner", "Exchange", "Healthcheck", "Log", "Started"];
        match cx.variant(node, &known)? {
            "Tcp" => cx.variant_fields(node, "`Tcp`", |f| {
                linger(f).map_or_else(Self::default, |linger| Self::Tcp { linger })
            }),
            "Banner" => Some(Self::Banner(cx.payload::<Bytes>(node)?.0)),
            "Exchange" => cx.variant_fields(node, "`Exchange`", |f| {
                let send = f.required::<Bytes>("send");
                let expect = f.required::<Bytes>("expect");
                Some(Self::Exchange { send: send?.0, expect: expect?.0 })
            })?,
            "Log" => Some(Self::Log(cx.payload::<Text>(node)?.0)),
            _ => {
                let started = cx.choice(node, &[("Healthcheck", false), ("Started", true)])?;
                Some(if started { Self::Started } else { Self::Healthcheck })
            }
        }
    }
}

fn linger(f: &mut Fields<'_, '_, '_>) -> Option<Duration> {
    let linger = f.optional::<Spanned<Duration>>("linger")?;
    if linger.value > LONGEST_LINGER {
        let title = format!("`linger` is longer than {LONGEST_LINGER:?}");
        let help = format!(
            "whether a container can be used again has to show within {CHECK:?}; for a service \
             that accepts before it can serve, choose another `ready`"
        );
        f.cx.report(Mistake::new(&linger.span, title).help(help));
    }
    Some(linger.value)
}
