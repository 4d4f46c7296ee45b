//! The reference in docs/ and the file that `ganger init` prints are what the table of keys says.

use std::fmt::Write;
use std::fs;

use ganger_test_support::assert_generated;

use super::*;
use crate::config::keys::{Row, Without};
use crate::config::read::TOP_ROWS;
use crate::config::reference::{GROUPS, groups};
use crate::config::service::SERVICE_ROWS;

#[track_caller]
fn assert_file(path: &str, expected: &str) {
    assert_generated(env!("CARGO_MANIFEST_DIR"), path, "the table of keys", expected);
}

/// A file of docs/ with its tables of keys made anew. Each begins after a line with its name.
#[track_caller]
fn assert_tables(path: &str, tables: &[(&str, &[Row])]) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mut expected = text;
    for (name, rows) in tables {
        let begin = format!("<!-- keys of {name}: made from the tables of src/config -->\n");
        let end = "<!-- end of keys -->";
        let (before, rest) = expected.split_once(&begin).expect(name);
        let (_, after) = rest.split_once(end).expect(name);
        let mut table = "| key | takes | default | |\n| --- | --- | --- | --- |\n".to_owned();
        for row in *rows {
            tell(row, 0, &mut table);
        }
        expected = format!("{before}{begin}{table}{end}{after}");
    }
    assert_file(path, &expected);
}

/// The lines of a table that tell of a key and of those in it.
fn tell(row: &Row, depth: usize, table: &mut String) {
    let without = match row.without {
        Without::Refused => "required".to_owned(),
        Without::Default(_) if row.is_struct() => format!("`{}`", row.shown()),
        Without::Default(default) => format!("`{default}`"),
        Without::Nothing(what) => what.to_owned(),
    };
    let Row { name, what, about, more, within, .. } = row;
    let indent = "&nbsp; ".repeat(depth);
    let text = format!("{about} {more}");
    writeln!(table, "| {indent}`{name}` | {what} | {without} | {} |", text.trim_end()).unwrap();
    for row in *within {
        tell(row, depth + 1, table);
    }
}

#[test]
fn the_reference_says_what_the_table_of_keys_says() {
    let configuration: Vec<_> = [("a configuration", TOP_ROWS)].into_iter().chain(GROUPS).collect();
    assert_tables("docs/configuration.md", &configuration);
    let discovery: Vec<_> = groups().skip(GROUPS.len()).collect();
    assert_tables("docs/discovery.md", &discovery);
}

#[test]
fn the_file_to_start_from_says_what_the_table_of_keys_says() {
    assert_file("config/ganger.ron", &Config::default_text());
}

#[test]
fn what_is_shown_of_a_key_is_a_value_that_it_takes() {
    for row in SERVICE_ROWS.iter().filter(|row| row.without != Without::Refused) {
        let text = format!("{}: {}", row.name, row.shown());
        let text = match row.name {
            "overdue_after" => format!("{text}, timeouts: (session: \"1h\")"),
            // Both read files, which are not there.
            "env_file" | "secrets" => continue,
            _ => text,
        };
        let read = service(&text);
        if let Without::Default(default) = row.without
            && row.example.is_empty()
        {
            assert_eq!(read, service(""), "{} without it is {default}", row.name);
        }
    }
}

#[test]
fn the_example_for_those_who_come_from_0_x_is_in_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coming-from-0.x.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, example) = text.split_once("```ron\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let config = Config::parse(example, "docs/coming-from-0.x.md").unwrap();
    assert_eq!(config.services[0].policy.warm, 0);
}
