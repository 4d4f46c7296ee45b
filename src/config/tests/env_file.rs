//! Tests of `env_file`.

use std::fs;

use ganger_test_support::unique;

use super::*;

/// A service with a file of variables that holds this.
fn with_file(held: &str, settings: &str) -> Result<Service, String> {
    let dir = std::env::temp_dir().join(unique("ganger-config-env"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("service.env"), held).unwrap();
    let path = dir.join("ganger.ron");
    fs::write(&path, with(&format!("env_file: \"service.env\", {settings}"))).unwrap();
    let loaded = Config::load(&path);
    fs::remove_dir_all(dir).unwrap();
    loaded.map(|mut config| config.services.remove(0)).map_err(|error| error.to_string())
}

#[test]
fn variables_come_from_a_file_and_those_of_the_service_go_before_them() {
    let held = "# comment\n\nUSER=a\n  PASSWORD=hunter2=\"x\" \nEMPTY=\n";
    let service = with_file(held, r#"env: {"USER": "b", "MORE": "c"}"#).unwrap();
    let env: Vec<_> = service.spec.env.0.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [("USER", "b"), ("PASSWORD", "hunter2=\"x\" "), ("EMPTY", ""), ("MORE", "c")];
    assert_eq!(env, expected);
    assert!(!format!("{service:?}").contains("hunter2"));
    let other = with_file("USER=c\n", r#"env: {"USER": "b", "MORE": "c"}"#).unwrap();
    assert_eq!(service.values.differing(&other.values), ["env_file"]);
}

#[test]
fn what_is_wrong_with_a_file_of_variables_is_said_and_no_line_of_it() {
    for (held, why) in [
        ("A=1\nhunter2\n", "line 2 is not KEY=value"),
        ("=hunter2", "line 1 is not KEY=value"),
        ("A B=hunter2", "line 1 is not KEY=value"),
    ] {
        let report = with_file(held, "").unwrap_err();
        assert!(report.contains(why) && !report.contains("hunter2"), "{report}");
    }
    let report = Config::parse(&with("env_file: \"/nowhere/x.env\""), "t").unwrap_err().to_string();
    assert!(report.contains("cannot use /nowhere/x.env: No such file or directory"), "{report}");
}
