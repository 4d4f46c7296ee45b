//! Reads the whole file: its top level, and what has to fit together.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::admin::ADMIN_ROWS;
use super::daemon::DAEMON_ROWS;
use super::decode::{Cx, Decode, Fields, MapEntry, Spanned};
use super::defaults::{Defaults, spread};
use super::effective::Effective;
use super::fleet::FoundDaemons;
use super::include::{Includes, include, merge};
use super::keys::{Tell, keys, optional, or, required};
use super::name::Name;
use super::report::{Mistake, Span};
use super::service::{DecodedService, SERVICE_ROWS, service};
use super::source_text::SourceText;
use super::tree::{Node, parse};
use super::value::FilePath;
use super::{Admin, Config, Daemons, Log, LogFormat, Register};

/// Reads a file, and those that it includes, which are added to the sources; also returns
/// warnings. An error is never empty.
pub(super) fn config(sources: &mut SourceText) -> Result<(Config, Vec<Mistake>), Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut tree = parse(sources.text(), 0, &mut mistakes);
    let included = tree.as_mut().map_or(Vec::new(), |tree| include(sources, tree, &mut mistakes));
    let mut cx = Cx { sources, mistakes, warnings: Vec::new() };
    if let Some(tree) = &mut tree {
        included.iter().for_each(|included| merge(tree, included, &mut cx));
        spread(cx.sources.text(), tree);
    }
    let read = tree
        .as_ref()
        .and_then(|tree| Some((tree, cx.fields(tree, "the configuration", top).flatten()?)));
    match read {
        Some((tree, config)) if cx.mistakes.is_empty() => {
            let effective = Effective::of(tree, cx.sources, &config, TOP_ROWS);
            Ok((Config { effective, ..config }, cx.warnings))
        }
        _ => {
            debug_assert!(!cx.mistakes.is_empty(), "nothing was read and nothing reported");
            Err(cx.mistakes)
        }
    }
}

fn top(f: &mut Fields<'_, '_, '_>) -> Option<Config> {
    let daemons = f.required(TOP.daemons).map(|daemons| daemons.0);
    f.optional(TOP.defaults);
    f.optional(TOP.include);
    let services = f.required(TOP.services);
    let register = f.optional(TOP.register);
    let instance = f.optional(TOP.instance);
    let drain_timeout = f.or(TOP.drain_timeout);
    let guardian = f.or(TOP.guardian);
    let log = f.or(TOP.log);
    let access_log = f.optional(TOP.access_log).map(|file| file.0);
    let admin = f.or(TOP.admin);
    let (daemons, services) = (daemons?, services?.0);
    check_capacity(&daemons, &services, f.cx);
    if let (Some(register), Some(place)) = (&register, f.place(TOP.register)) {
        check_names(&daemons, &services, register, &place, f.cx);
    }
    let services = services.into_iter().filter_map(|found| found.service).collect();
    // A reload compares services and listed daemons one by one, and refuses another instance.
    f.comes_to(TOP.services, ());
    f.comes_to(TOP.defaults, ());
    f.comes_to(TOP.include, ());
    f.comes_to(TOP.instance, ());
    if let Daemons::Static(_) = &daemons {
        f.comes_to(TOP.daemons, ());
    }
    let (warnings, effective, values) = (Vec::new(), Effective::default(), f.values());
    let config = Config {
        daemons,
        services,
        register,
        instance,
        drain_timeout,
        guardian,
        log,
        admin,
        access_log,
        warnings,
        effective,
        values,
    };
    Some(config)
}

keys! {
    /// The keys at the top of a file.
    TOP, TopKeys, TOP_ROWS;
    daemons: FoundDaemons = required(
        "Static([(name: \"local\", url: \"unix:///var/run/docker.sock\", max_containers: 20)])",
        "Where containers run: listed here, or found by `Consul(…)` or `Swarm(…)`. Whoever can talk to a \
         daemon is root on its machine.",
    )
    .see("See [discovery](discovery.md). For each daemon of `Static([…])`:")
    .of(DAEMON_ROWS);
    services: Services = required(
        "{\"echo\": (listen: \"127.0.0.1:5454\", image: \"ganger.local/echo:1\", port: 7000)}",
        "What clients connect to. Every connection gets a container of its own. They may also stand in the files \
         of `include`.",
    )
    .see("For each service:")
    .of(SERVICE_ROWS);
    defaults: Defaults = optional(
        "none",
        "(reuse: 9, limits: (memory: \"64MiB\"))",
        "Settings of all services that do not have them themselves. A struct such as `limits` is taken whole.",
    );
    include: Includes = optional(
        "none",
        "[\"services/*.ron\"]",
        "Files with more services, read with this one: each is `(services: {…})`. Paths in them are \
         relative to them.",
    );
    register: Register = optional(
        "none",
        "Consul(agent: \"http://127.0.0.1:8500\")",
        "Where clients find the services.",
    )
    .see("See [registration](discovery.md#registration).");
    instance: Name = optional(
        "host name and path of the file",
        "\"edge-1\"",
        "The name on this process's containers. Two processes need two names.",
    )
    .see("See [instances](operation.md#instances).");
    drain_timeout: Duration =
        or("\"30s\"", "How long connections may go on when Ganger is told to stop.");
    guardian: bool = or(
        "true",
        "Whether a second process removes the containers when Ganger is killed.",
    )
    .see("See [start, stop, crash](operation.md#start-stop-crash).");
    log: Log = or("()", "What the log looks like.").of(LOG_ROWS);
    admin: Admin = or("()", "Where a running Ganger is asked what it does.")
        .see("See [asking a running Ganger](operation.md#asking-a-running-ganger).")
        .of(ADMIN_ROWS);
    access_log: FilePath = optional(
        "none",
        "\"/var/log/ganger/access.jsonl\"",
        "A file to which a JSON object is written for each connection that has ended. It is opened anew \
         when the configuration is read again, so that it can be moved away before.",
    )
    .see("See [records of connections](operation.md#records-of-connections).");
}

