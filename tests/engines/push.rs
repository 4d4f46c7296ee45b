//! `ganger push`: images go from one real engine to others.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use ganger_test_support::{Client, Config, Consul, FIXTURE, Fleet, Ganger, Host, unique};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(120);
const NOWHERE: &str = "unix:///nonexistent/docker.sock";

/// An image that one host has and no other: the fixture, and a file that is nowhere
/// else. It is removed from every host in the end.
struct OnlyThere<'f> {
    fleet: &'f Fleet,
    reference: String,
}

// === impl OnlyThere ===

impl<'f> OnlyThere<'f> {
    fn new(fleet: &'f Fleet, host: &Host, bytes: u64) -> Self {
        fleet.load_images();
        let name = unique("pushed");
        let file = std::env::temp_dir().join(&name);
        // Random bytes: compressible ones would be fewer on the wire.
        let mut random = File::open("/dev/urandom").unwrap().take(bytes);
        io::copy(&mut random, &mut File::create(&file).unwrap()).unwrap();
        let container = host.docker(&["create", FIXTURE]);
        let reference = format!("ganger.test/{name}:1");
        let _ = host.docker(&["cp", file.to_str().unwrap(), &format!("{container}:/blob")]);
        let _ = host.docker(&["commit", &container, &reference]);
        host.remove(&container);
        fs::remove_file(file).unwrap();
        Self { fleet, reference }
    }

    /// Its id on a host, if it is there.
    fn id(&self, host: &Host) -> Option<String> {
        host.try_docker(&["image", "inspect", "--format={{.Id}}", &self.reference]).ok()
    }
}

impl Drop for OnlyThere<'_> {
    fn drop(&mut self) {
        for host in self.fleet.all() {
            // Where it never came to, there is none.
            let _ = host.try_docker(&["image", "rm", "--force", &self.reference]);
        }
    }
}

/// Where a host's API can be reached, over connections that break when the host was
/// sent so many bytes.
fn broken_after(host: &Host, bytes: u64) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = host.socket.clone();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = UnixStream::connect(&socket).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || forward(&client, server, bytes));
        }
    });
    port
}

fn forward(client: &TcpStream, mut server: UnixStream, bytes: u64) {
    let _ = io::copy(&mut client.take(bytes), &mut server);
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}

/// The output of `ganger push`, and its exit code.
fn push(fleet: &Fleet, config: &Config, image: &str, args: &[&str]) -> (Option<i32>, String) {
    let (instance, text) = (config.instance(), config.to_string());
    let args = [&["push", image][..], args].concat();
    let mut push = Ganger::start(GANGER, fleet, instance, &text, &args);
    let code = push.wait(DEADLINE).code();
    (code, push.lines().join("\n"))
}

/// A configuration with these daemons and a service that runs an image where it is.
fn config(name: &str, daemons: &[String], image: &str) -> Config {
    let config = daemons.iter().cloned().fold(Config::new(name), Config::daemon);
    config.image("echo", image, "warm: 4, max: 8, network: Bridge, pull: Never", &[])
}

