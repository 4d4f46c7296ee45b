//! Tests of `include`.

use std::fs;

use ganger_test_support::unique;

use super::*;

/// Loads the first of these files, which may include the others. Paths in messages have no
/// directory.
fn load(files: &[(&str, &str)]) -> Result<Config, String> {
    let dir = std::env::temp_dir().join(unique("ganger-config-include"));
    for (name, text) in files {
        let file = dir.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let loaded = Config::load(&dir.join(files[0].0));
    let shown = format!("{}/", dir.display());
    fs::remove_dir_all(dir).unwrap();
    loaded.map_err(|error| error.to_string().replace(&shown, ""))
}

/// A file that includes these, with such services of its own.
fn main_file(include: &str, rest: &str) -> String {
    format!("(daemons: Static([{DAEMON}]),\ninclude: [{include}],\n{rest})")
}

fn one(name: &str, port: u16, more: &str) -> String {
    format!(
        "(services: {{\"{name}\": (listen: \"127.0.0.1:{port}\", image: \"i:1\", port: 1, {more})}})"
    )
}

#[test]
fn services_of_other_files_are_read_with_those_of_the_first() {
    let main = main_file(
        r#""services/*.ron", "x.ron""#,
        // A path in `defaults` is relative to this file, wherever the service is.
        &format!(
            "defaults: Some((reuse: 7, env_file: \"own.env\")), services: Some({{\"own\": ({SERVICE})}})"
        ),
    );
    let files = [
        ("ganger.ron", &*main),
        ("services/b.ron", &one("b", 2, "env_file: \"b.env\"")),
        ("services/a.ron", &one("a", 3, "reuse: 1")),
        ("services/b.env", "A=b\nB=b\n"),
        ("own.env", "A=own"),
        // A file that an editor left.
        ("services/.a.ron", "("),
        ("x.ron", "\u{feff}#![enable(implicit_some)]\r\n(r#services: Some({}))\r\n"),
    ];
    let config = load(&files).unwrap();
    let read = |s: &Service| (s.name.to_string(), s.policy.reuse, s.spec.env.0.len());
    let expected = [("own".to_owned(), 7, 1), ("a".to_owned(), 1, 1), ("b".to_owned(), 7, 2)];
    assert_eq!(config.services.iter().map(read).collect::<Vec<_>>(), expected);

    // All services may be elsewhere.
    let main = main_file(r#""x.ron""#, "");
    let config = load(&[("ganger.ron", &main), ("x.ron", &one("a", 1, ""))]).unwrap();
    assert_eq!(config.services.len(), 1);
}

#[test]
fn a_mistake_in_an_included_file_is_shown_there() {
    let main = main_file(r#""a.ron", "b.ron""#, &format!("services: {{\"s\": ({SERVICE})}}"));
    let a = "(services: {\n  \"s\": (listen: \"127.0.0.1:2\", image: \"i:1\", port: 0)})";
    let b = one("b", 2, "env_file: \"none.env\"").replace("(services", "(\n\nservices");
    let report = load(&[("ganger.ron", &main), ("a.ron", a), ("b.ron", &b)]).unwrap_err();
    for expected in [
        "error: \"s\" is there already, in line 3 of ganger.ron\n --> a.ron:2:3\n",
        "::: ganger.ron:3:12\n",
        "--> a.ron:2:52\n",
        "cannot listen on 127.0.0.1:2: service \"s\" listens on 127.0.0.1:2, in line 2 of a.ron\n --> b.ron:3:26\n",
        "error: cannot use none.env",
        "4 mistakes in 2 files",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
}

#[test]
fn what_cannot_be_included_is_told_of_where_it_is_named() {
    let title = |include: &str, other: &str| {
        let main = main_file(include, "");
        let report = load(&[("ganger.ron", &main), ("d/a.ron", other)]).unwrap_err();
        let count = report.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(count, 1, "{report}");
        report.lines().next().unwrap().to_owned()
    };
    let fine = &one("a", 1, "");
    for (include, other, expected) in [
        (r#""d/b.ron""#, &**fine, "cannot include d/b.ron: No such file or directory (os error 2)"),
        (r#""d""#, fine, "cannot include d: Is a directory (os error 21)"),
        (r#""d/a[.ron""#, fine, "\"d/a[.ron\" is not a pattern: invalid range pattern"),
        (r#""d/*.ron", "e/*.ron""#, fine, "\"e/*.ron\" matches no file"),
        (r#""d/*.ron", "d/a.ron""#, fine, "d/a.ron is included already"),
        (r#""*.ron", "d/a.ron""#, fine, "ganger.ron would include itself"),
        (
            r#""d/a.ron""#,
            &fine.replace("(services", "(daemons: [], services"),
            "unknown setting `daemons` of an included file",
        ),
        (
            r#""d/a.ron""#,
            "(services: [])",
            "expected a map of services `{\"echo\": (listen: …, image: …, port: …)}`, found a list `[ ]`",
        ),
        (r#""d/a.ron""#, "", "the file is empty"),
        (r#""d/a.ron""#, "(services: {", "the file ends before this bracket is closed"),
        (r#""d/a.ron", 5"#, fine, "expected text in quotes, found a number"),
    ] {
        assert_eq!(title(include, other), format!("error: {expected}"), "{include}");
    }
}
