//! The table of faults.

use std::fs;

use super::source::{assert_none, root};

/// The cells of the table of faults, row by row.
fn faults() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    let rows = rows.filter(|line| !line.starts_with("| ---"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect())
        .collect()
}

/// Whether a file has a function of this name with an attribute that makes it a test.
fn is_test(file: &str, name: &str) -> bool {
    let Some((before, _)) = file.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let mut attributes =
        before.rsplit('\n').skip(1).take_while(|line| line.trim().starts_with('#'));
    attributes.any(|line| line.contains("test]") || line.contains("test("))
}

#[test]
fn every_fault_names_tests_that_exist_or_says_that_there_is_none() {
    let (rows, mut problems, mut last) = (faults(), Vec::new(), 0);
    for row in &rows {
        // Numbers stay as they are, whatever is added or taken out.
        let number: u32 = row[0].parse().unwrap();
        assert!(number > last && row.len() == 5, "after {last}: {row:?}");
        last = number;
        let (mut file, mut tests) = (String::new(), 0);
        // Every second part is in backquotes.
        for name in row[3].split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                file = fs::read_to_string(root().join(name)).unwrap_or_default();
                continue;
            }
            tests += 1;
            if !is_test(&file, name) {
                problems.push(format!("{number}: {name}"));
            }
        }
        if (tests == 0) != (row[3] == "no test") || (tests == 0 && row[4].is_empty()) {
            problems.push(format!("{number}: neither a test nor a reason why there is none"));
        }
    }
    assert!(rows.len() > 40, "only {} rows", rows.len());
    assert_none(&problems, "tests that docs/faults.md names and that are not there");
}
