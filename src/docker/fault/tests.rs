//! Who is at fault, by the messages of engines.

use super::*;

fn classify(operation: Operation, status_code: u16, message: &str) -> (Fault, String) {
    let endpoint = "unix:///run/docker.sock".parse().unwrap();
    let error = Error::DockerResponseServerError { status_code, message: message.into() };
    let error = launch_error(&endpoint, operation, &CallFailure::Engine(error));
    (error.fault, error.message)
}

/// Messages as engines give them.
#[test]
fn the_message_says_whose_fault_it_is() {
    use Fault::{Daemon, Service, Unwanted};
    use Operation::{Create, Start};
    let exec = "OCI runtime create failed: runc create failed: unable to start container \
                process: exec: \"/nope\": stat /nope: no such file or directory: unknown";
    let user = "unable to find user nope: no matching entries in passwd file";
    let port = "driver failed programming external connectivity on endpoint x: listen tcp4 \
                127.0.0.1:80: bind: address already in use";
    let cases = [
        (
            Create,
            500,
            "container create: creating container storage: creating read-write layer with ID \"fa\": \
             --storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            Service,
            "`storage`",
        ),
        (
            Start,
            500,
            "could not select device driver \"\" with capabilities: [[gpu]]",
            Service,
            "`gpus`",
        ),
        (
            Start,
            500,
            "error gathering device information while adding custom device \"/dev/x\": no such file",
            Service,
            "`devices`",
        ),
        (
            Create,
            500,
            "container create: stat /dev/x: no such file or directory",
            Service,
            "`devices`",
        ),
        (
            Operation::Network,
            500,
            "open /etc/containers/networks/x: permission denied",
            Daemon,
            "network",
        ),
        (
            Operation::Network,
            500,
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            Daemon,
            "docker network prune",
        ),
        (Start, 404, "network nonet not found", Service, "`network`"),
        (Start, 404, "No such container: abc", Unwanted, "somebody removed"),
        // A service's own names are not the engine's parts.
        (
            Start,
            400,
            "exec: \"/usr/bin/pasta-server\": stat /usr/bin/pasta-server: no such file or \
             directory",
            Service,
            "`command`",
        ),
        (Start, 400, exec, Service, "`command`"),
        (Start, 500, exec, Service, "`command`"),
        (Start, 400, user, Service, "`user`"),
        (
            Start,
            400,
            "error during container init: open /proc/sys/net/core/nosuch: no such file or directory",
            Service,
            "`sysctls`: the daemon's kernel has no such parameter",
        ),
        (
            Start,
            500,
            "crun: open `/proc/sys/net/core/nosuch`: No such file or directory: OCI runtime \
             attempted to invoke a command that was not found",
            Service,
            "`sysctls`: the daemon's kernel has no such parameter",
        ),
        (
            Start,
            500,
            "write /proc/sys/kernel/shmmax: invalid argument",
            Service,
            "`sysctls`: the daemon's kernel does not take the value",
        ),
        (
            Start,
            500,
            "crun: write to `/proc/sys/kernel/shmmax`: Invalid argument: OCI runtime error",
            Service,
            "`sysctls`: the daemon's kernel does not take the value",
        ),
        (
            Start,
            500,
            "error setting rlimits for ready process: error setting rlimit type 7: operation \
             not permitted",
            Service,
            "`ulimits`: the daemon may not set them so high",
        ),
        (
            Create,
            500,
            "container create: lookup init binary: exec: \"catatonit\": executable file not found in $PATH",
            Daemon,
            "its program for `init`, catatonit, is not installed",
        ),
        (Start, 500, port, Daemon, "no free port"),
        (Start, 500, "all ports are allocated", Daemon, "no free port"),
        (Start, 500, "write /x: no space left on device", Daemon, "disk is full"),
        (Start, 500, "failed: exchange full", Daemon, "bridge"),
        (Create, 400, "No command specified", Service, "`command`"),
        (Create, 400, "Minimum memory limit allowed is 6MB", Service, "`limits.memory`"),
        (Create, 400, "Unknown runtime specified nope", Service, "`runtime`"),
        (Create, 400, "something new", Service, "something new"),
        (Create, 500, "something new", Daemon, "something new"),
        (
            Create,
            500,
            "container create: creating container storage: mkdir /var/lib/x: \
          permission denied",
            Daemon,
            "its storage fails",
        ),
        (
            Start,
            400,
            "crun: executable file `/nope` not found in $PATH: No such file or \
          directory: OCI runtime attempted to invoke a command that was not found",
            Service,
            "`command`",
        ),
        (
            Start,
            500,
            "crun: open executable: Permission denied: OCI permission denied",
            Service,
            "may not run the program",
        ),
    ];
    for (operation, code, message, fault, part) in cases {
        let (found, text) = classify(operation, code, message);
        assert_eq!(found, fault, "{text}");
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn only_a_create_can_miss_an_image() {
    let missing = |operation, message: &str| {
        let error = Error::DockerResponseServerError { status_code: 404, message: message.into() };
        is_image_missing(operation, &CallFailure::Engine(error))
    };
    assert!(missing(Operation::Create, "No such image: sha256:abc"));
    assert!(!missing(Operation::Create, "network nonet not found"));
    assert!(!missing(Operation::Start, "No such image: sha256:abc"));
}

#[test]
fn a_cell_that_is_not_made_is_its_services_fault_only_if_its_runtime_says_so() {
    for (why, by_runtime, fault) in [
        ("executable file `/nope` not found: No such file or directory", true, Fault::Service),
        ("mkdir /sys/fs/cgroup/pids/x: Read-only file system", true, Fault::Daemon),
        ("open /run/ganger-cells/cell/root: No such file or directory", true, Fault::Daemon),
        ("No such file or directory (os error 2)", false, Fault::Daemon),
        ("Operation not permitted (os error 1)", false, Fault::Daemon),
    ] {
        assert_eq!(of_cell(why, by_runtime).fault, fault, "{why}");
    }
}
