//! The reference of keys as JSON.

use serde::Serialize;

use crate::config::KeyReference;

/// A description of the file, for its readers.
const ABOUT: &str = "The keys of a configuration of Ganger, which is written in RON. This is no JSON \
                     Schema: RON has structs, maps, words and optional values that one cannot describe. \
                     `ganger check --format json` says whether a file is in order.";

/// The reference with its description and version.
#[derive(Serialize)]
struct Document {
    about: &'static str,
    version: &'static str,
    #[serde(flatten)]
    reference: KeyReference,
}

/// The reference, as text.
pub(super) fn reference() -> serde_json::Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let document = Document { about: ABOUT, version, reference: KeyReference::new() };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}
