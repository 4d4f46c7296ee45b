//! `ganger try`.

use std::env;
use std::time::Duration;

use clap::Args;
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::ContainerRuntime;
use tokio::time::Instant;

use super::out::{complain, print};
use super::{Exit, Failure, demo, run};
use crate::app::{self, Instance, InstanceError};
use crate::config::ImageRef;
use crate::docker::{Docker, Identity, Site};
use crate::endpoint::Endpoint;
use crate::shutdown::HangUp;
use crate::trial::{Subject, Tester, TrialError};

/// The instance that the containers are labelled with.
const INSTANCE: &str = "ganger-try";
/// How long the networks of the trial may take to be removed.
const LAST: Duration = Duration::from_secs(10);

/// The image that is tried, and the engine that it is tried on.
#[derive(Debug, Args)]
pub(super) struct TryArguments {
    /// The image, as a service names it
    image: String,
    /// Arguments in place of the image's
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// The engine to use
    #[arg(long, env = "DOCKER_HOST", default_value = demo::DEFAULT, value_name = "URL")]
    docker: String,
    /// A variable of the environment that the image demands, NAME alone with the value that it
    /// has here; may be repeated
    #[arg(long, short, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The port that it listens on [default: what it exposes, or what listens]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How long a container may take to listen
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (text, env::var(text).map_err(|error| format!("NAME is {text}: {error}"))?),
    };
    if name.is_empty() {
        return Err("write NAME=VALUE, or NAME".to_owned());
    }
    Ok((name.to_owned(), value))
}

/// Prints a service on standard output, and how it is found out on standard error.
pub(super) async fn trial(arguments: TryArguments) -> Result<Exit, Failure> {
    let TryArguments { image, command, docker: url, env, port, timeout: patience } = arguments;
    let url = if url.is_empty() { demo::DEFAULT } else { &url };
    let endpoint: Endpoint = url
        .parse()
        .map_err(|error| Failure::new(Exit::Usage, format!("--docker {url}: {error}")))?;
    if !endpoint.is_loopback() {
        let message = format!("--docker {url}: images are tried on an engine of this machine");
        return Err(Failure::new(Exit::Usage, message));
    }
    let image = ImageRef::new(&image)
        .map_err(|error| Failure::new(Exit::Usage, format!("{image}: {error}")))?
        .to_string();
    let stop = run::stop(HangUp::Stops)?;
    let instance = Instance::take_surely(INSTANCE).map_err(|error| match error {
        InstanceError::Taken { holder, .. } => {
            let holder = holder.map_or_else(String::new, |holder| format!(", as {holder}"));
            let message = format!("an image is tried on this machine already{holder}");
            Failure::new(Exit::Failed, message)
        }
        error => run::failed(error),
    })?;
    let identity = Identity { instance: INSTANCE.to_owned(), boot: instance.boot().to_owned() };
    let docker = Docker::new(identity, app::builtin());
    let daemon = DaemonSpec {
        name: "local".into(),
        endpoint: Site::of(endpoint),
        max_containers: u32::MAX,
        tier: 0,
        max_launches: None,
    };
    let unreachable = |error| Failure::new(Exit::Unreachable, error);
    docker.connect(&daemon.name, &daemon.endpoint).await.map_err(unreachable)?;
    // A trial that was killed has left its containers.
    app::reap(&docker, &daemon, false).await.map_err(unreachable)?;

    let subject = Subject { image, env, command, port, patience };
    let mut tell = |what: &str| complain(&format!("try: {what}"));
    let tester = Tester::new(docker.clone(), daemon.name.clone());
    let proposed = tokio::select! {
        proposed = tester.propose(&subject, &mut tell) => Some(proposed),
        () = stop.drain.cancelled() => None,
    };
    let removed = tester.clear().await.is_ok();
    let networks = docker.close(Instant::now() + LAST).await;
    if !removed || !networks.is_empty() {
        complain("try: not all that was made is removed: `ganger try` removes it when it starts");
    }
    match proposed {
        None => Ok(Exit::Failed),
        Some(Ok(service)) => {
            print(&service);
            Ok(Exit::Ok)
        }
        Some(Err(TrialError::Engine(error))) if error.unreachable => Err(unreachable(error)),
        Some(Err(error)) => Err(Failure::new(Exit::Failed, error)),
    }
}
