//! The specification of cells, as it follows from one of Docker's.

use serde_json::json;

use super::*;

const CARRIER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A specification as Docker writes it for a sealed container, in short.
fn docker() -> Value {
    let own = |name: &str| {
        json!({
            "destination": format!("/etc/{name}"), "type": "bind",
            "source": format!("/var/lib/docker/containers/{CARRIER}/{name}"),
            "options": ["rbind", "rprivate"],
        })
    };
    json!({
        "ociVersion": "1.0.2-dev",
        "process": {
            "user": { "uid": 1000, "gid": 1000 },
            "args": ["/.carrier/hold", "--hold"],
            "env": ["PATH=/bin", "HOSTNAME=0123456789ab", "NAME=0123456789ab"],
            "capabilities": { "bounding": [] },
            "noNewPrivileges": true,
        },
        "root": { "path": "/var/lib/docker/overlay2/x/merged", "readonly": true },
        "hostname": "0123456789ab",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm" },
            own("hosts"),
            own("hostname"),
            own("resolv.conf"),
            { "destination": "/.carrier", "type": "bind", "source": "/var/lib/docker/volumes/v/_data" },
        ],
        "hooks": { "prestart": [
            { "path": "/proc/9/exe", "args": ["libnetwork-setkey", "-exec-root=/var/run/docker"] },
        ] },
        "linux": {
            "cgroupsPath": format!("/docker/{CARRIER}"),
            "namespaces": [
                { "type": "mount" }, { "type": "network" }, { "type": "uts" },
                { "type": "pid" }, { "type": "ipc" },
            ],
            "seccomp": { "defaultAction": "SCMP_ACT_ERRNO" },
            "somethingNew": 7,
        },
    })
}

fn made(spec: &Value) -> Result<(Value, CellSpec), String> {
    let mounts = [("/data".to_owned(), "/srv/data".to_owned())];
    let command = ["/server".to_owned(), "--port".to_owned(), "7".to_owned()];
    let order = CarrierOrder {
        id: CARRIER,
        waits: &["/.carrier/hold", "--hold"],
        volume: "/.carrier",
        mounts: &mounts,
        command: &command,
        group: "/ganger-cells-x",
        limits: "Max open files            1024                 2048                 files\n",
        without_v6: true,
    };
    let cell = for_cells(spec.to_string().as_bytes(), &order)?;
    Ok((serde_json::from_str(&cell.text).unwrap(), cell))
}

#[test]
fn a_cell_differs_from_its_carrier_in_what_is_its_own_and_in_nothing_else() {
    let (cell, spec) = made(&docker()).unwrap();
    let mut expected = docker();
    expected["process"]["args"] = json!(["/server", "--port", "7"]);
    expected["process"]["rlimits"] =
        json!([{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 2048 }]);
    expected["process"]["env"][1] = format!("HOSTNAME={NAME}").into();
    expected["root"]["path"] = format!("{PLACE}/root").into();
    expected["hostname"] = NAME.into();
    expected["linux"]["cgroupsPath"] = format!("/ganger-cells-x/{ID}").into();
    expected["linux"]["sysctl"] = json!({ "net.ipv6.conf.all.disable_ipv6": "1" });
    expected.as_object_mut().unwrap().remove("hooks");
    let mounts = expected["mounts"].as_array_mut().unwrap();
    mounts.pop();
    for (mount, name) in mounts[2..].iter_mut().zip(OWN_FILES) {
        mount["source"] = format!("{PLACE}/{name}").into();
    }
    assert_eq!(cell, expected);
    let files: Vec<_> = spec.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(files, OWN_FILES);
}

#[test]
fn kernel_parameters_of_the_users_are_kept() {
    let mut spec = docker();
    spec["linux"]["sysctl"] =
        json!({ "net.ipv6.conf.all.disable_ipv6": "0", "kernel.shmmni": "7" });
    assert_eq!(made(&spec).unwrap().0["linux"]["sysctl"], spec["linux"]["sysctl"]);
}

