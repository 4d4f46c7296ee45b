//! `ganger bench` from outside.

use super::*;

/// The address of a service that says what it is told.
fn echo() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (mut from, mut to) = (client.try_clone().unwrap(), client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    target
}

#[test]
fn an_address_is_measured_and_held_against_what_is_required() {
    let dir = Dir::new();
    let target = echo();
    let file = dir.0.join("now.json");
    let file = file.to_str().unwrap();
    for pace in [["--rate", "500"], ["--concurrency", "3"]] {
        let exchange = ["--send", r"PING\n", "--expect", "PING", "--requests", "50"];
        let said = ["bench", "--target", &target, "--json", file, "--assert", "errors<1"];
        let outcome = dir.ganger(&[&said[..], &pace, &exchange].concat());
        outcome.expect(0, &[]);
        assert!(outcome.out.contains("p99.9") && outcome.out.contains('█'), "{outcome:#?}");
        let report: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let series = &report["points"][0]["series"][0];
        assert_eq!((&series["name"], &series["count"]), (&"target".into(), &50.into()), "{report}");
    }
    let unmet = ["bench", "--from", file, "--assert", "target.count>50", "--assert", "p50<1h"];
    dir.ganger(&unmet[..5]).expect(6, &["not met: target.count>50: target: it is 50"]);
    dir.ganger(&unmet).expect(2, &["\"1h\" is not a time"]);
    let same = dir.ganger(&["bench", "--from", file, "--compare", file]);
    same.expect(0, &[]);
    assert!(same.out.contains("+0.0%") && same.out.contains("p50 before"), "{same:#?}");
    // Not as if one were the larger.
    assert!(!same.out.contains('>'), "{same:#?}");
    // The answer is another one.
    let other = ["bench", "--target", &target, "--send", "x", "--expect", "y", "--requests", "2"];
    dir.ganger(&other).expect(1, &[r#"not served: target: 2 another answer: "x""#]);
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is() {
    let dir = Dir::new();
    let nobody = format!("127.0.0.1:{}", free_port());
    dir.ganger(&["bench", "--target", &nobody]).expect(4, &[&nobody, "refused"]);
    dir.ganger(&["bench", "--docker", NOWHERE]).expect(4, &["no container engine at"]);
    for (args, said) in [
        (&["--target", "nowhere"][..], "write HOST:PORT"),
        (&["--target", &nobody, "--image", "i", "--port", "1"], "cannot be used with"),
        (&["--target", &nobody, "--sweep", "concurrency=1,2"], "cannot be used with"),
        (&["--target", &nobody, "--json", "no/such/file"], "no/such/file: No such file"),
        (&["--target", &nobody, "--rate", "0"], "above 0"),
        (&["--target", &nobody, "--send", r"\q"], "after a backslash"),
        (&["--target", &nobody, "--assert", "warm.p50<1s"], "warm is not measured here"),
        (&["--kinds", "warm", "--assert", "cold.p50<1s"], "what is: warm"),
        (&["--kinds", "tepid"], "kinds are cold, warm, reused, hot, direct"),
        (&["--image", "redis"], "--port"),
        (&["--image", "redis", "--port", "6379"], "--send and --expect"),
        (&["--docker", "tcp://192.0.2.7:2375"], "plain tcp to another machine"),
        (&["--sweep", "colour=red"], "concurrency, network, sandbox, stock, runtime, daemon"),
        (&["--sweep", "stock=Created"], "cells have no network: write `--network Sealed`"),
        (&["--sweep", "sandbox=Cell"], "cells have no network: write `--network Sealed`"),
        (&["--network", "Sealed", "--sweep", "stock=Made"], "neither Started nor Created"),
        (&["--sweep", "concurrency=0"], "0 is not from 1 to 1000"),
        (&["--sweep", "daemon=rack7"], "no daemon rack7; the names are local"),
    ] {
        dir.ganger(&[&["bench"], args].concat()).expect(2, &[said]);
    }
    dir.write("bad.json", "{}");
    let bad = ["bench", "--target", &nobody, "--compare", "bad.json"];
    dir.ganger(&bad).expect(1, &["bad.json is not what `ganger bench --json` writes"]);
}

#[test]
fn figures_go_through_pipes() {
    let dir = Dir::new();
    let target = echo();
    let measured = ["bench", "--target", &target, "--send", "x", "--requests", "9", "--json", "-"];
    let measured = dir.ganger(&measured);
    measured.expect(0, &["p99.9"]);
    let report: serde_json::Value = serde_json::from_str(&measured.out).unwrap();
    assert_eq!(report["points"][0]["series"][0]["count"], 9, "{report}");
    dir.write("before.json", &measured.out);
    for args in
        [["--from", "-", "--compare", "before.json"], ["--compare", "-", "--from", "before.json"]]
    {
        let shown = dir.ganger_fed(&[&["bench"], &args[..]].concat(), &[], &measured.out);
        shown.expect(0, &[]);
        assert!(shown.out.contains("p99.9") && shown.out.contains("+0.0%"), "{shown:#?}");
    }
    let page = dir.ganger(&["bench", "--from", "before.json", "--html", "-"]);
    page.expect(0, &["p99.9"]);
    assert!(page.out.starts_with("<!"), "{page:#?}");
    for (twice, said) in [
        (["--from", "-", "--compare", "-"], "one standard input"),
        (["--json", "-", "--html", "-"], "one standard output"),
    ] {
        let from: &[&str] = if twice[0] == "--from" { &[] } else { &["--from", "before.json"] };
        let args = [&["bench"][..], from, &twice[..]];
        dir.ganger(&args.concat()).expect(2, &[said]);
    }
    dir.ganger_fed(&["bench", "--from", "-"], &[], "{}").expect(1, &["standard input is not what"]);
}

#[test]
fn the_services_that_could_be_measured_are_named_at_once() {
    let dir = Dir::new();
    let config = absent("which").fixture("other", "warm: 1, max: 4", &[]);
    let path = dir.write("c.ron", &config.to_string());
    let said = ["which service of", "c.ron", "--service echo or --service other"];
    dir.ganger(&["bench", "--config", &path]).expect(2, &said);
    let stdin = ["which service of standard input", "--service echo or --service other"];
    dir.ganger_fed(&["bench", "--config", "-"], &[], &config.to_string()).expect(2, &stdin);
    // A service that is named is looked for on its daemons.
    let args = ["bench", "--service", "other", "--config", &path, "--send", "x"];
    dir.ganger(&args).expect(4, &["no container engine at"]);
}

#[test]
fn who_looks_sees_how_far_it_is() {
    let dir = Dir::new();
    let target = echo();
    let args = ["bench", "--target", &target, "--send", "x", "--requests", "7"];
    let shown = streams::on_a_terminal(&mut dir.command(&args));
    assert!(shown.contains("target: 7 of 7"), "{shown:?}");
    let args = ["bench", "--target", &target, "--send", "x", "--duration", "100ms"];
    let shown = streams::on_a_terminal(&mut dir.command(&args));
    assert!(shown.contains("target: 1, 0 s of 0.1 s"), "{shown:?}");
}
