//! `daemons` in the configuration: where the fleet is listed.

use std::sync::Arc;

use super::consul::CONSUL_ROWS;
use super::daemon::{FoundDaemon, ListedDaemon};
use super::decode::{Cx, Decode, Spanned};
use super::keys::{Row, Tell};
use super::report::Mistake;
use super::swarm::SWARM_ROWS;
use super::tree::Node;
use crate::discovery::{Consul, FleetSource, Swarm};

/// Where the fleet is listed.
#[derive(Debug, Clone, PartialEq)]
pub enum Daemons {
    /// In the file, in its order. Never empty.
    Static(Vec<ListedDaemon>),
    /// By a discovery service.
    Source(Arc<dyn FleetSource>),
}

/// A kind of source: its word in the file, its keys, its decoder.
pub(super) struct SourceKind {
    pub(super) name: &'static str,
    /// Its keys.
    pub(super) rows: &'static [Row],
    decode: fn(&Node, &mut Cx<'_>) -> Option<Arc<dyn FleetSource>>,
}

/// The kinds of source.
pub(super) const SOURCES: &[SourceKind] = &[
    SourceKind::of::<Consul>("Consul", CONSUL_ROWS),
    SourceKind::of::<Swarm>("Swarm", SWARM_ROWS),
];

/// `Static([…])`, or the word of a source.
#[derive(Clone, PartialEq)]
pub(super) struct FoundDaemons(pub(super) Daemons);

// === impl SourceKind ===

impl SourceKind {
    const fn of<S: Decode + FleetSource>(name: &'static str, rows: &'static [Row]) -> Self {
        Self { name, rows, decode: |node, cx| Some(Arc::new(S::decode(node, cx)?)) }
    }
}

// === impl FoundDaemons ===

impl Decode for FoundDaemons {
    const WHAT: &'static str =
        "Static([(name: \"local\", url: \"unix:///var/run/docker.sock\", max_containers: 20)])";
    const TELL: Tell = Tell::Keys(&[("Consul", CONSUL_ROWS), ("Swarm", SWARM_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let sources = SOURCES.iter().map(|source| source.name);
        let name = cx.variant(node, &["Static"].into_iter().chain(sources).collect::<Vec<_>>())?;
        let daemons = match SOURCES.iter().find(|source| source.name == name) {
            Some(source) => Daemons::Source((source.decode)(node, cx)?),
            None => Daemons::Static(cx.payload::<StaticDaemons>(node)?.0),
        };
        Some(Self(daemons))
    }
}

#[derive(Clone, PartialEq)]
struct StaticDaemons(Vec<ListedDaemon>);

impl Decode for StaticDaemons {
    const WHAT: &'static str = "a list of daemons `[(name: …, url: …, max_containers: …)]`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let found = cx.list::<FoundDaemon>(node, Self::WHAT)?;
        if node.is_empty() {
            let title = "there is no daemon to run containers on";
            let help =
                "add (name: \"local\", url: \"unix:///var/run/docker.sock\", max_containers: 20)";
            cx.report(Mistake::new(&node.span, title).help(help));
        }
        for (i, daemon) in found.iter().enumerate() {
            let same =
                |first: &&Spanned<FoundDaemon>| first.value.name.value == daemon.value.name.value;
            if let Some(first) = found[..i].iter().find(same) {
                cx.repeated(&daemon.value.name.span, &first.value.name.span);
            }
            check_place(&found[..i], &daemon.value, cx);
        }
        // The capacity of the fleet is known only when all of it was read.
        let daemons: Option<Vec<_>> = found.into_iter().map(|found| found.value.daemon).collect();
        Some(Self(daemons?))
    }
}

/// No two daemons may be one engine: each would count what runs there towards a capacity of its
/// own, and take the containers of the other for strays.
fn check_place(before: &[Spanned<FoundDaemon>], daemon: &FoundDaemon, cx: &mut Cx<'_>) {
    let Some(url) = &daemon.url else { return };
    let first = before.iter().find_map(|first| {
        let there = first.value.url.as_ref()?;
        (there.value.place() == url.value.place()).then_some((&first.value.name.value, there))
    });
    if let Some((name, first)) = first {
        let title = format!(
            "daemon \"{}\" is the same engine as \"{name}\", in {}",
            daemon.name.value,
            cx.sources.line(&first.span, &url.span)
        );
        let help = "leave one out, and give the other the `max_containers` of both";
        cx.report(Mistake::new(&url.span, title).also(&first.span, "the same").help(help));
    }
}
