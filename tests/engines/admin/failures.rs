//! The failure bundle of a container that ends before it can serve, on a real engine.

use ganger_test_support::{Client, Config, Fleet, wait_until};
use serde_json::Value;

use super::{DEADLINE, ask};
use crate::GANGER;

#[test]
fn a_container_that_exits_leaves_a_bundle_with_its_code_and_its_last_line() {
    let fleet = Fleet::shared();
    let host = &fleet.hosts()[0];
    let said = "cannot read /etc/service.conf";
    let fields = "warm: 1, max: 1, network: Sealed, limits: (memory: \"64MiB\", pids: 32)";
    let config = Config::new("failing")
        .daemon(host.daemon(40))
        .fixture("echo", "warm: 1, max: 2, network: Sealed", &[])
        .fixture("broken", fields, &["--log-start", said, "--exit", "3"]);
    fleet.load_images();
    let mut ganger = config.start(GANGER, &fleet);
    ganger.wait_until_stocked("echo");
    let socket = format!("/run/ganger/{}.sock", config.instance());
    let failures = |args: &[&str]| -> Value {
        let (code, out, err) = ask(&socket, &[&["failures"], args, &["--json"]].concat());
        assert_eq!((code, err.as_str()), (0, ""));
        serde_json::from_str(&out).unwrap()
    };
    let launches = || -> Vec<Value> {
        let told = failures(&["--service", "broken", "--daemon", &host.name]);
        let is_launch = |told: &&Value| told["phase"] != "lease";
        told.as_array().unwrap().iter().filter(is_launch).cloned().collect()
    };
    wait_until(DEADLINE, "it has failed again", || {
        launches().iter().any(|told| told["count"].as_u64().is_some_and(|count| count > 1))
    });
    let launches = launches();
    let told = launches.iter().find(|told| told["count"].as_u64() > Some(1)).unwrap();
    let about = format!("{told:#}");
    // An engine may notice the end before or after it says that the container has started.
    assert!(["start", "ready"].map(Value::from).contains(&told["phase"]), "{about}");
    assert_eq!((&told["fault"], &told["exit_code"]), (&"service".into(), &3.into()), "{about}");
    assert_eq!(told["log"], serde_json::json!([said]), "{about}");
    assert_eq!(told["limits"]["memory_bytes"], 64 << 20, "{about}");
    assert_eq!(told["limits"]["pids"], 32, "{about}");
    assert_eq!(told["container"].as_str().unwrap().len(), 12, "{about}");
    assert!(!told["error"].as_str().unwrap().contains(said), "{about}");

    let id = told["id"].to_string();
    let (code, whole, err) = ask(&socket, &["failures", &id]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(whole.contains("exit code  3\n"), "{whole}");
    assert!(whole.ends_with(&format!("log        {said}\n")), "{whole}");
    let (_, ids, _) = ask(&socket, &["failures", "-q", "--service", "broken"]);
    assert!(ids.lines().any(|line| line == id), "{ids}");
    assert_eq!(failures(&["--service", "echo"]), serde_json::json!([]));

    // Its clients get nothing, which is a failure of their leases.
    let _waits = Client::connect(config.port("broken"));
    wait_until(DEADLINE, "a lease has failed", || {
        let told = failures(&["--state", "lease"]);
        told.as_array().unwrap().iter().any(|told| told["end"] == "DL")
    });
    let (code, _, why) = ask(&socket, &["failures", "999"]);
    assert_eq!(code, 1, "{why}");
    assert!(why.contains("there is no failure"), "{why}");
    assert_eq!(ganger.stop(), 0);
}
