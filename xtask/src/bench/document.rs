//! docs/benchmarks.md: one section for each part.

use std::fs;
use std::io;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::BenchPart;
use crate::command;

/// Puts the section of a part in the place of the one before.
pub(super) fn keep(part: BenchPart, section: &str) -> Result<()> {
    let path = command::root().join("docs/benchmarks.md");
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    };
    let before = before.with_context(|| path.display().to_string())?;
    fs::write(&path, with(&before, part, section)).with_context(|| path.display().to_string())
}

/// A document with another section. Sections that belong to no part go.
fn with(document: &str, part: BenchPart, section: &str) -> String {
    let lines: Vec<_> = document.lines().collect();
    let own = |wanted: &BenchPart| {
        let first = lines.iter().position(|line| *line == wanted.heading())?;
        let next = lines[first + 1..].iter().position(|line| line.starts_with("# "));
        let end = next.map_or(lines.len(), |next| first + 1 + next);
        Some(lines[first..end].join("\n"))
    };
    let sections = BenchPart::value_variants().iter().filter_map(|wanted| {
        let text = if *wanted == part { Some(section.to_owned()) } else { own(wanted) };
        text.map(|text| text.trim().to_owned())
    });
    sections.collect::<Vec<_>>().join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay_in_order() {
        let before = "# Time to the first byte\n\nold\n\n# Targets\n\nno part\n\n# Stocks\n\n```text\necho: 7\n```\n";
        let after = with(before, BenchPart::Cells, "# Cells\n\nnew\n");
        let [first, stocks] =
            ["# Time to the first byte\n\nold\n", "# Stocks\n\n```text\necho: 7\n```\n"];
        assert_eq!(after, format!("{first}\n# Cells\n\nnew\n\n{stocks}"));
        let again = with(&after, BenchPart::FirstByte, "# Time to the first byte\n\nnew\n\n");
        assert_eq!(again, format!("# Time to the first byte\n\nnew\n\n# Cells\n\nnew\n\n{stocks}"));
    }
}
