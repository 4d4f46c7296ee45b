//! `ganger check --format json`, for programs.

use serde_json::{Value, json};

use super::{Dir, NOWHERE, absent};

fn array(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn mistakes_are_told_to_programs_with_their_places() {
    let dir = Dir::new();
    let bad = dir.write("bad.ron", "(\n  daemons: Static([]),\n  servces: {},\n)\n");
    let checked = dir.ganger(&["check", "--format", "json", &bad]);
    assert_eq!((checked.code, checked.err.as_str()), (Some(3), ""), "{checked:#?}");
    let found = array(&checked.out);
    let misspelt = found.iter().find(|one| one["line"] == 3).unwrap();
    let place = ["severity", "file", "line", "column"].map(|key| misspelt[key].clone());
    assert_eq!(place, [json!("error"), json!(bad), json!(3), json!(3)]);
    assert!(misspelt["message"].as_str().unwrap().contains("servces"), "{misspelt}");
    assert!(misspelt["help"].as_str().unwrap().contains("services"), "{misspelt}");
    // All of them, also those that the text has.
    let text = dir.ganger(&["check", &bad]).err;
    for one in &found {
        assert!(text.contains(one["message"].as_str().unwrap()), "{one} is not in {text}");
    }
    assert!(text.contains(&format!("{} mistake", found.len())), "{text}");
}

#[test]
fn a_file_in_order_has_nothing_to_tell() {
    let dir = Dir::new();
    let good = dir.write("good.ron", &absent("json").to_string());
    let checked = dir.ganger(&["check", &good, "--format", "json"]);
    assert_eq!((checked.code, checked.out.as_str()), (Some(0), "[]\n"), "{checked:#?}");
    let online = dir.ganger(&["check", "--online", &good, "--format", "json"]);
    let found = array(&online.out);
    assert_eq!((online.code, found.len()), (Some(4), 1), "{online:#?}");
    let message = found[0]["message"].as_str().unwrap();
    assert!(message.starts_with("local: error: "), "{message}");
    assert!(message.contains(NOWHERE.trim_start_matches("unix://")), "{message}");
    assert_eq!((&found[0]["severity"], &found[0]["file"]), (&json!("error"), &Value::Null));
}

#[test]
fn a_file_that_is_not_there_is_told_as_well() {
    let dir = Dir::new();
    let checked = dir.ganger(&["check", "--format", "json", "no.ron"]);
    let found = array(&checked.out);
    assert_eq!((checked.code, found.len(), &found[0]["file"]), (Some(3), 1, &json!("no.ron")));
    assert_eq!(found[0]["line"], Value::Null);
    let empty = Dir::new();
    let checked = empty.ganger(&["check", "--format", "json"]);
    // There may be one in /etc.
    if checked.code == Some(3) {
        let found = array(&checked.out);
        assert!(found[0]["message"].as_str().unwrap().contains("ganger init"), "{found:?}");
    }
}
