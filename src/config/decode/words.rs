//! How names are put into sentences.

/// Names for a sentence: `a`, `b` and `c`.
pub(in crate::config) fn listed(names: &[&str], last_word: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {last_word} {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "none".to_owned(),
    }
}

/// The known name that was likely meant.
pub(crate) fn similar<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let found = plain(found);
    let slips = |name: &str| strsim::damerau_levenshtein(&found, &plain(name));
    let best = known.iter().copied().min_by_key(|name| slips(name))?;
    (slips(best) <= (found.chars().count() / 3).max(1)).then_some(best)
}

/// A part of the file in a sentence: text has its quotes already.
pub(in crate::config) fn quoted(text: &str) -> String {
    if text.starts_with('"') { text.to_owned() } else { format!("`{text}`") }
}
