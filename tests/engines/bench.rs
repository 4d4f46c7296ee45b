//! `ganger bench` of containers on real engines.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ganger_test_support::{Config, FIXTURE, Fleet, Ganger, labelled, unique, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(120);

/// A bench under way, and where it writes its figures.
struct Bench<'f> {
    fleet: &'f Fleet,
    ganger: Ganger,
    dir: PathBuf,
}

// === impl Bench ===

impl<'f> Bench<'f> {
    fn start(fleet: &'f Fleet, args: &[&str]) -> Self {
        let config = Config::new("bench").daemon(fleet.local().daemon(40));
        let config = config.fixture("speaks", "ready: Banner(\"220\")", &["--banner", "220 ready"]);
        fleet.load_images();
        let dir = std::env::temp_dir().join(unique("ganger-bench"));
        fs::create_dir(&dir).unwrap();
        let (json, html) = (dir.join("now.json"), dir.join("now.html"));
        let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
        let of_service = args.contains(&"--service");
        // An argument after `--` is for the image.
        let args = [&["bench"], &files[..], args].concat();
        let instance = config.instance();
        let ganger = match of_service {
            true => Ganger::start(GANGER, fleet, instance, &config.to_string(), &args),
            false => Ganger::start_bare(GANGER, fleet, instance, &args),
        };
        Self { fleet, ganger, dir }
    }

    /// How many containers it has on the fleet, in whatever state.
    fn containers(&self) -> usize {
        let label = format!("io.ganger.instance=bench-{}", self.ganger.pid());
        labelled(self.fleet.all(), &label).len()
    }

    /// Waits for its end, after which it must have left nothing.
    fn ends_with(&mut self, code: i32) {
        let status = self.ganger.wait(DEADLINE);
        assert_eq!(status.code(), Some(code), "{:#?}", self.ganger.lines());
        assert_eq!(self.containers(), 0);
        let lines = self.ganger.lines();
        // The bench itself has removed them.
        assert!(!lines.iter().any(|line| line.contains("the process is gone")), "{lines:#?}");
    }

    fn report(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.dir.join("now.json")).unwrap()).unwrap()
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn names(series: &Value) -> Vec<&str> {
    series.as_array().unwrap().iter().map(|series| series["name"].as_str().unwrap()).collect()
}

#[test]
fn every_kind_is_measured_as_what_it_is_and_nothing_is_left() {
    let fleet = Fleet::shared();
    let url = fleet.local().url();
    let args = ["--docker", &url, "--rounds", "2", "--concurrency", "2"];
    let required = ["--assert", "errors<1", "--assert", "warm.p50<1us"];
    let mut bench = Bench::start(&fleet, &[&args[..], &required].concat());
    bench.ends_with(6);
    let lines = bench.ganger.lines().join("\n");
    assert!(lines.contains("not met: warm.p50<1us: warm: it is"), "{lines}");
    assert!(!lines.contains("not met: errors"), "{lines}");

    let report = bench.report();
    let point = &report["points"][0];
    assert_eq!(names(&point["series"]), ["cold", "warm", "reused", "hot", "direct"]);
    for series in point["series"].as_array().unwrap() {
        assert_eq!(
            (&series["count"], &series["errors"]),
            (&4.into(), &Value::Object(Default::default()))
        );
        let name = series["name"].as_str().unwrap();
        let start = if name == "hot" { "reused" } else { name };
        if name == "direct" {
            assert_eq!(series["started"], Value::Null);
            continue;
        }
        let started = series["started"].as_object().unwrap();
        assert_eq!(started.values().filter_map(Value::as_u64).sum::<u64>(), 4, "{series:#}");
        // A container whose service does not hang up in time is not used again.
        let least = if start == "reused" { 3 } else { 4 };
        assert!(series["started"][start].as_u64() >= Some(least), "{series:#}");
    }
    // All were launched for a client that waited for it, and removed after it.
    let phases = point["phases"].as_array().unwrap();
    let steps = ["create", "room", "start", "inspect", "ready", "first_byte", "remove"];
    assert_eq!(names(&point["phases"]), steps);
    assert!(phases.iter().all(|phase| phase["count"] == 4), "{phases:#?}");
    // A part is shorter than the whole.
    let longest = |series: &Value| series["latency_us"]["max"].as_f64().unwrap();
    assert!(longest(&phases[2]) < longest(&point["series"][0]), "{report:#}");
    let page = fs::read_to_string(bench.dir.join("now.html")).unwrap();
    assert!(page.contains("<td>reused</td><td>4</td>") && page.contains("Steps of a cold start"));
}

