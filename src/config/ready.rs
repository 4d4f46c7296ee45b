//! What shows that a container can serve.

use std::time::Duration;

use super::decode::{Cx, Decode};
use super::tree::Node;
use super::value::{Bytes, Text};
use crate::spec::Ready;

// === impl Ready ===

impl Decode for Ready {
    const WHAT: &'static str = "`Tcp` or another sign of readiness";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = ["Tcp", "Banner", "Exchange", "Healthcheck", "Log", "Started"];
        match cx.variant(node, &known)? {
            "Tcp" => cx.variant_fields(node, "`Tcp`", |f| {
                let linger = f.or("linger", Duration::from_millis(50));
                Self::Tcp { linger }
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
