//! Tests: which connections are left in a namespace when those who had them are gone.

use super::*;

#[test]
fn whatever_state_it_is_in_a_connection_is_left_but_for_our_end() {
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n";
    let table = |local: &str, remote: &str, state: &str| {
        format!("{head}   0: 0100007F:{local} 0100007F:{remote} {state} 00000000:00000000\n")
    };
    assert!(!is_used(head, 7000));
    for state in ["01", "04", "05", "06", "08", "09"] {
        assert!(is_used(&table("1B58", "9C40", state), 7000), "the service's, {state}");
        assert!(!is_used(&table("9C40", "1B58", state), 7000), "ours, {state}");
        assert!(is_used(&table("9C40", "0050", state), 7000), "to somebody else, {state}");
    }
    assert!(is_used(&table("1F90", "0000", "0A"), 7000), "a listener");
    let resolver = table("1F90", "0000", "0A").replacen("0100007F", "0B00007F", 1);
    assert!(!is_used(&resolver, 7000), "the engine's name server");
    let asked = table("1F90", "9C40", "01").replacen("0100007F", "0B00007F", 1);
    assert!(is_used(&asked, 7000), "a question to it");
}

/// A namespace in which a service has closed its connection first, and has ended.
#[tokio::test]
#[ignore = "needs root"]
async fn a_connection_in_time_wait_is_left() {
    let mut child = std::process::Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let process = Process::open(pid).unwrap();
    let ends = async |service_first: bool, port: u16| {
        let namespace = network_namespace(pid).unwrap();
        let made = std::thread::spawn(move || {
            use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).unwrap();
            let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
            let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (served, _) = listener.accept().unwrap();
            let (first, mut second) =
                if service_first { (served, client) } else { (client, served) };
            drop(first);
            assert_eq!(io::Read::read(&mut second, &mut [0]).unwrap(), 0);
        });
        made.join().unwrap();
    };
    assert!(process.has_no_connections(7000).unwrap());
    ends(false, 7000).await;
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    assert!(table.lines().count() > 1, "our end stays: {table}");
    assert!(process.has_no_connections(7000).unwrap(), "{table}");
    ends(true, 7000).await;
    assert!(!process.has_no_connections(7000).unwrap());
    drop(child.stdin.take());
    child.wait().unwrap();
}
