//! The screen as text, and what keys do.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::dialog::KeyReply;
use super::draw::draw;
use super::follow::{Outlook, Update};
use super::model::TopState;
use super::rows::Pane;
use crate::admin::Happening;

fn service(name: &str, state: &str, waiting: u32) -> Value {
    json!({
        "name": name, "state": state, "reason": null, "generation": 1, "target": 2, "max": 16,
        "is_scaled": name == "web", "deadline_seconds": null,
        "containers": {"starting": 1, "ready": 2, "leased": 3, "checking": 0, "unknown": 0,
                       "stopping": 0},
        "waiting": waiting, "oldest_wait_seconds": (waiting > 0).then_some(2.0),
        "wait": {"p50_seconds": 0.0003, "p99_seconds": 0.0021}, "first_byte": null,
        "leases": {"warm": 9, "reused": 0, "cold": 4}, "refused": {"full": 5}, "rollout": null,
        "last_error": null
    })
}

fn daemon(state: &str) -> Value {
    json!({
        "name": "local", "state": state, "reason": null, "capacity": 20, "tier": 0,
        "engine": "26.1", "deadline_seconds": null,
        "containers": {"starting": 1, "ready": 2, "leased": 3, "checking": 0, "unknown": 0,
                       "stopping": 0},
        "launches": 1, "launch_limit": 4, "start_seconds": 0.31, "last_error": "no space",
        "strays": 0, "others": 2
    })
}

fn seen(daemon_state: &str) -> Update {
    let status = json!({
        "about": {"version": "0.1.0", "instance": "edge-1", "boot": "b", "pid": 7,
                  "uptime_seconds": 65.0, "stopping": false, "may_act": true},
        "services": [service("echo", "ready", 0), service("web", "refusing", 3)],
        "daemons": [daemon(daemon_state)], "sessions": 1, "sessions_max": 4000
    });
    let sessions = json!([{
        "id": 17, "service": "echo", "client": "192.0.2.1:5000", "age_seconds": 3.0,
        "container": "0123456789abcdef", "daemon": "local", "uses": 1, "in_bytes": 3500,
        "out_bytes": 12
    }]);
    let container = |launch: u64, state: &str| {
        json!({
            "launch": launch, "id": null, "service": "echo", "generation": 1, "daemon": "local",
            "state": state, "state_seconds": 1.0, "age_seconds": 2.0, "uses": 0,
            "retire_reason": null
        })
    };
    let containers = json!([container(9, "ready"), container(10, "leased")]);
    Update::Seen(Box::new(Outlook {
        status: serde_json::from_value(status).unwrap(),
        sessions: serde_json::from_value(sessions).unwrap(),
        containers: serde_json::from_value(containers).unwrap(),
    }))
}

fn state() -> TopState {
    let mut state = TopState::default();
    state.update(seen("up"));
    for (id, kind) in [(1, "contact-made"), (2, "launch-failed")] {
        let happening = Happening::new(kind, id == 2, Some("why".to_owned()));
        let at = format!("2026-11-29T15:20:0{id}.123Z");
        state.update(Update::Happened(Happening { id, at, ..happening }));
    }
    state
}

