//! Stock services in images, asked by real clients: with no more settings than they cannot do
//! without, and by the recipes of docs/images.md.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]
#![expect(clippy::print_stdout, reason = "how much was asked is to show")]

mod clients;

use std::collections::BTreeSet;

use ganger_test_support::{ACCESS_LOG, Fleet, Ganger, free_port, unique};

/// The built program.
const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const RECIPES: &str = include_str!("../../docs/images.md");

/// A mail server asks for its client's name before it says anything, and the hosts of the fleet
/// have no name server.
const NO_NAME_SERVER: &str = ", network: Sealed";

/// A service by its recipe, and with the least.
struct Bed {
    name: &'static str,
    ganger: Ganger,
    ports: [u16; 2],
}

/// The service of a recipe, as it stands in the document.
fn recipe(name: &str) -> &'static str {
    let start = format!("```ron\n{name:?}: (");
    let from = RECIPES.find(&start).unwrap_or_else(|| panic!("docs/images.md has no {name}"));
    let block = &RECIPES[from + "```ron\n".len()..];
    &block[..block.find("\n```").unwrap()]
}

/// The value of a field that stands in a line of its own.
fn field<'a>(recipe: &'a str, name: &str) -> Option<&'a str> {
    let line = recipe.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
    line.map(|value| value.trim_end_matches(','))
}

// === impl Bed ===

impl Bed {
    /// Starts both, and waits for their stock.
    fn new(name: &'static str) -> Self {
        let fleet = Fleet::shared();
        let host = &fleet.hosts()[0];
        let image = format!("ganger.test/{name}:1");
        let there = host.try_docker(&["image", "inspect", "--format", "there", &image]);
        assert!(
            there.is_ok(),
            "{image} is absent: `cargo xtask test --images` makes it: {there:?}"
        );

        let (instance, ports) = (unique(name), [(); 2].map(|()| free_port()));
        let recipe = recipe(name);
        let of = |key: &str| field(recipe, key).unwrap();
        let listen = |port: u16| format!("\"127.0.0.1:{port}\"");
        let full = recipe
            .replace(of("listen"), &listen(ports[0]))
            .replace(of("image"), &format!("{image:?}"));
        let env = field(recipe, "env").map(|env| format!(", env: {env}")).unwrap_or_default();
        let (port, listen) = (of("port"), listen(ports[1]));
        let name_server = if name == "smtp" { NO_NAME_SERVER } else { "" };
        let least = format!(
            "\"least\": (listen: {listen}, image: {image:?}, port: {port}{env}{name_server}),"
        );
        let url = host.url();
        let config = format!(
            "#![enable(implicit_some)]\n(\n    instance: {instance:?},\n    access_log: \
             {ACCESS_LOG:?},\n    daemons: Static([(name: \"d\", url: {url:?}, max_containers: \
             100)]),\n    services: {{\n{full}\n{least}\n    }},\n)"
        );
        let ganger = Ganger::run(GANGER, &fleet, &instance, &config);
        ganger.wait_until_stocked(name);
        ganger.wait_until_stocked("least");
        Self { name, ganger, ports }
    }

    /// Asks both, so that each is served as often as `asks` says that it has connected; then
    /// every connection has had a container of its own, and nothing is left.
    fn ask(mut self, asks: impl Fn(u16) -> usize) {
        let count: usize = self.ports.iter().copied().map(asks).sum();
        let ends = self.ganger.wait_for_ends(count);
        assert_eq!(ends.len(), count, "{}: {ends:?}", self.name);
        // A client may leave without reading all, and is then said to have.
        let good = |end: &str| end == "--" || end == "CD";
        assert!(ends.iter().all(|end| good(end.field("end"))), "{}: {ends:#?}", self.name);
        let containers: BTreeSet<_> = ends.iter().map(|end| end.field("container")).collect();
        assert_eq!(containers.len(), count, "{}: none serves twice", self.name);
        assert_eq!(self.ganger.count("launch failed"), 0, "{}", self.name);
        assert_eq!(self.ganger.stop(), 0, "{}", self.name);
        self.ganger.assert_nothing_left();
        println!("{}: {count} connections, each to a container of its own", self.name);
    }
}

#[test]
fn postgres_serves_psql_and_pgbench() {
    Bed::new("postgres").ask(|port| clients::psql(port) + clients::pgbench(port));
}

#[test]
fn mariadb_serves_its_client() {
    Bed::new("mariadb").ask(clients::mariadb);
}

#[test]
fn redis_serves_redis_cli() {
    Bed::new("redis").ask(clients::redis);
}

#[test]
fn nginx_serves_curl_and_ab() {
    Bed::new("nginx").ask(|port| clients::curl(port, "Welcome to nginx!") + clients::ab(port));
}

#[test]
fn openssh_serves_ssh_and_scp() {
    Bed::new("openssh").ask(clients::ssh);
}

#[test]
fn memcached_serves_its_protocol() {
    Bed::new("memcached").ask(clients::memcached);
}

#[test]
fn smtp_takes_mail_of_swaks() {
    Bed::new("smtp").ask(clients::swaks);
}

#[test]
fn tomcat_serves_curl() {
    Bed::new("tomcat").ask(|port| clients::curl(port, "It works !"));
}

#[test]
fn a_challenge_behind_socat_is_played() {
    Bed::new("ctf").ask(clients::challenge);
}

#[test]
fn every_recipe_is_tested() {
    let recipes = RECIPES.matches("```ron\n").count();
    let tests = include_str!("main.rs").matches("    Bed::new(\"").count();
    assert_eq!(recipes, tests);
}
