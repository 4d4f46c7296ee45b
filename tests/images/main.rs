//! Stock services in images, asked by real clients: with only the settings that they need,
//! and by the recipes of docs/images.md.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]
#![expect(clippy::print_stdout, reason = "how much was asked is to show")]

mod clients;

use std::collections::BTreeSet;
use std::process::Command;

use ganger_test_support::{ACCESS_LOG, Fleet, Ganger, free_port, unique};

/// The built program.
const GANGER: &str = env!("CARGO_BIN_EXE_ganger");
const RECIPES: &str = include_str!("../../docs/images.md");

/// A mail server asks for its client's name before it says anything, and the hosts of the fleet
/// have no name server.
const NO_NAME_SERVER: &str = "    network: Sealed,\n";

/// Services of one image.
struct Bed {
    name: &'static str,
    ganger: Ganger,
    ports: Vec<u16>,
}

fn image(name: &str) -> String {
    format!("ganger.test/{name}:1")
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
    /// A service by its recipe, and one with the fewest settings.
    fn new(name: &'static str) -> Self {
        let recipe = recipe(name);
        let (port, env) = (field(recipe, "port").unwrap(), field(recipe, "env"));
        let env = env.map(|env| format!("    env: {env},\n")).unwrap_or_default();
        let name_server = if name == "smtp" { NO_NAME_SERVER } else { "" };
        let least = format!(
            "\"least\": (\n    listen: \"\",\n    image: \"\",\n    port: {port},\n{env}{name_server}),"
        );
        Self::serve(name, &[(name, recipe), ("least", &least)])
    }

    /// The service that `ganger try` proposes for an image, with this environment.
    fn tried(name: &'static str, env: &[&str]) -> Self {
        let (fleet, image) = (Fleet::shared(), image(name));
        let mut program = Command::new(GANGER);
        program.args(["try", "--docker", &fleet.hosts()[0].url(), &image]);
        program.args(env.iter().flat_map(|variable| ["--env", variable]));
        let output = program.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (proposed, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}: {}: {said}", output.status);
        println!("$ ganger try {image} {}\n{said}{proposed}", env.join(" "));
        drop(fleet);
        Self::serve(name, &[(name, proposed.trim_end())])
    }

    /// Starts these services of one image, each by its name, and waits for their stock.
    fn serve(name: &'static str, services: &[(&str, &str)]) -> Self {
        let (fleet, image) = (Fleet::shared(), image(name));
        let host = &fleet.hosts()[0];
        let there = host.try_docker(&["image", "inspect", "--format", "there", &image]);
        assert!(
            there.is_ok(),
            "{image} is absent: `cargo xtask test --images` makes it: {there:?}"
        );

        let instance = unique(name);
        let ports: Vec<_> = services.iter().map(|_| free_port()).collect();
        let placed = services.iter().zip(&ports).map(|((_, service), port)| {
            let value = |key: &str| format!("    {key}: {},\n", field(service, key).unwrap());
            service
                .replacen(&value("listen"), &format!("    listen: \"127.0.0.1:{port}\",\n"), 1)
                .replacen(&value("image"), &format!("    image: {image:?},\n"), 1)
        });
        let placed: Vec<_> = placed.collect();
        let config = format!(
            "#![enable(implicit_some)]\n(\n    instance: {instance:?},\n    access_log: \
             {ACCESS_LOG:?},\n    daemons: Static([(name: \"d\", url: {:?}, max_containers: \
             100)]),\n    services: {{\n{}\n    }},\n)",
            host.url(),
            placed.join("\n")
        );
        let ganger = Ganger::run(GANGER, &fleet, &instance, &config);
        services.iter().for_each(|(service, _)| ganger.wait_until_stocked(service));
        Self { name, ganger, ports }
    }

    /// Asks each, so that each is served as often as `asks` says that it has connected; then
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
fn what_is_proposed_for_postgres_serves_psql_and_pgbench() {
    let bed = Bed::tried("postgres", &["POSTGRES_PASSWORD=secret"]);
    bed.ask(|port| clients::psql(port) + clients::pgbench(port));
}

#[test]
fn what_is_proposed_for_redis_serves_redis_cli() {
    Bed::tried("redis", &[]).ask(clients::redis);
}

#[test]
fn what_is_proposed_for_nginx_serves_curl_and_ab() {
    let bed = Bed::tried("nginx", &[]);
    bed.ask(|port| clients::curl(port, "Welcome to nginx!") + clients::ab(port));
}

#[test]
fn what_is_proposed_for_openssh_serves_ssh_and_scp() {
    Bed::tried("openssh", &["SSH_PASSWORD=secret"]).ask(clients::ssh);
}

#[test]
fn what_is_proposed_for_memcached_serves_its_protocol() {
    Bed::tried("memcached", &[]).ask(clients::memcached);
}

#[test]
fn what_is_proposed_for_tomcat_serves_curl() {
    Bed::tried("tomcat", &[]).ask(|port| clients::curl(port, "It works !"));
}

#[test]
fn what_an_image_asks_for_before_it_starts_is_told() {
    let fleet = Fleet::shared();
    let mut program = Command::new(GANGER);
    program.args(["try", "--docker", &fleet.hosts()[0].url(), &image("postgres")]);
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it may want POSTGRES_PASSWORD: --env NAME=VALUE"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn every_recipe_is_tested() {
    let blocks = RECIPES.split("```ron\n").skip(1);
    let recipes: BTreeSet<_> = blocks.filter_map(|block| block.split('"').nth(1)).collect();
    let tests = include_str!("main.rs").split("    Bed::new(\"").skip(1);
    let tests: BTreeSet<_> = tests.filter_map(|test| test.split('"').next()).collect();
    assert_eq!(recipes, tests);
}
