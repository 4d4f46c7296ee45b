//! Messages to a service manager while the program starts, reloads and stops.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use ganger_test_support::{Client, Config, Ganger, unique};
use rustix::process::Signal;

const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_service_manager_hears_when_clients_are_served_of_reloads_and_of_the_end() {
    let path = std::env::temp_dir().join(unique("notify"));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let heard = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).trim_end().to_owned()
    };
    let alive = "WATCHDOG=1";
    let news = || std::iter::repeat_with(heard).find(|message| message != alive).unwrap();

    let daemon = "(name: \"local\", url: \"unix:///nonexistent/docker.sock\", max_containers: 4)";
    let config = Config::new("notify").daemon(daemon.to_owned()).fixture("echo", "warm: 1", &[]);
    let (instance, text) = (config.instance(), config.to_string());
    let notify = format!("NOTIFY_SOCKET={}", path.display());
    // env(1) becomes the program.
    let run = [&notify, "WATCHDOG_USEC=100000", GANGER, "run"];
    let mut ganger = Ganger::start_alone("env", instance, &text, &run);

    assert_eq!(news(), "READY=1");
    assert!(Client::try_connect(config.port("echo")).is_ok(), "it listens by then");
    for _ in 0..3 {
        std::iter::repeat_with(heard).find(|message| message == alive).unwrap();
    }
    for text in [text.clone(), "no configuration".to_owned()] {
        ganger.reload(&text);
        let message = news();
        let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{message}");
        assert_eq!(news(), "READY=1");
        ganger.wait_for_line(DEADLINE, |line| line.contains("reloaded"));
        std::iter::repeat_with(heard).find(|message| message == alive).unwrap();
        std::iter::repeat_with(heard).find(|message| message == alive).unwrap();
    }
    ganger.signal(Signal::TERM);
    assert_eq!(news(), "STOPPING=1");
    assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
    fs::remove_file(path).unwrap();
}
