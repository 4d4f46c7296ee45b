//! Tests of `secrets`.

use std::fs;

use ganger_test_support::unique;

use super::*;

/// A service with these settings, beside a file `key` that holds this.
fn with_key(held: &[u8], settings: &str) -> Result<Service, String> {
    let dir = std::env::temp_dir().join(unique("ganger-config-secrets"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("key"), held).unwrap();
    let path = dir.join("ganger.ron");
    fs::write(&path, with(settings)).unwrap();
    let loaded = Config::load(&path);
    fs::remove_dir_all(dir).unwrap();
    loaded.map(|mut config| config.services.remove(0)).map_err(|error| error.to_string())
}

#[test]
fn secrets_are_read_and_not_shown() {
    let service = with_key(b"hunter2\n\xff", r#"secrets: {"db.key": "key"}"#).unwrap();
    let expected = [("db.key".to_owned(), b"hunter2\n\xff".to_vec())];
    assert!(service.spec.secrets.0.iter().map(|(k, v)| (k.clone(), v.clone())).eq(expected));
    let shown = format!("{service:?}");
    assert!(shown.contains("db.key") && !shown.contains("hunter2") && !shown.contains("104, 117"));
    let other = with_key(b"hunter3", r#"secrets: {"db.key": "key"}"#).unwrap();
    assert_eq!(service.values.differing(&other.values), ["secrets"]);
}

#[test]
fn what_is_wrong_with_secrets_is_said() {
    let large = vec![b'x'; (500 << 10) + 1];
    for (held, settings, why) in [
        (&b"x"[..], r#"secrets: {"a": "none"}"#, "none: No such file or directory"),
        (b"x", r#"secrets: {"a": "."}"#, "it is no regular file"),
        (&large, r#"secrets: {"a": "key"}"#, "key is larger than 500.0 KiB"),
        (b"x", r#"secrets: {"a/b": "key"}"#, "'/' cannot be in a name"),
        (b"x", r#"secrets: {"a": "key", "a": "key"}"#, "\"a\" is there already"),
        (
            b"x",
            r#"secrets: {"a": "key"}, tmpfs: {"/run/secrets/": ""}"#,
            "/run/secrets has the files of `secrets`, and nothing else",
        ),
        (
            b"x",
            r#"secrets: {"a": "key"}, volumes: {"/run/secrets/b": "v"}"#,
            "/run/secrets has the files of `secrets`, and nothing else",
        ),
        (b"x", r#"secrets: {"a": "/dev/null"}"#, "cannot use /dev/null: it is no regular file"),
        (
            b"x",
            r#"secrets: {"a": "key"}, overdue_after: "2h", timeouts: (session: "1h")"#,
            "`secrets` does not go with `overdue_after`",
        ),
    ] {
        let report = with_key(held, settings).unwrap_err();
        assert!(report.contains(why) && report.contains("1 mistake in"), "{why}\n{report}");
    }
}
