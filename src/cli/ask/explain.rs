//! `ganger explain N`: what became of one connection.

use super::table::{Grid, Shown};
use super::words::took;
use crate::admin::{SessionTimeline, TimelineStep};

/// The timeline, for people.
pub(super) fn text(timeline: &SessionTimeline, _wide: bool) -> String {
    let SessionTimeline { id, service, client, accepted, steps, .. } = timeline;
    // Details are never cut, whatever their length.
    let table = Grid::new(true)
        .with("AFTER", Shown::Always, steps, |step: &TimelineStep| took(step.after_seconds))
        .with("WHAT", Shown::Always, steps, |step: &TimelineStep| step.detail.clone());
    format!("connection {id} of {service}, from {client}, at {accepted}\n\n{}", table.lines())
}
