//! Whose fault it is when something in an engine itself fails.

use bollard::errors::Error;

use super::*;
use crate::docker::calls::CallFailure;
use crate::docker::fault::{Operation, launch_error};

fn start_failed(status_code: u16, message: &str) -> (Fault, String) {
    let endpoint = "unix:///run/docker.sock".parse().unwrap();
    let error = Error::DockerResponseServerError { status_code, message: message.into() };
    let error = launch_error(&endpoint, Operation::Start, &CallFailure::Engine(error));
    (error.fault, error.message)
}

/// Failures of an engine itself, in messages of Podman 5.4 and Docker 20.10, half of which
/// look like a service's mistake.
#[test]
fn what_fails_in_the_engine_is_not_the_service_s_fault() {
    for (message, part) in [
        (
            "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied",
            "ulimits",
        ),
        (
            "setting up Pasta: pasta failed with exit code 1:\nFailed to open() /dev/net/tun: \
             Permission denied\nFailed to set up tap device in namespace\n",
            "/dev/net/tun",
        ),
        (
            "setting up Pasta: pasta failed with exit code 1:\nNo external routable interface",
            "rootless networks",
        ),
        (
            "netavark: unable to append rule '-p udp -s 10.88.0.0/16 --dport 53 -j ACCEPT' to \
             table 'filter': code: -1, msg:",
            "netavark",
        ),
        ("netavark: open /run/netns: Permission denied", "netavark"),
        (
            "could not find \"netavark\" in one of [/usr/libexec/podman].  To resolve this \
             error, set the helper_binaries_dir key in the `[engine]` section of \
             containers.conf to the directory containing your helper binaries.",
            "netavark",
        ),
        ("could not find \"rootlessport\" in one of [/usr/libexec/podman]", "rootlessport"),
        (
            "crun: opening file `memory.max` for writing: No such file or directory: OCI \
             runtime attempted to invoke a command that was not found",
            "no controller",
        ),
        (
            "crun: controller `pids` is not available under \
             /sys/fs/cgroup/libpod_parent/x/cgroup.controllers: OCI runtime error",
            "no controller",
        ),
        (
            "crun: creating cgroup directory `/sys/fs/cgroup/x`: Permission denied: OCI \
             permission denied",
            "control groups",
        ),
        ("newuidmap: write to uid_map failed: Operation not permitted", "/etc/subuid"),
        ("crun: mount `proc` to `proc`: Operation not permitted: OCI permission denied", "/proc"),
        (
            "connection error: dial unix /run/containerd/containerd.sock: connect: \
             permission denied",
            "containerd",
        ),
        (
            "driver failed programming external connectivity on endpoint x: (iptables failed: \
             iptables -t nat -A DOCKER: Permission denied (you must be root))",
            "iptables",
        ),
    ] {
        for code in [400, 500] {
            let (fault, text) = start_failed(code, message);
            assert_eq!(fault, Fault::Daemon, "{text}");
            assert!(text.contains(part), "{text}");
            assert!(text.starts_with("start failed, it"), "names the cause: {text}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_told_from_one_that_broke_off() {
    let failed = async |answer: fn() -> Reply| {
        let (_engine, docker) =
            connected(Deadlines::default(), move |seen| seen.line.contains("/create").then(answer))
                .await;
        docker.launch(&order(spec())).await.unwrap_err().message
    };
    let why = failed(|| Reply::Json(201, json!("hello"))).await;
    assert!(why.contains("does not answer as an engine does"), "{why}");
    let why = failed(|| Reply::Attached(Vec::new())).await;
    assert!(!why.contains("ended the connection"), "{why}");
}

#[tokio::test]
async fn an_image_that_a_launch_finds_absent_is_the_daemon_s_to_get() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.starts_with("GET /images/").then(|| no(404, "No such image")).flatten()
    })
    .await;
    let order = order(Spec { pull: Pull::Never, ..spec() });
    let error = docker.launch(&order).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    assert!(error.message.contains("docker pull demo"), "{}", error.message);
    assert_eq!((error.phase, error.container), (LaunchPhase::Pull, None));
}
