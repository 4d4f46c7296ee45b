//! Who may ask, and change, what.

use axum::body::Body;
use ganger_test_support::unique;

use super::*;

const TCP: Caller = Caller::Tcp(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9));

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let request = Request::builder().method(method).uri(path);
    let named = headers.iter().any(|(name, _)| *name == "host");
    let request = if named { request } else { request.header("host", "127.0.0.1:5455") };
    let all = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    all.body(Body::empty()).unwrap()
}

fn judge(rules: &AccessRules, caller: Caller, request: Request) -> Result<Access, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (gate, (parts, _)) = (Gate::of(rules.clone()), request.into_parts());
    runtime.block_on(gate.judge(caller, &parts))
}

/// The answer to a request: its status, 200 if it passes, and whether it may change something.
fn judged(rules: &AccessRules, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, bool) {
    match judge(rules, TCP, request(method, path, headers)) {
        Ok(access) => (200, access.may_act()),
        Err(problem) => (problem.into_response().status().as_u16(), false),
    }
}

fn with_token() -> AccessRules {
    let path = std::env::temp_dir().join(unique("ganger-admin-token"));
    std::fs::write(&path, "hunter2\n").unwrap();
    AccessRules { token: Some(TokenFile(path)), ..AccessRules::default() }
}

#[test]
fn a_request_has_to_name_this_server() {
    let rules = AccessRules { hosts: vec!["ganger.example.com".into()], ..Default::default() };
    let status = |host| judged(&rules, "GET", "/", &[("host", host)]).0;
    for host in ["localhost", "localhost:5455", "LOCALHOST.", "[::1]:5455", "192.0.2.7:80"] {
        assert_eq!(status(host), 200, "{host}");
    }
    assert_eq!(status("Ganger.Example.com:5455"), 200);
    for host in ["evil.example.com", "evil.example.com:5455", "", "localhost.evil.com", "[evil]"] {
        assert_eq!(status(host), 403, "{host}");
    }
    let bare = Request::builder().uri("/").body(Body::empty()).unwrap();
    assert!(judge(&rules, TCP, bare).is_err(), "without a host");
}

#[test]
fn a_change_has_to_come_from_a_page_of_this_server_or_from_none() {
    let rules = with_token();
    let token = ("authorization", "Bearer hunter2");
    let with = |more: (&str, &str)| judged(&rules, "POST", "/x", &[token, more]);
    assert_eq!(judged(&rules, "POST", "/x", &[token]), (200, true));
    assert_eq!(with(("origin", "http://127.0.0.1:5455")), (200, true));
    assert_eq!(with(("sec-fetch-site", "same-origin")), (200, true));
    assert_eq!(with(("origin", "http://evil.example.com")), (403, false));
    assert_eq!(with(("origin", "null")), (403, false));
    assert_eq!(with(("origin", "http://127.0.0.1:80")), (403, false));
    assert_eq!(with(("sec-fetch-site", "cross-site")), (403, false));
    assert_eq!(with(("sec-fetch-site", "same-site")), (403, false));
    // Pages of others do not get to see the answer: no header allows it.
    let origin = ("origin", "http://evil.example.com");
    assert_eq!(judged(&rules, "GET", "/", &[origin]), (200, false));
}

#[test]
fn the_token_lets_its_owner_change_something() {
    let rules = with_token();
    let with = |shown| judged(&rules, "DELETE", "/x", &[("authorization", shown)]);
    // "any:hunter2", "any:hunter3", "hunter2", and what is no base64.
    assert_eq!(with("Basic YW55Omh1bnRlcjI="), (200, true));
    assert_eq!(with("bearer  hunter2"), (200, true));
    for wrong in
        ["Bearer hunter3", "Bearer", "Basic YW55Omh1bnRlcjM=", "Basic aHVudGVyMg==", "Basic !", "x"]
    {
        assert_eq!(with(wrong), (401, false), "{wrong}");
    }
    assert_eq!(judged(&rules, "GET", "/", &[]), (200, false));
    let rules = AccessRules::default();
    let shown = ("authorization", "Bearer hunter2");
    assert_eq!(judged(&rules, "GET", "/", &[shown]), (200, false), "there is no token");
    let rules = AccessRules { token: Some(TokenFile("/absent".into())), ..Default::default() };
    assert_eq!(judged(&rules, "GET", "/", &[shown]), (500, false));
}

#[test]
fn on_a_public_address_only_health_is_told_without_the_token() {
    let rules = AccessRules { is_public: true, ..with_token() };
    let status = |path, headers: &[_]| judged(&rules, "GET", path, headers);
    assert_eq!(status("/metrics", &[]), (401, false));
    assert_eq!(status("/livez", &[]), (200, false));
    assert_eq!(status("/readyz", &[]), (200, false));
    assert_eq!(status("/readyz/echo", &[]), (401, false));
    assert_eq!(status("/metrics", &[("authorization", "Bearer hunter2")]), (200, true));
    let may_look =
        |headers| judge(&rules, TCP, request("GET", "/readyz", headers)).unwrap().may_look();
    assert!(!may_look(&[]) && may_look(&[("authorization", "Bearer hunter2")]));
    assert!(judge(&with_token(), TCP, request("GET", "/", &[])).unwrap().may_look());
}

#[test]
fn what_a_proxy_passes_on_is_told_without_the_token_as_little_as_at_a_public_address() {
    let by_proxy = |name| [("host", "127.0.0.1:5455"), (name, "192.0.2.7")];
    for name in ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host"] {
        let headers = by_proxy(name);
        for (rules, status) in [(AccessRules::default(), 403), (with_token(), 401)] {
            assert_eq!(
                judged(&rules, "GET", "/api/v1/status", &headers),
                (status, false),
                "{name}"
            );
            assert_eq!(judged(&rules, "GET", "/readyz", &headers), (200, false), "{name}");
        }
    }
}

#[test]
fn whoever_may_write_to_the_socket_may_change_something() {
    let caller = Caller::Socket { uid: Some(0), pid: None };
    let access = judge(&AccessRules::default(), caller, request("POST", "/", &[("host", "x")]));
    assert!(access.unwrap().may_act());
    assert_eq!(caller.to_string(), "uid 0 pid ?");
}

#[tokio::test]
async fn a_token_whose_file_system_is_away_lets_nobody_in_and_holds_up_nobody_else() {
    let tokens = Aside::new(std::time::Duration::from_millis(20));
    let gate = Gate { rules: with_token(), tokens };
    let (go_on, gone_on) = std::sync::mpsc::channel();
    let hangs = move || {
        _ = gone_on.recv();
        Err("late".to_owned())
    };
    assert!(gate.tokens.read(hangs).await.is_none());
    let ask = async |headers: &[(&str, &str)]| {
        let (parts, _) = request("GET", "/", headers).into_parts();
        gate.judge(TCP, &parts).await.map(|access| access.may_act())
    };
    let late = ask(&[("authorization", "Bearer hunter2")]).await.unwrap_err();
    assert_eq!(late.into_response().status().as_u16(), 500);
    assert!(!ask(&[]).await.unwrap(), "whoever shows none does not wait");
    go_on.send(()).unwrap();
}
