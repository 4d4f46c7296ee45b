//! Images from a real registry: by tag, by digest, with a login, and tags that move.

use std::time::Duration;

use ganger_test_support::{
    Answers, Client, Config, Ending, FIXTURE, Fleet, Registry, Shim, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// Connects, is told by whom it is served, and leaves in good order.
fn ask(port: u16) -> String {
    let mut client = Client::connect(port);
    let line = client.line();
    assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    line
}

#[test]
fn an_image_is_pulled_by_tag_and_by_digest_and_only_with_the_login_that_it_needs() {
    let fleet = Fleet::shared();
    let host = fleet.local();
    fleet.load_images();
    let registry = Registry::start(true);
    let digest = registry.publish(host, FIXTURE, "private:1", &["--banner", "private"]);
    let fields = "warm: 1, max: 2, network: Sealed, pull: IfMissing";
    let tagged = registry.name("private:1");
    let config = |name: &str, image: &str| {
        Config::new(name).daemon(host.daemon(40)).image("echo", image, fields, &[])
    };

    let anonymous = config("anonymous", &tagged).env("DOCKER_CONFIG", "/nonexistent");
    let mut ganger = anonymous.start(GANGER, &fleet);
    let said = ganger.wait_for_line(DEADLINE, |line| line.contains("cannot run this service"));
    assert!(said.contains("cannot pull") && said.contains("docker login"), "{said}");
    assert_eq!(ganger.stop(), 0);

    for image in
        [&tagged, &digest, &format!("{tagged}@{}", digest.split_once('@').expect("a digest").1)]
    {
        assert!(host.try_docker(&["inspect", image]).is_err(), "{image} is there already");
        let config = config("login", image).env("DOCKER_CONFIG", &registry.login());
        let mut ganger = config.start(GANGER, &fleet);
        ganger.wait_until_stocked("echo");
        assert_eq!(ask(config.port("echo")), "private");
        assert_eq!(ganger.stop(), 0);
        let _ = host.docker(&["rmi", image]);
    }
}

#[test]
fn a_tag_that_moves_is_followed_and_a_registry_that_is_away_changes_nothing() {
    let fleet = Fleet::shared();
    let host = fleet.local();
    fleet.load_images();
    let mut registry = Registry::start(false);
    let publish = |registry: &Registry, command: &[&str]| {
        registry.publish(host, FIXTURE, "moving:latest", command)
    };
    publish(&registry, &["--banner", "one"]);
    let fields = "warm: 2, max: 6, network: Sealed, pull: IfMissing, watch_image: \"1s\"";
    let name = registry.name("moving");
    let config = Config::new("moving").daemon(host.daemon(40)).image("echo", &name, fields, &[]);
    let mut ganger = config.start(GANGER, &fleet);
    let port = config.port("echo");
    ganger.wait_until_stocked("echo");
    assert_eq!(ask(port), "one");
    assert_eq!(ganger.count("the tag has moved"), 0);

    let mut held = Client::connect(port);
    assert_eq!(held.line(), "one");
    publish(&registry, &["--banner", "two"]);
    ganger.wait_for_line(DEADLINE, |line| line.contains("switched over"));
    assert_eq!(ask(port), "two");
    held.echo("still here");
    assert_eq!(held.finish(), Ending::Closed(Vec::new()));

    registry.stop();
    ganger.wait_for_line(DEADLINE, |line| line.contains("cannot learn whether the tag has moved"));
    for _ in 0..6 {
        assert_eq!(ask(port), "two");
    }
    registry.resume();
    ganger.wait_for_line(DEADLINE, |line| line.contains("the registry answers again"));

    publish(&registry, &["--exit", "3"]);
    let said = ganger.wait_for_line(DEADLINE, |line| line.contains("rolled back"));
    assert!(said.contains("exited with code 3"), "{said}");
    assert_eq!(ask(port), "two");
    // The image that the tag names was tried; only another move is tried again.
    publish(&registry, &["--banner", "three"]);
    wait_until(DEADLINE, "the third is switched to", || ganger.count("switched over") == 2);
    assert_eq!(ask(port), "three");
    let ends = ganger.wait_for_ends(11);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn a_pull_that_stalls_is_given_up_and_repeated_and_others_serve_meanwhile() {
    let fleet = Fleet::shared();
    let host = fleet.local();
    fleet.load_images();
    let registry = Registry::start(false);
    let shim = Shim::of_registry(&registry);
    let _ = registry.publish(host, FIXTURE, "stalls:1", &["--banner", "late"]);
    let fields = "warm: 1, max: 2, network: Sealed, pull: IfMissing";
    let config = Config::new("stalls")
        .daemon(host.daemon(40))
        .image("late", &shim.image("stalls:1"), fields, &[])
        .fixture("prompt", "warm: 1, max: 2, network: Sealed", &["--banner", "prompt"]);
    let ailing = shim.suffer(Answers::BlobsStalled);
    let mut ganger = config.start(GANGER, &fleet);
    ganger.wait_until_stocked("prompt");
    wait_until(DEADLINE, "the pull stalls", || shim.met() > 0);
    // Its time-out is a minute.
    ganger.wait_for_line(2 * DEADLINE, |line| line.contains("has made no progress for 60s"));
    assert_eq!(ask(config.port("prompt")), "prompt");
    drop(ailing);
    ganger.wait_until_stocked("late");
    assert_eq!(ask(config.port("late")), "late");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
