//! The file to start from, made of the table of keys.

use super::keys::{Row, Without};
use super::read::TOP_ROWS;

/// The longest line of it, but for values.
const WIDTH: usize = 96;
/// Set in it, beside what has to be there.
const SET: [&str; 4] = ["reuse", "warm", "max", "privileges"];
const HEAD: &str = "\
// The configuration of Ganger. `ganger check` says whether it is in order,
// `ganger run` runs it. A key that is commented out shows its default, or an
// example if it has none.
//
// Times are written \"50ms\", \"30s\", \"10m\", \"1h 30m\"; sizes \"64KiB\", \"512MiB\".
#![enable(implicit_some)]
(
";

/// The commented file to start from.
pub(super) fn start() -> String {
    let mut file = HEAD.to_owned();
    settings(TOP_ROWS, "    ", &mut file);
    file.push_str(")\n");
    file
}

/// Keys of one struct, with an empty line between them.
fn settings(rows: &[Row], indent: &str, file: &mut String) {
    for (at, row) in rows.iter().enumerate() {
        file.push_str(if at == 0 { "" } else { "\n" });
        comment(row.about, indent, file);
        let (open, close) = match row.name {
            "daemons" => ("    daemons: Static([\n        (\n", "        ),\n    ]),\n"),
            "services" => ("    services: {\n        \"echo\": (\n", "        ),\n    },\n"),
            _ => {
                setting(row, indent, file);
                continue;
            }
        };
        file.push_str(open);
        settings(row.within, "            ", file);
        file.push_str(close);
    }
}

/// Lines of a comment. Each line begins with `indent`.
fn comment(text: &str, indent: &str, file: &mut String) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + 3 + line.len() + 1 + word.len() > WIDTH {
            file.push_str(&format!("{indent}// {line}\n"));
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    file.push_str(&format!("{indent}// {line}\n"));
}

/// A key, which is commented out unless it has to be there or is one of [`SET`].
fn setting(row: &Row, indent: &str, file: &mut String) {
    let is_set = row.without == Without::Refused || SET.contains(&row.name);
    let indent = if is_set { indent.to_owned() } else { format!("{indent}// ") };
    if !row.is_struct() {
        return value(row, &indent, file);
    }
    file.push_str(&format!("{indent}{}: (\n", row.name));
    for part in row.within {
        let inner = format!("{indent}    ");
        comment(part.about, &inner, file);
        match part.without {
            // The others have their defaults there.
            Without::Nothing(_) => value(part, &format!("{inner}// "), file),
            _ => value(part, &inner, file),
        }
    }
    file.push_str(&format!("{indent}),\n"));
}

/// The line with a key and a value, and with what holds without it where that is no value.
fn value(row: &Row, indent: &str, file: &mut String) {
    let without = match row.without {
        Without::Nothing(without) => format!("  // {without}"),
        _ => String::new(),
    };
    file.push_str(&format!("{indent}{}: {},{without}\n", row.name, row.shown()));
}
