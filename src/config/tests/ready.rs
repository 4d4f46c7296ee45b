//! Tests of what shows that a container can serve.

use super::*;
use crate::spec::Healthcheck;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn every_sign_of_readiness_is_read() {
    let http = |path: &str, status| Ready::Http { path: path.to_owned(), status };
    let log = |times| Ready::Log { text: "up".to_owned(), times };
    for (ready, expected) in [
        (r#"Banner("SSH-")"#, Ready::Banner(b"SSH-".into())),
        (r#"Http("/health")"#, http("/health", 200)),
        (r#"Http("/", 204)"#, http("/", 204)),
        (r#"Http(path: "/a?b=%20c", status: 503)"#, http("/a?b=%20c", 503)),
        (r#"Http("/", status: 301)"#, http("/", 301)),
        (r#"Log("up")"#, log(1)),
        (r#"Log("up", times: 2)"#, log(2)),
        (r#"Log(times: 3, text: "up")"#, log(3)),
        (r#"Exec(["pg_isready", "", "-q"])"#, Ready::Exec(words(&["pg_isready", "", "-q"]))),
        ("Started", Ready::Started),
    ] {
        assert_eq!(service(&format!("ready: {ready}")).spec.ready, expected, "{ready}");
    }
}

#[test]
fn a_check_of_health_is_the_image_s_as_far_as_nothing_else_is_said() {
    let check = |settings: &str| match service(&format!("ready: Healthcheck{settings}")).spec.ready
    {
        Ready::Healthcheck(check) => check,
        other => panic!("{other:?}"),
    };
    assert_eq!(check(""), Healthcheck::default());
    assert_eq!(check("()"), Healthcheck::default());
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(
        check(r#"(timeout: "2s", retries: 9)"#),
        Healthcheck { timeout: seconds(2), retries: Some(9), ..Healthcheck::default() }
    );
    assert_eq!(
        check(
            r#"(test: ["CMD-SHELL", "a | b"], interval: "1s", timeout: "3s", retries: 4,
            start_period: "5s")"#
        ),
        Healthcheck {
            test: Some(words(&["CMD-SHELL", "a | b"])),
            interval: seconds(1),
            timeout: seconds(3),
            retries: Some(4),
            start_period: seconds(5),
        }
    );
    // Engines would wait longer for the first run than a container has time to get ready.
    for test in [r#"["/check", "-q"]"#, r#"["CMD", "/check", "-q"]"#] {
        let test = check(&format!("(test: {test})"));
        assert_eq!(test.test, Some(words(&["CMD", "/check", "-q"])));
        assert_eq!(test.interval, seconds(5));
    }
}

#[test]
fn signs_of_readiness_that_make_no_sense() {
    for (settings, title) in [
        ("Exec", r#"`Exec` takes one value in brackets, a list such as ["pg_isready", "-q"]"#),
        ("Exec([])", "this command is empty"),
        (r#"Exec([""])"#, "this text is empty"),
        (r#"Exec("a b")"#, r#"expected a list such as ["pg_isready", "-q"], found text"#),
        ("Http", "`Http` lacks `path`"),
        (r#"Http("health")"#, r#""health" is not a path: start it with `/`"#),
        (r#"Http("http://a/")"#, r#""http://a/" is not a path: start it with `/`"#),
        (r#"Http("/a b")"#, "' ' cannot be in a path as it is"),
        (r#"Http("/", 99)"#, "99 is too small: at least 200"),
        (r#"Http("/", status: 600)"#, "600 is too large: at most 599"),
        (r#"Http("/", "OK")"#, "expected an HTTP status such as 200, found text"),
        (r#"Http("/", 200, 1)"#, "the name of a setting of `Http` is missing before this"),
        (r#"Http("/", path: "/")"#, "`path` is there already, in line 1"),
        (r#"Http("/", code: 1)"#, "unknown setting `code` of `Http`"),
        (r#"Log("")"#, "this text is empty"),
        ("Log", "`Log` lacks `text`"),
        (r#"Log("a", times: 0)"#, "0 is too small: at least 1"),
        (r#"Log("a", 2)"#, "the name of a setting of `Log` is missing before this"),
        (r#"Log("a", time: 2)"#, "unknown setting `time` of `Log`"),
        ("Healthcheck(test: [])", "this command is empty"),
        (r#"Healthcheck(test: ["NONE"])"#, "this switches the check off"),
        (r#"Healthcheck(test: ["CMD"])"#, r#"there is nothing to run after "CMD""#),
        (
            r#"Healthcheck(test: ["CMD-SHELL", "a", "b"])"#,
            r#""CMD-SHELL" takes one line for the shell"#,
        ),
        ("Healthcheck(retries: 0)", "0 is too small: at least 1"),
        (r#"Healthcheck(timeout: "10us")"#, "`timeout` is shorter than 1ms, which no engine takes"),
        (r#"Healthcheck(period: "1s")"#, "unknown setting `period` of `Healthcheck`"),
        ("Healthcheck(1)", "the name of a setting of `Healthcheck` is missing before this"),
        (
            r#"Healthcheck(interval: "30s")"#,
            "health is checked first after 30s, and a container has 30s to get ready in",
        ),
        (
            r#"Healthcheck(test: ["a"]), timeouts: (start: "5s")"#,
            "health is checked first after 5s, and a container has 5s to get ready in",
        ),
        (
            "Htpp",
            "unknown variant `Htpp`: expected `Tcp`, `Banner`, `Exchange`, `Http`, \
                  `Healthcheck`, `Log`, `Exec` or `Started`",
        ),
    ] {
        refused(&with(&format!("ready: {settings}")), title);
    }
}