#[test]
fn an_image_comes_to_every_daemon_and_is_run_there() {
    // Each has room for no more than its half.
    let fleet = Fleet::take(3);
    let [local, one, two] = fleet.hosts() else { panic!("three hosts were taken") };
    let image = OnlyThere::new(&fleet, local, 20 << 20);
    // Host one is reached over the network, the others by sockets.
    let [of_local, of_one, of_two] = [local.daemon(2), one.remote_daemon(2), two.daemon(2)];
    let everywhere = config("push", &[of_one.clone(), of_local, of_two.clone()], &image.reference);
    let push = |args: &[&str]| push(&fleet, &everywhere, &image.reference, args);

    // Nothing is done by a command that is wrong in any part.
    let (nobody, meant) = (format!("{}1", one.name), format!("did you mean {}?", one.name));
    let (code, said) = push(&["--to", &two.name, "--to", &nobody]);
    assert!(code == Some(2) && said.contains(&meant), "{code:?} {said}");
    let (code, said) = push(&["--to", &two.name, "--from", &one.name]);
    let missing = format!("the image {} is not on {}", image.reference, one.name);
    assert!(code == Some(1) && said.contains(&missing), "{code:?} {said}");
    assert_eq!((image.id(one), image.id(two)), (None, None));

    let (code, said) = push(&["--to", "all"]);
    let expected = [
        format!("{}: from {}, sha256:", image.reference, local.name),
        format!("{}: has it now, 2", one.name),
        format!("{}: has it now, 2", two.name),
        format!("{}: on 2 of 2 daemons", image.reference),
    ];
    assert!(code == Some(0) && expected.iter().all(|line| said.contains(line)), "{code:?} {said}");
    let id = image.id(local);
    assert!(id.is_some() && id == image.id(one) && id == image.id(two));

    let (code, said) = push(&["--to", &one.name, "--to", &two.name]);
    assert_eq!((code, said.matches("has it already").count()), (Some(0), 2), "{said}");

    let there = config("pushed", &[of_one, of_two], &image.reference);
    let mut ganger = there.serve(GANGER, &fleet);
    for host in [one, two] {
        assert_eq!(host.containers(&ganger.label()).len(), 2, "on {}", host.name);
    }
    Client::connect(there.port("echo")).echo("pushed");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_daemon_that_breaks_off_or_is_away_is_named_and_the_others_get_the_image() {
    let fleet = Fleet::shared();
    let [local, one, two] = fleet.hosts() else { panic!("three hosts were taken") };
    let image = OnlyThere::new(&fleet, local, 20 << 20);
    let port = broken_after(one, 5 << 20);
    let breaks = format!("(name: \"breaks\", url: \"tcp://127.0.0.1:{port}\", max_containers: 2)");
    let away = format!("(name: \"away\", url: {NOWHERE:?}, max_containers: 2)");
    let daemons = [away, breaks, local.daemon(2), two.daemon(2)];
    let config = config("cut", &daemons, &image.reference);
    let (code, said) = push(&fleet, &config, &image.reference, &["--to", "all"]);
    let expected = [
        "away: not pushed: no container engine at unix:///nonexistent/docker.sock".to_owned(),
        format!("breaks: not pushed: tcp://127.0.0.1:{port} "),
        format!("{}: has it now", two.name),
        "on 1 of 3 daemons".to_owned(),
    ];
    assert!(code == Some(4) && expected.iter().all(|line| said.contains(line)), "{code:?} {said}");
    assert_eq!(image.id(one), None, "a part of an image is none");
    assert_eq!(image.id(two), image.id(local));
}

#[test]
fn daemons_that_consul_lists_get_an_image_of_an_engine_on_this_machine() {
    let fleet = Fleet::shared();
    let (local, hosts) = (fleet.local(), &fleet.hosts()[..2]);
    let image = OnlyThere::new(&fleet, local, 1 << 20);
    let consul = Consul::start(&fleet, "dc1", None);
    hosts.iter().for_each(|host| consul.register("docker", host, 2));
    let servers = consul.url();
    let config = config("listed", &[], &image.reference).discovery(format!(
        "Consul(servers: [{servers:?}], service: \"docker\", max_containers: 2, insecure: true)"
    ));
    let (code, said) = push(&fleet, &config, &image.reference, &["--to", "all"]);
    assert!(code == Some(1) && said.contains("name the engine that has it"), "{code:?} {said}");
    let from = ["--to", "all", "--from", &local.url()];
    let (code, said) = push(&fleet, &config, &image.reference, &from);
    assert!(code == Some(0) && said.ends_with("on 2 of 2 daemons"), "{code:?} {said}");
    for host in hosts {
        assert_eq!(image.id(host), image.id(local), "on {}", host.name);
    }
}
