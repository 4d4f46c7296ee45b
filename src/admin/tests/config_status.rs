//! The configuration, as it is asked for.

use super::*;

/// The keys of a part of the answer, by their names.
fn keys(part: &Value) -> BTreeMap<&str, &Value> {
    part["keys"].as_array().unwrap().iter().map(|key| (key["key"].as_str().unwrap(), key)).collect()
}

#[tokio::test]
async fn every_key_is_told_with_what_holds_and_who_says_so() {
    let bed = Bed::new();
    let told = bed.json("/api/v1/config").await;
    assert_eq!(told["files"], json!(["ganger.ron"]));
    let epoch = "1970-01-01T00:00:00.000Z";
    assert_eq!(
        (&told["since"], &told["last_read"]),
        (&json!(epoch), &json!({"at": epoch, "taken": false}))
    );
    let top = keys(&told);
    assert_eq!(
        top["drain_timeout"],
        &json!({"key": "drain_timeout", "value": "\"30s\"", "without": null, "redacted": false,
            "origin": "default", "file": null, "line": null, "column": null, "variables": []})
    );
    // Nobody has named it, and it has a name.
    assert_eq!(
        (&top["instance"]["value"], &top["instance"]["origin"]),
        (&json!("\"edge-1\""), &json!("default"))
    );
    assert_eq!(top["access_log"]["without"], "none");
    assert_eq!(told["daemons"][0]["name"], "local");
    assert_eq!(keys(&told["daemons"][0])["max_containers"]["value"], "20");
    let echo = keys(&told["services"][0]);
    let port = echo["port"];
    assert_eq!(
        (&port["origin"], &port["file"], &port["value"]),
        (&json!("file"), &json!("ganger.ron"), &json!("7000"))
    );
    let text = crate::config::Config::default_text();
    let line = text.lines().nth(port["line"].as_u64().unwrap() as usize - 1).unwrap();
    let (before, value) = line.split_at(port["column"].as_u64().unwrap() as usize - 1);
    assert_eq!((before.trim(), value), ("port:", "7000,"));
}

#[tokio::test]
async fn one_service_may_be_asked_for() {
    let bed = Bed::new();
    let whole = bed.json("/api/v1/config").await;
    let told = bed.json("/api/v1/config?service=echo").await;
    assert_eq!(told["services"], whole["services"]);
    assert_eq!((&told["keys"], &told["daemons"]), (&json!([]), &json!([])));
    let (code, problem) = bed.problem("GET", "/api/v1/config?service=none").await;
    assert_eq!(code, 404);
    assert!(problem.contains("there is no service"), "{problem}");
    let (code, _) = bed.problem("GET", "/api/v1/config?sevice=echo").await;
    assert_eq!(code, 400);
}