/// The screen, without spaces at the ends of its lines.
fn screen(state: &TopState) -> String {
    let mut terminal = Terminal::new(TestBackend::new(100, 9)).unwrap();
    terminal.draw(|frame| draw(frame, state, true)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row: usize| {
        let cells = buffer.content()[row * 100..][..100].iter();
        cells.map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    (0..9).map(line).collect::<Vec<_>>().join("\n")
}

fn typed(state: &mut TopState, keys: &str) -> KeyReply {
    let mut reply = KeyReply::Nothing;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            key => KeyCode::Char(key),
        };
        reply = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    reply
}

#[test]
fn the_screen_shows_each_pane() {
    let mut state = state();
    assert_eq!(
        screen(&state),
        "\
ganger 0.1.0, edge-1, pid 7, up 1m 5s, 1 session
 1 services  2 daemons  3 sessions  4 containers  5 events
SERVICE  STATE     READY  LEASED  STARTING  MAX  WAITING     WAIT p50/p99  COLD  REFUSED
echo     ready     2/2    3       1         16   0           0.3ms/2.1ms   4     5
web      refusing  2/2*   3       1         16   3 for 2.0s  0.3ms/2.1ms   4     5



q quit  ? help  / filter  < > r sort  d drain  s scale  R roll  c cut  x retire"
    );
    for (key, line) in [
        (
            "2",
            "local   up     6           3       2       20        1/4       310ms  26.1    no space",
        ),
        ("3", "17  echo     192.0.2.1:5000  0123456789ab  local   3s   3.4K  12"),
        ("4", "9       -          echo     local   ready   1s   2s   0     -"),
        ("5", "15:20:02  launch-failed         why"),
    ] {
        typed(&mut state, key);
        assert_eq!(screen(&state).lines().nth(3), Some(line));
    }
    typed(&mut state, "\t?");
    assert_eq!(state.pane, Pane::Services);
    assert!(screen(&state).contains("sort by the column"));
}

#[test]
fn lines_are_filtered_sorted_and_selected() {
    let mut state = state();
    let keys = |state: &TopState| state.rows().into_iter().map(|row| row.key).collect::<Vec<_>>();
    typed(&mut state, "/WE");
    assert!(screen(&state).contains("/WE_"));
    typed(&mut state, "\n");
    assert_eq!(keys(&state), ["web"]);
    typed(&mut state, "\x1b4");
    // Numbers are sorted as such, and not as texts.
    typed(&mut state, ">");
    assert_eq!(keys(&state), ["9", "10"]);
    typed(&mut state, "r");
    assert_eq!(keys(&state), ["10", "9"]);
    assert!(screen(&state).contains("LAUNCH▼"));
    typed(&mut state, "j");
    assert_eq!(state.selected().unwrap().key, "9");
    // The selection stays with its line, wherever that is.
    typed(&mut state, "r");
    assert_eq!(state.selected().unwrap().key, "9");
    typed(&mut state, "<");
    assert!(screen(&state).contains("REASON▲"));
}

#[test]
fn orders_are_given_once_they_are_agreed_to() {
    let mut state = state();
    let order = |reply| match reply {
        KeyReply::Order(order) => (order.path, order.body),
        other => panic!("{other:?}"),
    };
    assert_eq!(typed(&mut state, "d"), KeyReply::Nothing);
    assert!(screen(&state).contains("drain service echo? [y/N]"));
    assert_eq!(typed(&mut state, "nd\x1b"), KeyReply::Nothing);
    assert_eq!(state.dialog, None);
    let drained = ("/api/v1/services/echo/state".to_owned(), Some(json!({"state": "drain"})));
    assert_eq!(order(typed(&mut state, "dy")), drained);
    state.update(seen("maint"));
    let used = ("/api/v1/daemons/local/state".to_owned(), Some(json!({"state": "ready"})));
    assert_eq!(order(typed(&mut state, "2dy")), used);
    let scaled = ("/api/v1/services/web/scale".to_owned(), Some(json!({"warm": 4, "max": 20})));
    assert_eq!(typed(&mut state, "1js/\n"), KeyReply::Nothing);
    assert!(state.dialog.is_some(), "a number is wanted");
    assert_eq!(order(typed(&mut state, "\x1bs4/20\n")), scaled);
    let rolled = ("/api/v1/services/web/roll".to_owned(), Some(json!({})));
    assert_eq!(order(typed(&mut state, "Ry")), rolled);
    assert_eq!(order(typed(&mut state, "3cy")), ("/api/v1/sessions/17".to_owned(), None));
    let retired = ("/api/v1/containers/9/retire".to_owned(), Some(json!({})));
    assert_eq!(order(typed(&mut state, "4xy")), retired);
    typed(&mut state, "c");
    assert!(screen(&state).ends_with("`c` is for sessions (3)"));
    assert_eq!(typed(&mut state, "q"), KeyReply::Quit);
}

#[test]
fn lost_contact_is_shown_until_there_is_an_answer() {
    let mut state = state();
    state.update(Update::Lost("gone".to_owned()));
    let since = state.lost.as_ref().unwrap().0;
    state.update(Update::Lost("still gone".to_owned()));
    assert_eq!(state.lost.as_ref().unwrap().0, since);
    assert!(screen(&state).starts_with("no contact for 0s, trying again: still gone"));
    assert!(screen(&state).contains("echo     ready"), "what is known is still shown");
    state.update(seen("up"));
    assert!(screen(&state).starts_with("ganger 0.1.0"));
}
