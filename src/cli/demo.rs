//! `ganger demo`: the default configuration with the built-in echo image.

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use ganger_pool::core::{ServiceView, State};
use ganger_pool::runtime::ContainerRuntime;

use super::out::say;
use super::{Exit, Failure, guard, run};
use crate::app::{self, Instance, InstanceError, Running, Startup};
use crate::config::{Config, Daemons, LogFormat, Network};
use crate::docker::{Docker, Identity, Site};
use crate::endpoint::Endpoint;
use crate::reach::capability::can_enter_namespaces;
use crate::shutdown::HangUp;

/// The engine that is used unless another is named.
pub(super) const DEFAULT: &str = "unix:///var/run/docker.sock";
/// The instance that the containers of a demo are labelled with.
const INSTANCE: &str = "ganger-demo";
/// The usual address of the status page.
const PAGE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5455);

pub(super) async fn demo(
    url: &str,
    listen: Option<SocketAddr>,
    log: &str,
) -> Result<Exit, Failure> {
    // Docker's own client takes an empty DOCKER_HOST the same way.
    let url = if url.is_empty() { DEFAULT } else { url };
    let endpoint: Endpoint = url
        .parse()
        .map_err(|error| Failure::new(Exit::Usage, format!("--docker {url}: {error}")))?;
    if !endpoint.is_loopback() {
        let message = format!(
            "--docker {url}: the demo is for an engine on this machine: plain tcp to another one is \
             neither encrypted nor checked; make it a daemon of a configuration (`ganger init`), \
             with `tls`"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let stop = run::stop(HangUp::Stops)?;
    let instance = Instance::take(INSTANCE).map_err(|error| match error {
        InstanceError::Taken { holder, .. } => {
            let holder = holder.map_or_else(String::new, |holder| format!(", as {holder}"));
            let message =
                format!("a demo is running on this machine already{holder}: end it first");
            Failure::new(Exit::Failed, message)
        }
        error => run::failed(error),
    })?;
    let mut config = Config::parse(&Config::default_text(), "the default configuration")
        .map_err(|report| Failure::new(Exit::Failed, report))?;
    let sealed = look(&endpoint).await?;
    if let Daemons::Static(daemons) = &mut config.daemons {
        daemons.iter_mut().for_each(|daemon| daemon.url = endpoint.clone());
    }
    for service in &mut config.services {
        service.listen = listen.unwrap_or(service.listen);
        service.spec.network = if sealed { Network::Sealed } else { Network::Isolated };
    }
    config.admin.listen = Some(page_address());
    let guardian = Some(guard::command(LogFormat::Text, log));
    let startup = Startup { guardian, ..Startup::new(config, instance, stop) };
    let ended = app::run(startup, started, stocked).await;
    let ended = ended.map_err(run::failed)?;
    if ended.left.is_empty() {
        say("demo: every container is removed");
    }
    Ok(run::exit(&ended))
}

/// Looks at the engine before anything is launched; says whether containers can
/// be sealed.
async fn look(endpoint: &Endpoint) -> Result<bool, Failure> {
    let identity = Identity { instance: INSTANCE.to_owned(), boot: String::new() };
    let docker = Docker::new(identity, app::builtin());
    let name = "local".into();
    let facts = docker.connect(&name, &Site::of(endpoint.clone())).await.map_err(|error| {
        let (url, why) = (endpoint.to_string(), error.to_string());
        let what = if why.contains(&url) { why } else { format!("{url}: {why}") };
        let message = format!("{what} (or name another engine by `--docker URL` or DOCKER_HOST)");
        Failure::new(Exit::Unreachable, message)
    })?;
    say(&format!("demo: engine {} at {endpoint}, {} cpus", facts.version, facts.cpus));
    let why = docker.why_not_sealed(&name);
    say(&match &why {
        None => "demo: containers get no network at all; they are reached from inside their \
                 namespace"
            .to_owned(),
        Some(why) => format!(
            "demo: containers get a network on which they do not reach each other, and a port on \
             loopback: without a network they could not be reached ({why}{})",
            if can_enter_namespaces().is_err() { "; run as root, they get none" } else { "" }
        ),
    });
    Ok(why.is_none())
}

fn started(running: &Running) {
    for (service, address) in &running.services {
        say(&format!("demo: service {service} listens on {address}; launching its stock"));
    }
}

fn stocked(service: &ServiceView, running: &Running) {
    say(&format!(
        "demo: {} containers of {} are running, waiting for connections",
        service.counts[State::Idle],
        service.name
    ));
    // The demo has one service.
    if let Some((_, address)) = running.services.first() {
        say(&what_next(*address, running.page));
    }
}

/// Where the status page is: at its usual address, if nobody is there.
fn page_address() -> SocketAddr {
    let is_free = TcpListener::bind(PAGE).is_ok();
    SocketAddr::new(PAGE.ip(), if is_free { PAGE.port() } else { 0 })
}

fn what_next(address: SocketAddr, page: Option<SocketAddr>) -> String {
    let (ip, port) = (address.ip(), address.port());
    let page =
        page.map_or_else(String::new, |page| format!("\nThe status page is at http://{page}\n"));
    // The program's name as it was called: it may not be installed yet.
    let program = env::args().next().unwrap_or_else(|| "ganger".to_owned());
    format!(
        "\nNow, in another terminal:\n\
         \n    nc {ip} {port}      # what you type comes back, from a container of your own\n\
         {page}\nEvery connection gets a fresh container, and one line here when it ends.\n\
         Ctrl-C ends the demo and removes its containers. To go on then, on an engine of your own:\n\
         \n    {program} init > ganger.ron && {program} run\n"
    )
}
