//! Who can reach a container, and what it can do.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Container, Ending, FIXTURE, Fleet, Ganger, Host, is_slow, labelled, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// The containers of one service, each with its host.
fn of<'a>(fleet: &'a Fleet, ganger: &Ganger, service: &str) -> Vec<(&'a Host, Container)> {
    let mut found = labelled(fleet.all(), &ganger.label());
    found.retain(|(_, container)| container.label("io.ganger.service") == Some(service));
    assert!(!found.is_empty(), "containers of {service}");
    found
}

/// A field of a container as the engine has it, by a Go template.
fn inspect(host: &Host, id: &str, template: &str) -> String {
    host.docker(&["inspect", "--format", template, id])
}

/// The addresses that a container's port is published on, as was asked and as it is.
fn published_on(host: &Host, id: &str) -> Vec<String> {
    let asked = "{{range .HostConfig.PortBindings}}{{range .}}{{.HostIp}} {{end}}{{end}}";
    let made = "{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}";
    let both = [asked, made].map(|template| inspect(host, id, template)).join(" ");
    both.split_whitespace().map(Into::into).collect()
}

/// The network interfaces that a container sees.
fn interfaces(host: &Host, id: &str) -> Vec<String> {
    let pid = inspect(host, id, "{{.State.Pid}}");
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.collect()
}

fn ask(port: u16) -> String {
    let mut client = Client::connect(port);
    let line = client.line();
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    line.split(' ').next().unwrap().to_owned()
}

