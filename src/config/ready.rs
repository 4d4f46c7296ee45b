//! What shows that a container can serve.

use std::time::Duration;

use super::decode::{Cx, Decode};
use super::tree::Node;
use super::value::{Bytes, Text};

/// What shows that a container can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It accepts a connection and keeps it for a while: docker-proxy accepts
    /// before the container listens, then resets.
    Tcp {
        /// For how long.
        linger: Duration,
    },
    /// The first bytes it sends to a client begin with these. Not empty.
    Banner(Vec<u8>),
    /// It answers.
    Exchange {
        /// What it is sent. Not empty.
        send: Vec<u8>,
        /// What its answer begins with. Not empty.
        expect: Vec<u8>,
    },
    /// The image's own HEALTHCHECK says `healthy`.
    Healthcheck,
    /// A line of its log contains this. Not empty.
    Log(String),
    /// It runs.
    Started,
}

// === impl Ready ===

impl Default for Ready {
    fn default() -> Self {
        Self::Tcp { linger: Duration::from_millis(50) }
    }
}

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