keys! {
    /// The keys of `log`.
    LOG, LogKeys, LOG_ROWS;
    format: LogFormat = or("Text", "How a line is written.");
    begin: bool = or("false", "Each connection has a line when it begins, too: `conn begin`.");
}

/// The services, as far as they could be read.
#[derive(Clone, PartialEq)]
pub(super) struct Services(Vec<DecodedService>);

impl Decode for Services {
    const WHAT: &'static str = "a map of services `{\"echo\": (listen: …, image: …, port: …)}`";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let entries = cx.map::<Name>(node, Self::WHAT)?;
        if node.is_empty() {
            let title = "there is no service for clients to connect to";
            let help = "add \"echo\": (listen: \"127.0.0.1:5454\", image: \"ganger.local/echo:1\", port: 7000)";
            cx.report(Mistake::new(&node.span, title).help(help));
        }
        let read = |(name, node): &MapEntry<'_, Name>| match name {
            Some(name) => service(&format!("service \"{}\"", name.value), name, node, cx),
            None => {
                // Its other mistakes are reported all the same.
                let value = Name::new("unnamed").ok()?;
                service("this service", &Spanned { value, span: node.span.clone() }, node, cx);
                None
            }
        };
        let found: Vec<_> = entries.iter().filter_map(read).collect();
        check_listen(&found, cx);
        Some(Self(found))
    }
}

impl Decode for Log {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", LOG_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`log`", |f| Self { format: f.or(LOG.format), begin: f.or(LOG.begin) })
    }
}

impl Decode for LogFormat {
    const WHAT: &'static str = "`Text` or `Json`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(node, &[("Text", Self::Text), ("Json", Self::Json)])
    }
}

/// No two services may listen where one of them would fail to bind.
fn check_listen(found: &[DecodedService], cx: &mut Cx<'_>) {
    for (i, second) in found.iter().enumerate() {
        let Some(listen) = &second.listen else {
            continue;
        };
        let clash = found[..i].iter().find_map(|first| {
            let other = first.listen.as_ref()?;
            clash(other.value, listen.value).then_some((&first.name, other))
        });
        if let Some((name, first)) = clash {
            let line = cx.sources.line(&first.span, &listen.span);
            let title = format!(
                "service \"{}\" cannot listen on {}: service \"{name}\" listens on {}, in {line}",
                second.name, listen.value, first.value
            );
            cx.report(Mistake::new(&listen.span, title).also(&first.span, "taken here"));
        }
    }
}

/// Two sockets on these addresses exclude each other. The one for all IPv6
/// addresses takes all IPv4 ones as well.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let (x, y) = (a.ip().to_canonical(), b.ip().to_canonical());
    let covers =
        |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (x == y || covers(x, y) || covers(y, x))
}

/// The mistake where `warm` containers exceed the daemons' capacity.
pub(crate) fn no_room(warm: u64, room: u64) -> String {
    format!("the services keep {warm} containers warm, but the daemons hold {room} together")
}

/// All `warm` containers have to fit on the daemons, where these are listed.
fn check_capacity(daemons: &Daemons, services: &[DecodedService], cx: &mut Cx<'_>) {
    let Daemons::Static(daemons) = daemons else { return };
    let room: u64 = daemons.iter().map(|daemon| u64::from(daemon.max_containers)).sum();
    let mut warm = 0;
    // The first service without room is shown.
    let mut last: Option<&Span> = None;
    for service in services {
        warm += u64::from(service.warm.value);
        if warm > room && room > 0 && last.is_none() {
            last = Some(&service.warm.span);
        }
    }
    if let Some(span) = last {
        cx.report(
            Mistake::new(span, no_room(warm, room))
                .label("from here on there is no room")
                .help("lower `warm`, raise `max_containers`, or add a daemon"),
        );
    }
}

/// No service may be taken for a daemon.
fn check_names(
    daemons: &Daemons,
    services: &[DecodedService],
    register: &Register,
    place: &Span,
    cx: &mut Cx<'_>,
) {
    let Daemons::Source(source) = daemons else { return };
    for service in services {
        let name = register.name(service.name.as_str());
        if source.would_list(&name) {
            let title = format!(
                "service \"{}\" would be registered as \"{name}\", whose instances are the daemons",
                service.name
            );
            let help = "give `register` a `prefix`, or the service another name";
            cx.report(Mistake::new(place, title).help(help));
        }
    }
}
