//! The status page, as it is sent.

use ganger_pool::core::LaunchId;
use ganger_pool::{EventKind, Observer, PoolEvent};
use http_body_util::BodyExt;

use super::*;
use crate::proxy::{ConnId, ConnRecord, Recorder};

#[tokio::test]
async fn the_page_says_what_there_is_and_what_it_loads_is_there() {
    let bed = Bed::new();
    let page = bed.text("/").await.unwrap();
    for said in ["<th scope=\"row\">echo</th>", "filling", "no answer", "Ganger edge-1", "0/2"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let loaded = page.split('"').filter(|part| part.starts_with("/assets/"));
    let loaded: std::collections::BTreeSet<_> = loaded.collect();
    assert_eq!(loaded.len(), 3, "style, script and icon");
    for path in loaded {
        let (head, _) =
            bed.transport.fetch(path, Request::new(Empty::<Bytes>::new())).await.unwrap();
        assert!(head["cache-control"].to_str().unwrap().contains("immutable"), "{path}");
    }
    assert_eq!(bed.problem("GET", "/assets/other.js").await.0, 404);
}

#[tokio::test]
async fn what_others_say_is_text_to_the_page() {
    let bed = Bed::new();
    let detail = Some("<script>alert(1)</script>".to_owned());
    bed.feed.tell(Happening::new("config-refused", true, detail));
    let page = bed.text("/").await.unwrap();
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(page.contains("alert(1)"), "{page}");
}

#[tokio::test]
async fn what_is_told_in_words_is_sorted_by_what_it_is_worth() {
    let bed = Bed::new();
    let page = bed.text("/").await.unwrap();
    for unknown in ["data-value=\"\"></td>", "data-value=\"0\">0, 0</td>"] {
        assert!(page.contains(unknown), "{unknown}: {page}");
    }
    let record = ConnRecord::new(ConnId(1), "echo".into(), ([192, 0, 2, 1], 9).into());
    let (wait, first_byte) = (Some(Duration::from_micros(500)), Some(Duration::from_secs(2)));
    bed.latencies.ended(&ConnRecord { wait, first_byte, ..record });
    let (launch, service, daemon) = (LaunchId(1), "echo".into(), "local".into());
    let took = Duration::from_millis(20);
    let kind = EventKind::LaunchReady { launch, service, daemon, took };
    bed.engines.observe(&PoolEvent { number: 1, at: Instant::now().into_std(), kind });
    failures::ended(&bed, "the cause");
    let page = bed.text("/").await.unwrap();
    let worth = |words: &str| {
        let cell = page.split("data-value=\"").find(|cell| cell.contains(words));
        let value = cell.and_then(|cell| cell.split('"').next()?.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("{words} is worth nothing: {cell:?}"))
    };
    assert!((worth(" µs, ") - 5e-4).abs() < 1e-5, "the time until the lease");
    assert!((worth(" s, ") - 2.0).abs() < 0.02, "the time until the first byte");
    assert!((worth("20.0 ms</td>") - 0.02).abs() < 1e-9, "the start on the daemon");
    assert!((worth("out of memory") - 3.0).abs() < 1e-9, "the exit code");
}

#[tokio::test]
async fn an_order_is_asked_for_once_more_and_answered() {
    let bed = Bed::new();
    let asked = bed.text("/confirm?order=drain&service=echo").await.unwrap();
    assert!(asked.contains("service echo") && asked.contains("name=\"deadline\""), "{asked}");
    let form = |body: &'static str| {
        Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(http_body_util::Full::new(Bytes::from(body)))
            .unwrap()
    };
    let answer = async |body| {
        let (head, body) = bed.transport.send("/confirm", form(body)).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        format!("{} {}", head.status.as_u16(), String::from_utf8_lossy(&body))
    };
    let done = answer("order=drain&service=echo&deadline=5").await;
    assert!(done.contains("state: Drain, deadline: Some(5s)"), "{done}");
    let done = answer("order=ready&daemon=local&deadline=").await;
    assert!(done.contains("state: Ready, deadline: None"), "{done}");
    let done = answer("order=roll&service=echo").await;
    assert!(done.starts_with("409") && done.contains("changed: rolling already"), "{done}");
    let done = answer("order=cut&session=9").await;
    assert!(done.starts_with("404") && done.contains("changed: there is no conn"), "{done}");
    for wrong in [
        "order=drain",
        "order=explode&service=echo",
        "order=scale&service=echo&warm=x",
        "order=scale&service=echo&warm=&max=",
        "order=scale&service=echo&max=0",
        "order=ready&service=echo&deadline=5",
        "order=drain&daemon=local&deadline=2592001",
        "",
    ] {
        let said = answer(wrong).await;
        assert!(said.starts_with("400"), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn tables_are_exported_with_a_column_for_each_head() {
    let bed = Bed::new();
    failures::unfit(&bed, "echo", "there is no such image");
    for (file, first) in [
        ("services", "echo,filling,"),
        ("daemons", "local,down,no answer,"),
        ("containers", "1,,echo,1,other,ready,"),
        ("failures", "1,2"),
    ] {
        let text = bed.text(&format!("/export/{file}.csv")).await.unwrap();
        let mut lines = text.lines();
        let columns = lines.next().unwrap().split(',').count();
        let row = lines.next().unwrap();
        assert!(row.starts_with(first), "{row}");
        assert_eq!(row.split(',').count(), columns, "{text}");
    }
    assert!(bed.text("/export/sessions.csv").await.unwrap().starts_with("id,service,client,"));
    assert_eq!(bed.problem("GET", "/export/other.csv").await.0, 404);
}