#[test]
fn by_namespace_no_port_is_published_and_a_sealed_container_has_no_network() {
    let fleet = Fleet::shared();
    let config = fleet
        .all()
        .iter()
        .fold(Config::new("inside"), |config, host| config.daemon(host.daemon(40)))
        .fixture("sealed", "warm: 4, max: 4, network: Sealed", &[])
        .fixture("bridge", "warm: 4, max: 4, network: Bridge", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    for (host, container) in of(&fleet, &ganger, "sealed") {
        assert_eq!(published_on(host, &container.id), [""; 0]);
        assert_eq!(inspect(host, &container.id, "{{.HostConfig.NetworkMode}}"), "none");
        assert_eq!(interfaces(host, &container.id), ["lo"]);
    }
    for (host, container) in of(&fleet, &ganger, "bridge") {
        assert_eq!(published_on(host, &container.id), [""; 0]);
        assert!(interfaces(host, &container.id).contains(&"eth0".to_owned()));
    }
    // And yet they are reached.
    for service in ["sealed", "bridge"] {
        Client::connect(config.port(service)).echo(service);
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn ports_are_published_where_only_their_daemon_s_machine_is_reached() {
    let fleet = Fleet::shared();
    let published = "warm: 4, max: 4, network: Bridge, reach: Published";
    let mut config = Config::new("ports").daemon(fleet.local().daemon(40));
    for host in fleet.hosts() {
        config = config.daemon(host.remote_daemon(40));
    }
    let config = config.fixture("own", published, &[]).fixture(
        "any",
        &format!("{published}, publish: Any"),
        &[],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    for (host, container) in of(&fleet, &ganger, "own") {
        assert_eq!(published_on(host, &container.id), [host.address(), host.address()]);
    }
    // Only a service that asks for it is published to everybody.
    for (host, container) in of(&fleet, &ganger, "any") {
        let addresses = published_on(host, &container.id);
        assert!(addresses.contains(&"0.0.0.0".to_owned()), "{addresses:?}");
    }
    for service in ["own", "any"] {
        Client::connect(config.port(service)).echo(service);
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn each_daemon_s_containers_are_reached_as_it_allows() {
    // Each has room for no more than its half.
    let fleet = Fleet::take(2);
    let (local, remote) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    let config = Config::new("auto")
        .daemon(local.daemon(2))
        .daemon(remote.remote_daemon(2))
        .fixture("id", "warm: 4, max: 4", &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    let reached = |host: &Host, how: &str| {
        let line = format!("containers are reached by {how} daemon={}", host.name);
        assert_eq!(ganger.count(&line), 1, "{:#?}", ganger.lines());
    };
    reached(local, "namespace");
    reached(remote, "published port");
    for (host, container) in of(&fleet, &ganger, "id") {
        let published = !published_on(host, &container.id).is_empty();
        assert_eq!(published, host.name == remote.name, "{}", host.name);
    }
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Client::connect(config.port("id"));
            client.echo("hello");
            client
        })
        .collect();
    drop(clients);
    let ends = ganger.wait_for_ends(4);
    for host in [local, remote] {
        assert_eq!(ends.iter().filter(|end| end.field("daemon") == host.name).count(), 2);
    }
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_socket_of_an_engine_elsewhere_leads_no_client_to_whoever_has_its_port_here() {
    let fleet = Fleet::shared();
    fleet.load_images();
    // Its socket and its processes are here, and its loopback is not.
    let host = &fleet.hosts()[0];
    let fields = "warm: 1, max: 1, network: Bridge, reach: Published";
    let config = Config::new("elsewhere").daemon(host.daemon(40)).fixture("id", fields, &[]);
    let mut ganger = config.start(GANGER, &fleet);
    let why = "give the daemon `publish_on`";
    let launched = || labelled(fleet.all(), &ganger.label()).pop();
    wait_until(DEADLINE, "it is told or launched", || {
        ganger.count(why) > 0
            || launched().is_some_and(|(_, container)| container.state == "running")
    });
    if let Some((_, container)) = launched() {
        let port = host.docker(&["port", &container.id, "7000/tcp"]);
        let another = TcpListener::bind(port.trim()).unwrap();
        std::thread::spawn(move || {
            for client in another.incoming() {
                client.unwrap().write_all(b"this is for another\n").unwrap();
            }
        });
        assert_eq!(Client::connect(config.port("id")).line(), "", "the client's was led astray");
    }
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("cannot run this service"));
    assert!(line.contains(why) && line.contains("another network namespace"), "{line}");
    ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
    let mut client = Client::connect(config.port("id"));
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    let end = ganger.wait_for_end(client.port());
    assert!(end.field("end") == "DQ" && end.reason().contains(why), "{end:?}");
    assert_eq!(ganger.stop(), 0);

    // An operator who names the address has said where it leads.
    let named = host.daemon(40).replace(')', &format!(", publish_on: {:?})", host.address()));
    let config = Config::new("named").daemon(named).fixture("id", fields, &[]);
    let mut ganger = config.serve(GANGER, &fleet);
    Client::connect(config.port("id")).echo("hello");
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn what_cannot_be_sealed_is_not_launched_and_check_says_so() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let (local, remote) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    let sealed = "warm: 1, max: 4, network: Sealed";
    let why = "`network: Sealed` needs reach by namespace";
    let check = |config: &Config| {
        let (instance, text) = (config.instance(), config.to_string());
        let mut check = Ganger::start(GANGER, &fleet, instance, &text, &["check", "--online"]);
        let code = check.wait(DEADLINE).code();
        (code, check.lines().join("\n"))
    };

    let config = Config::new("unsealed").daemon(remote.remote_daemon(40));
    let config = config.fixture("sealed", sealed, &[]);
    let (code, said) = check(&config);
    assert!(code == Some(1) && said.contains(why), "{said}");
    let mut ganger = config.start(GANGER, &fleet);
    for what in ["cannot run this service", "listening service=sealed"] {
        ganger.wait_for_line(DEADLINE, |line| line.contains(what));
    }
    let mut client = Client::connect(config.port("sealed"));
    assert_eq!(client.ending(), Ending::Reset(Vec::new()));
    let end = ganger.wait_for_end(client.port());
    assert!(end.field("end") == "DQ" && end.reason().contains(why), "{end:?}");
    assert_eq!(ganger.stop(), 0);

    // Asked to try, it cannot know before a launch.
    let config = Config::new("tried").daemon(remote.remote_daemon(40));
    let (code, said) =
        check(&config.fixture("sealed", &format!("{sealed}, reach: Namespace"), &[]));
    assert!(code == Some(0) && said.contains("which only a launch can show"), "{said}");

    // The mistake takes the daemon out for that service, not for others.
    let config = Config::new("partly")
        // Room for all of them here, whichever service is launched first.
        .daemon(local.daemon(40))
        .daemon(remote.remote_daemon(40))
        .fixture("sealed", sealed, &[])
        .fixture("open", "warm: 8, max: 8", &[]);
    let (code, said) = check(&config);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches(why).count(), 1, "{said}");
    let mut ganger = config.serve(GANGER, &fleet);
    let hosts = |service: &str| {
        let mut hosts: Vec<_> =
            of(&fleet, &ganger, service).iter().map(|(host, _)| host.name.clone()).collect();
        hosts.dedup();
        hosts
    };
    assert_eq!(hosts("sealed").join(" "), local.name);
    // Moves make up for a daemon that answers late.
    wait_until(DEADLINE, "both have some of them", || hosts("open").contains(&remote.name));
    assert_eq!(ganger.stop(), 0);

    let config = Config::new("sealed").daemon(local.daemon(40)).fixture("sealed", sealed, &[]);
    let (code, said) = check(&config);
    assert!(code == Some(0) && said.contains("reached by namespace"), "{said}");
}

#[test]
fn a_container_may_do_little() {
    let fleet = Fleet::shared();
    let host = fleet.local();
    let one = "warm: 1, max: 2, network: Sealed";
    let fields = "warm: 1, max: 2, network: Sealed, limits: (memory: \"32MiB\", cpus: 0.5, pids: 20), \
                  user: \"65534:65534\", read_only: true, tmpfs: {\"/tmp\": \"size=1m\"}, \
                  privileges: None";
    let config = Config::new("hard")
        .daemon(host.daemon(40))
        .fixture("hard", fields, &[])
        .fixture("plain", "warm: 1, max: 2, network: Sealed", &[])
        .fixture("given", &format!("{one}, privileges: None, cap_add: [\"NET_RAW\"]"), &[])
        .fixture(
            "other",
            &format!(
                "{one}, privileges: (add: [\"SYS_NICE\"], drop: [\"KILL\"]), no_new_privileges: false"
            ),
            &[],
        );
    let mut ganger = config.serve(GANGER, &fleet);
    let id = |service: &str| of(&fleet, &ganger, service).remove(0).1.id;
    let (hard, plain, given, other) = (id("hard"), id("plain"), id("given"), id("other"));

    // As the kernel has it.
    let status = |id: &str, field: &str| {
        let pid = inspect(host, id, "{{.State.Pid}}");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        line.unwrap().to_owned()
    };
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT.
    let standard = [0, 1, 3, 4, 5, 6, 7, 10, 18].map(|bit| 1_u64 << bit).iter().sum::<u64>();
    let (net_raw, kill, sys_nice) = (1 << 13, 1 << 5, 1 << 23);
    for (id, capabilities, no_new) in [
        (&hard, 0, "1"),
        (&plain, standard, "1"),
        (&given, net_raw, "1"),
        (&other, standard - kill + sys_nice, "0"),
    ] {
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(u64::from_str_radix(&status(id, set), 16).unwrap(), capabilities, "{set}");
        }
        assert_eq!(status(id, "NoNewPrivs"), no_new);
        assert_eq!(status(id, "Seccomp"), "2");
    }
    assert_eq!(status(&hard, "Uid"), "65534\t65534\t65534\t65534");
    // As the engine has it.
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} \
                  {{.HostConfig.PidsLimit}} {{.HostConfig.ReadonlyRootfs}}";
    assert_eq!(inspect(host, &hard, limits), "33554432 33554432 500000000 20 true");
    assert_eq!(inspect(host, &hard, "{{.HostConfig.Tmpfs}}"), "map[/tmp:size=1m]");
    assert_eq!(inspect(host, &plain, limits), "536870912 536870912 0 256 false");
    let others = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig}} \
                  {{.HostConfig.OomScoreAdj}} {{.HostConfig.Privileged}}";
    assert_eq!(
        inspect(host, &plain, others),
        "no {json-file map[max-file:2 max-size:512k]} 500 false"
    );
    assert_eq!(ganger.stop(), 0);
}