#[test]
fn a_service_is_measured_under_each_of_several_circumstances() {
    let fleet = Fleet::shared();
    let args = ["--service", "speaks", "--kinds", "hot,cold", "--rounds", "2"];
    let more = ["--sweep", "network=Sealed,Bridge,nowhere"];
    let mut bench = Bench::start(&fleet, &[&args[..], &more].concat());
    bench.ends_with(0);
    let report = bench.report();
    let points = report["points"].as_array().unwrap();
    let at: Vec<_> = points.iter().map(|point| point["at"]["network"].as_str().unwrap()).collect();
    assert_eq!(at, ["Sealed", "Bridge"]);
    for point in points {
        assert_eq!(names(&point["series"]), ["cold", "hot"]);
        // A service that says more than is expected costs no container.
        for (series, start) in point["series"].as_array().unwrap().iter().zip(["cold", "reused"]) {
            assert_eq!((&series["count"], &series["started"][start]), (&json!(2), &json!(2)));
        }
    }
    // An impossible point is left out, with the reason.
    let skipped = &report["skipped"][0];
    assert_eq!(skipped["at"]["network"], "nowhere");
    assert!(skipped["reason"].as_str().unwrap().contains("nowhere"), "{skipped}");
}

#[test]
fn a_refill_is_measured_for_each_number_of_clients() {
    let fleet = Fleet::shared();
    let url = fleet.local().url();
    let args = ["--docker", &url, "--network", "Sealed", "--refill", "1,2", "--duration", "1s"];
    let mut bench = Bench::start(&fleet, &[&args[..], &["--assert", "refill.errors<1"]].concat());
    bench.ends_with(0);
    let report = bench.report();
    let points = report["refill"].as_array().unwrap();
    assert_eq!((points.len(), report["points"].as_array().unwrap().len()), (2, 0));
    for (point, clients) in points.iter().zip(["1", "2"]) {
        assert_eq!(
            (&point["at"]["clients"], names(&point["series"])),
            (&clients.into(), vec!["refill"])
        );
        let served = point["series"][0]["count"].as_u64().unwrap();
        assert!(served >= clients.parse().unwrap(), "{point:#}");
    }
}

#[test]
fn an_image_that_is_slow_has_the_time_of_its_clients() {
    let fleet = Fleet::shared();
    let url = fleet.local().url();
    let image = ["--image", FIXTURE, "--port", "7000", "--docker", &url, "--send", "x"];
    let slow = ["--kinds", "warm", "--rounds", "1", "--timeout", "100s", "--", "--delay", "33s"];
    let mut bench = Bench::start(&fleet, &[&image[..], &slow].concat());
    bench.ends_with(0);
    assert_eq!(bench.report()["points"][0]["series"][0]["count"], 1);

    // An image that never gets ready: the advice has to be possible to follow.
    let never = ["--kinds", "warm", "--timeout", "1s", "--", "--exit", "3"];
    let mut bench = Bench::start(&fleet, &[&image[..], &never].concat());
    bench.ends_with(1);
    let said = bench.ganger.lines().join("\n");
    assert!(said.contains("exited with code 3"), "{said}");
    // Not as a warning besides, which would name settings of a configuration.
    assert!(!said.contains("WARN"), "{said}");
}

#[test]
fn one_that_is_interrupted_shows_what_it_has_and_leaves_nothing() {
    let fleet = Fleet::shared();
    let url = fleet.local().url();
    let mut bench =
        Bench::start(&fleet, &["--docker", &url, "--kinds", "warm,direct", "--rounds", "100000"]);
    wait_until(DEADLINE, "it has containers", || bench.containers() == 2);
    // The service's first connection of a round is over when its container is another.
    let label = format!("io.ganger.instance=bench-{}", bench.ganger.pid());
    let ids = || {
        let mut ids: Vec<_> = fleet.local().containers(&label).into_iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids
    };
    let first = ids();
    let mut later = Vec::new();
    wait_until(DEADLINE, "several rounds", || {
        later.extend(ids());
        later
            .iter()
            .filter(|id| !first.contains(id))
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 2
    });
    bench.ganger.signal(Signal::INT);
    bench.ends_with(1);
    let lines = bench.ganger.lines().join("\n");
    assert!(lines.contains("interrupted: the figures are of what was measured so far"), "{lines}");
    let count = |at: usize| bench.report()["points"][0]["series"][at]["count"].as_u64().unwrap();
    assert!(count(0) > 0 && count(1) > 0, "{lines}");
}
