//! Settings for all services, told once: `defaults`.

use super::decode::{Cx, Decode};
use super::report::Mistake;
use super::service::SERVICE_ROWS;
use super::tree::{Item, Node, Shape};

/// Keys that `defaults` cannot have.
const OWN: [&str; 1] = ["listen"];

/// A marker: the settings are read with the services that have them.
#[derive(Clone, PartialEq)]
pub(super) struct Defaults;

impl Decode for Defaults {
    const WHAT: &'static str = "settings of a service such as (reuse: 9, warm: 2)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known: Vec<_> =
            SERVICE_ROWS.iter().map(|row| row.name).filter(|name| !OWN.contains(name)).collect();
        if let Shape::Struct { items, .. } = &node.shape {
            for key in items.iter().filter_map(|item| item.key.as_ref()) {
                let own = OWN.iter().find(|own| **own == cx.source(&key.span));
                if let Some(own) = own {
                    let title = format!("`{own}` is each service's own, and no default");
                    cx.report(Mistake::new(&key.span, title).help("move it into the services"));
                }
            }
        }
        cx.fields(node, "`defaults`", |f| {
            f.names(&known);
            f.names(&OWN);
        })?;
        Some(Self)
    }
}

/// Gives each service the settings of `defaults` that it does not have itself.
pub(super) fn spread(text: &str, file: &mut Node) {
    let Shape::Struct { items, .. } = &mut file.shape else { return };
    let Some(defaults) = items.iter().find(|item| item.is_named("defaults", text)) else { return };
    let Shape::Struct { items: defaults, .. } = &defaults.value.unwrapped(text).shape else {
        return;
    };
    let own = |item: &&Item| !OWN.iter().any(|own| item.is_named(own, text)) && known(text, item);
    let defaults: Vec<_> = defaults.iter().filter(own).cloned().collect();
    let Some(services) = items.iter_mut().find(|item| item.is_named("services", text)) else {
        return;
    };
    let Shape::Map(services) = services.value.shape_mut(text) else { return };
    for (_, service) in services {
        let Shape::Struct { items, .. } = service.shape_mut(text) else { continue };
        let has = |default: &&Item| {
            let name = default.key.as_ref().map(|key| &text[key.span.clone()]);
            !items.iter().any(|item| item.key.as_ref().map(|key| &text[key.span.clone()]) == name)
        };
        let more: Vec<_> = defaults.iter().filter(has).cloned().collect();
        items.extend(more);
    }
}

/// Whether it is a setting of services: others are reported where they are, once.
fn known(text: &str, item: &Item) -> bool {
    let name = item.key.as_ref().map(|key| &text[key.span.clone()]);
    SERVICE_ROWS.iter().any(|row| Some(row.name) == name)
}