#[test]
fn a_container_that_ran_out_of_memory_is_not_reused() {
    let fleet = Fleet::shared();
    for (reach, host) in [("Namespace", &fleet.hosts()[0]), ("Published", fleet.local())] {
        let fields = format!(
            "reuse: 9, warm: 0, max: 2, surplus_after: \"10m\", network: Bridge, reach: {reach}, \
             limits: (memory: \"16MiB\")"
        );
        // Lazy: a probe by published port is a connection, and is not to count.
        let child = ["identify", "--lazy", "--child-eats-memory"];
        let config = Config::new("memory")
            .daemon(host.daemon(40))
            .fixture("id", &fields, &["identify"])
            .fixture("child", &fields, &child)
            .fixture("whole", &fields, &["--eat-memory"]);
        let mut ganger = config.serve(GANGER, &fleet);
        // A container that did not is reused.
        assert_eq!(ask(config.port("id")), ask(config.port("id")));

        // The kernel kills a process in it, the service goes on, the client
        // ends in good order. The engine tells of it a little later; the next
        // client may come before.
        let mut client = Client::connect(config.port("child"));
        client.send("eat\n");
        let id = client.line().split(' ').next().unwrap().to_owned();
        assert_eq!(client.line(), "eat");
        let own = client.port();
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        assert_eq!(ganger.wait_for_end(own).field("end"), "--");
        let mut next = Client::connect(config.port("child"));
        next.send("eat\n");
        let greeting = next.line();
        assert!(!greeting.starts_with(&id), "{greeting} has lost a process");
        drop(next);
        wait_until(DEADLINE, "it is retired", || {
            let all = labelled(fleet.all(), &ganger.label());
            !all.iter().any(|(_, container)| container.id.starts_with(&id))
        });

        let mut client = Client::connect(config.port("whole"));
        client.send("eat\n");
        assert_eq!(client.ending(), Ending::Reset(Vec::new()));
        let end = ganger.wait_for_end(client.port());
        // An engine that hears of the exit first never says that it was memory.
        let killed = ["out of memory", "exited with code 137"];
        let told = killed.iter().any(|why| end.reason().contains(why));
        // Or it says nothing in the time that it has.
        assert!(told || is_slow() && end.reason().contains("its process ended"), "{end:?}");
        assert_eq!(ganger.stop(), 0);
    }
}

#[test]
fn an_image_that_is_on_one_daemon_only_is_run_there() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let (with, without) = (&fleet.hosts()[0], &fleet.hosts()[1]);
    let image = format!("ganger.test/{}:1", ganger_test_support::unique("only"));
    let _ = with.docker(&["tag", FIXTURE, &image]);
    let config = Config::new("image").daemon(with.daemon(40)).daemon(without.daemon(40)).image(
        "id",
        &image,
        "warm: 2, max: 4, network: Sealed",
        &["identify"],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let line = ganger.wait_for_line(DEADLINE, |line| line.contains("cannot run this service"));
    assert!(line.contains(&without.name) && line.contains(&image), "{line}");
    drop((0..4).map(|_| ask(config.port("id"))).collect::<Vec<_>>());
    for end in ganger.wait_for_ends(4) {
        assert_eq!(end.field("daemon"), with.name);
    }
    assert_eq!(ganger.stop(), 0);
    let _ = with.docker(&["rmi", &image]);
}