#[test]
fn limits_that_the_specification_names_are_its_own() {
    let mut spec = docker();
    spec["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 6 }]);
    assert_eq!(made(&spec).unwrap().0["process"]["rlimits"], spec["process"]["rlimits"]);
}

#[test]
fn a_host_name_of_the_users_is_kept() {
    let mut spec = docker();
    spec["hostname"] = "db".into();
    let (cell, _) = made(&spec).unwrap();
    assert_eq!(cell["hostname"], "db");
    assert_eq!(cell["process"]["env"], spec["process"]["env"]);
}

#[test]
fn dockers_init_and_the_mounts_that_were_asked_for_are_kept() {
    let mut spec = docker();
    spec["process"]["args"] = json!(["/sbin/docker-init", "--", "/.carrier/hold", "--hold"]);
    let bind = |target: &str, source: &str| json!({ "destination": target, "type": "bind", "source": source });
    let mounts = [bind("/sbin/docker-init", "/usr/bin/docker-init"), bind("/data", "/srv/data")];
    spec["mounts"].as_array_mut().unwrap().extend(mounts.clone());
    let (cell, found) = made(&spec).unwrap();
    let args = json!(["/sbin/docker-init", "--", "/server", "--port", "7"]);
    assert_eq!(cell["process"]["args"], args);
    assert!(cell["mounts"].as_array().unwrap().ends_with(&mounts));
    let sources: Vec<_> = found.sources.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(sources, ["/usr/bin/docker-init", "/srv/data"]);
}

/// What is refused, and a part of the reason.
#[test]
fn what_is_not_known_to_hold_for_a_second_container_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 15] = [
        ("runs the hook /usr/bin/nvidia", |spec| {
            spec["hooks"]["prestart"][0] = json!({ "path": "/usr/bin/nvidia", "args": ["x"] });
        }),
        ("file system of type fuse", |spec| spec["mounts"][0]["type"] = "fuse".into()),
        ("mounts /srv/other at /data", |spec| {
            spec["mounts"][5] =
                json!({ "destination": "/data", "type": "bind", "source": "/srv/other" });
        }),
        ("mounts /x/hosts at /etc/hosts", |spec| spec["mounts"][2]["source"] = "/x/hosts".into()),
        ("mounts /var/lib/docker/mounts/shm at /dev/shm", |spec| {
            spec["mounts"][1]["type"] = "bind".into();
            spec["mounts"][1]["source"] = "/var/lib/docker/mounts/shm".into();
        }),
        ("a terminal", |spec| spec["process"]["terminal"] = true.into()),
        ("SELinux", |spec| spec["process"]["selinuxLabel"] = "u:r:t:s0".into()),
        ("SELinux", |spec| spec["linux"]["mountLabel"] = "u:r:t:s0".into()),
        ("does not run the command", |spec| spec["process"]["args"] = json!(["/server"])),
        ("userns-remap", |spec| {
            spec["linux"]["uidMappings"] =
                json!([{ "containerID": 0, "hostID": 100_000, "size": 9 }]);
        }),
        ("control group is /limited/", |spec| {
            spec["linux"]["cgroupsPath"] = format!("/limited/{CARRIER}").into();
        }),
        ("has a namespace of type user", |spec| {
            spec["linux"]["namespaces"][0] = json!({ "type": "user" });
        }),
        ("joins the namespace /proc/7/ns/ipc of type ipc", |spec| {
            spec["linux"]["namespaces"][4]["path"] = "/proc/7/ns/ipc".into();
        }),
        ("no namespace of its own of type pid", |spec| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().remove(3);
        }),
        ("cannot be read", |spec| *spec = json!([])),
    ];
    for (why, change) in cases {
        let mut spec = docker();
        change(&mut spec);
        let error = made(&spec).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}
