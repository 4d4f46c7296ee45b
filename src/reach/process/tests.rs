//! Processes of this machine stand in for those of containers.

use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;

#[tokio::test]
async fn a_listener_is_seen_without_connecting_and_a_connection_is_none() {
    let process = Process::open(i32::try_from(std::process::id()).unwrap()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(process.listens(port, false).unwrap());
    assert!(!process.listens(port, true).unwrap(), "only on loopback");
    let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    assert!(process.listens(open.local_addr().unwrap().port(), true).unwrap());
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(listener);
    assert!(!process.listens(port, false).unwrap());
    assert!(!process.listens(client.local_addr().unwrap().port(), false).unwrap());
}

#[tokio::test]
async fn without_a_control_group_a_process_is_the_container_s_whose_keeper_is_its_parent() {
    let id = "f".repeat(64);
    // As conmon is called, and a shim of containerd.
    let mut keeper = tokio::process::Command::new("sh")
        .args(["-c", "sleep 600 & echo $!; wait", "conmon", "--api-version", "1", "-c", &id])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(keeper.stdout.take().unwrap()).lines();
    let pid: i32 = said.next_line().await.unwrap().unwrap().parse().unwrap();
    let process = Process::open(pid).unwrap();
    assert!(process.belongs_to(&id));
    assert!(!process.belongs_to(&"e".repeat(64)));
    assert!(!process.has_own_group(&id) && !process.ran_out_of_memory());
    let its_keeper = Process::open(i32::try_from(keeper.id().unwrap()).unwrap()).unwrap();
    assert!(!its_keeper.belongs_to(&id), "it has the id itself, and runs on the host");
    assert!(its_keeper.may_be_several() && !process.may_be_several());

    let number = Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
    process.ended().await;
    assert!(!process.belongs_to(&id));
    keeper.wait().await.unwrap();
}

#[tokio::test]
async fn a_process_that_ends_is_seen_to() {
    let mut child =
        tokio::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let process = Process::open(pid).unwrap();
    assert!(!process.has_ended() && !process.is_ending());
    assert!(!process.belongs_to("no such container"));
    drop(child.stdin.take());
    process.ended().await;
    assert!(process.has_ended() && process.is_ending());
    assert!(process.has_own_group("any"), "one that has ended says nothing of limits");
    child.wait().await.unwrap();
    assert!(process.has_ended(), "also when its number is free again");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_in_another_network_namespace_is_told_from_one_in_ours() {
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(shares_network(own).unwrap());
    // The child is in another namespace before it prints.
    let script = "echo; exec cat";
    let mut child = tokio::process::Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0];
    let stdout = child.stdout.as_mut().unwrap();
    tokio::io::AsyncReadExt::read_exact(stdout, &mut said).await.unwrap();
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    assert!(!shares_network(pid).unwrap());
    // Its parent is this process.
    let process = Process::open(pid).unwrap();
    assert!(process.is_kept_here());
    child.kill().await.unwrap();
    assert!(!process.is_kept_here());
    assert!(shares_network(i32::MAX).is_err());
}

#[tokio::test]
async fn a_number_that_another_process_has_got_tells_nothing() {
    let mut child = std::process::Command::new("cat").spawn().unwrap();
    let ended = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Another process has its number now: this one, which lives and listens.
    let pid = i32::try_from(std::process::id()).unwrap();
    let reused = Process { pid, ..ended };
    let living = Process::open(pid).unwrap();
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Every control group's name contains the empty id.
    assert!(living.belongs_to("") && !reused.belongs_to(""));
    assert!(reused.memory.get().is_none());
    assert!(living.listens(port, true).unwrap() && reused.listens(port, true).is_err());
    assert!(living.has_no_connections(1).is_ok() && reused.has_no_connections(1).is_err());
    assert!(!living.is_ending() && reused.is_ending() && reused.has_ended());
    assert!(!reused.is_kept_here());
    assert!(shares_network(pid).unwrap());
}

#[test]
fn nobody_is_nobody() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _guard = runtime.enter();
    assert!(Process::open(0).is_err());
    assert!(Process::open(i32::MAX).is_err());
}

#[tokio::test]
async fn a_service_that_took_the_place_of_a_start_script_may_be_several() {
    for (script, several) in [("exec cat", false), ("true; /bin/true; exec cat", true)] {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The script has become the service when it answers.
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, b"x\n").await.unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next_line().await.unwrap().as_deref(), Some("x"));
        let process = Process::open(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        assert_eq!(process.may_be_several(), several, "{script}");
        while !process.rests() {
            tokio::task::yield_now().await;
        }
        drop(stdin);
        child.wait().await.unwrap();
    }
    // A child that computes until it is told to end.
    let script = "while :; do :; done & echo $!; wait";
    let mut busy = tokio::process::Command::new("sh")
        .args(["-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(busy.stdout.take().unwrap()).lines();
    let child: i32 = said.next_line().await.unwrap().unwrap().parse().unwrap();
    let process = Process::open(i32::try_from(busy.id().unwrap()).unwrap()).unwrap();
    assert!(!process.rests());
    let child = Pid::from_raw(child).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    busy.wait().await.unwrap();
}
