//! The events that readers are told.

use serde_json::Value;
use tokio::time::advance;

use super::*;

fn told(kind: &str, daemon: &str) -> Happening {
    Happening { daemon: Some(daemon.to_owned()), ..Happening::new(kind, true, None) }
}

/// The kinds of happenings after a number, each with its daemon and its count.
fn seen(feed: &Feed, after: u64) -> Vec<(String, u64)> {
    let events = feed.after(after).events;
    let values = events.iter().map(|event| serde_json::from_str::<Value>(&event.data).unwrap());
    let line = |value: Value| {
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        (format!("{} {}", text("kind"), text("daemon")), value["count"].as_u64().unwrap())
    };
    values.map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn what_happens_again_within_the_window_is_one_event() {
    let feed = Feed::new();
    let before = *feed.follow().borrow();
    feed.tell(told("lost", "a"));
    feed.tell(told("lost", "b"));
    feed.tell(told("lost", "a"));
    feed.tell(told("made", "a"));
    let expected = [("lost b", 1), ("lost a", 2), ("made a", 1)];
    assert_eq!(seen(&feed, before), expected.map(|(line, count)| (line.to_owned(), count)));
    advance(WINDOW).await;
    feed.tell(told("lost", "a"));
    assert_eq!(seen(&feed, before).len(), 4);
    let last = *feed.follow().borrow();
    assert_eq!(seen(&feed, last - 1), [("lost a".to_owned(), 1)]);
    assert_eq!(seen(&feed, last), []);
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_the_middle_of_the_window_counts_nothing_twice() {
    let feed = Feed::new();
    let now = || *feed.follow().borrow();
    let line = |text: &str, count| (text.to_owned(), count);
    let begin = now();
    feed.tell(told("lost", "a"));
    let first = now();
    assert_eq!(seen(&feed, begin), [line("lost a", 1)]);
    feed.tell(told("lost", "b"));
    feed.tell(told("lost", "a"));
    let second = now();
    assert_eq!(seen(&feed, first), [line("lost b", 1), line("lost a", 1)]);
    feed.tell(told("lost", "a"));
    feed.tell(told("lost", "a"));
    assert_eq!(seen(&feed, second), [line("lost a", 2)]);
    assert_eq!(seen(&feed, first), [line("lost b", 1), line("lost a", 3)]);
    assert_eq!(seen(&feed, begin), [line("lost b", 1), line("lost a", 4)]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_hides_nothing_that_is_younger() {
    let feed = Feed::new();
    let begin = *feed.follow().borrow();
    feed.tell(told("lost", "a"));
    advance(WINDOW - Duration::from_millis(10)).await;
    feed.tell(told("lost", "b"));
    feed.tell(told("lost", "a"));
    advance(Duration::from_millis(20)).await;
    feed.tell(told("lost", "b"));
    feed.tell(told("lost", "a"));
    let expected = [("lost a", 2), ("lost b", 2), ("lost a", 1)];
    assert_eq!(seen(&feed, begin), expected.map(|(line, count)| (line.to_owned(), count)));
}

#[tokio::test(start_paused = true)]
async fn whoever_was_too_slow_is_told_so_and_nothing_grows() {
    let feed = Feed::new();
    let before = *feed.follow().borrow();
    feed.tell(told("lost", "first"));
    let after_first = *feed.follow().borrow();
    for at in 0..2 * KEPT {
        feed.tell(told("lost", &at.to_string()));
    }
    let news = feed.after(after_first);
    assert!(news.has_gap);
    assert_eq!(news.events.len(), KEPT);
    assert!(feed.after(before).has_gap, "it was there before anything happened");
    assert!(!feed.after(news.events[0].id).has_gap);
    assert!(!feed.after(0).has_gap, "whoever comes anew has missed nothing");
    assert!(!feed.after(u64::MAX).has_gap, "a number of another run");
}

#[tokio::test]
async fn of_a_state_only_the_latest_is_told_and_only_if_it_is_another() {
    let feed = Feed::new();
    let before = *feed.follow().borrow();
    feed.show("service", "a", &1);
    feed.show("service", "b", &1);
    feed.show("service", "a", &2);
    feed.show("service", "a", &2);
    let data = |after| -> Vec<_> {
        feed.after(after).events.iter().map(|event| event.data.to_string()).collect()
    };
    assert_eq!(data(before), ["1", "2"]);
    assert_eq!(*feed.follow().borrow(), before + 3);
    feed.keep("service", &BTreeSet::from(["a"]));
    assert_eq!(data(before), ["2"]);
}
