//! `ganger push`.

use std::collections::BTreeSet;

use bytesize::ByteSize;
use futures_util::{StreamExt, stream};
use ganger_pool::core::{DaemonName, short_id};
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::CallError;

use super::out::{complain, say};
use super::{Exit, Failure};
use crate::app::{self, ImageAnswer, Plan, Pushed, Source};
use crate::config::{Config, ImageRef, similar};
use crate::discovery::Discovered;
use crate::docker::{Docker, Identity, Site};
use crate::endpoint::Endpoint;

/// Copies under way at a time. The source reads the image anew for each.
const IN_FLIGHT: usize = 4;
/// The name that stands for every daemon.
const ALL: &str = "all";

pub(super) async fn push(
    config: &Config,
    image: &str,
    to: &[String],
    from: Option<&str>,
) -> Result<Exit, Failure> {
    let image = checked(image)?;
    let fleet = Plan::new(config).fleet.once().await;
    let Discovered { daemons, unfit } =
        fleet.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    unfit.iter().for_each(|why| complain(&format!("not asked: {why}")));
    let targets = targets(to, &daemons)?;
    let from = from.map(|from| source(from, &daemons)).transpose()?;

    // Nothing is launched or listed, so no containers have to be told apart.
    let identity = Identity { instance: String::new(), boot: String::new() };
    let docker = Docker::new(identity, Vec::new());
    // Without `--from`, all are asked for the image, and the first is taken.
    let mut asked = from.as_slice().to_vec();
    let others = daemons.iter().filter(|daemon| {
        let wanted = from.is_none() || targets.contains(&daemon.name);
        wanted && from.as_ref().is_none_or(|from| from.name != daemon.name)
    });
    asked.extend(others.cloned());
    let held = app::ask_for(&docker, &asked, image.as_str()).await;
    let mut held: Vec<_> = asked.iter().map(|daemon| &daemon.name).zip(held).collect();
    let source = choose(image.as_str(), &held[..if from.is_some() { 1 } else { held.len() }])?;
    say(&format!("{image}: from {}, {}", source.daemon, short_id(&source.image.id)));

    // With `all`, the source is no target.
    held.retain(|(name, _)| {
        let named = to.iter().any(|to| to == name.as_str());
        targets.contains(*name) && (named || **name != source.daemon)
    });
    let total = held.len();
    let work = stream::iter(held).map(async |(name, held)| {
        let tell = |bytes| say(&format!("{name}: {} sent", ByteSize(bytes)));
        let pushed = app::push(&docker, image.as_str(), &source, (name, held), tell).await;
        report(name, &pushed);
        pushed
    });
    let done: Vec<_> = work.buffer_unordered(IN_FLIGHT).collect().await;
    let failed = done.iter().filter_map(|pushed| pushed.as_ref().err());
    let (unreached, refused) = failed.fold((0, 0), |(unreached, refused), error| {
        if error.unreachable { (unreached + 1, refused) } else { (unreached, refused + 1) }
    });
    say(&match total {
        0 => format!("{image}: there is no other daemon that could have it"),
        _ => format!("{image}: on {} of {total} daemons", total - unreached - refused),
    });
    Ok(match (unreached, refused) {
        (1.., _) => Exit::Unreachable,
        (_, 1..) => Exit::Failed,
        _ => Exit::Ok,
    })
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

fn checked(image: &str) -> Result<ImageRef, Failure> {
    let named = ImageRef::new(image)
        .map_err(|why| usage(format!("{image:?} is not the name of an image: {why}")))?;
    if named.is_pinned() {
        let what = "an image is pushed by its tag: no engine knows the digest that a registry has \
                    for an image which it was pushed";
        return Err(usage(format!("{image}: {what}")));
    }
    Ok(named)
}

/// The daemons that are to get the image.
fn targets(to: &[String], daemons: &[DaemonSpec<Site>]) -> Result<BTreeSet<DaemonName>, Failure> {
    if to.iter().any(|name| name == ALL) {
        return Ok(daemons.iter().map(|daemon| daemon.name.clone()).collect());
    }
    to.iter().map(|name| Ok(named("--to", name, daemons)?.name.clone())).collect()
}

/// The daemon that the image is to be read from.
fn source(from: &str, daemons: &[DaemonSpec<Site>]) -> Result<DaemonSpec<Site>, Failure> {
    if !from.contains("://") {
        return named("--from", from, daemons).cloned();
    }
    let endpoint: Endpoint =
        from.parse().map_err(|error| usage(format!("--from {from}: {error}")))?;
    let is_there =
        |daemon: &&DaemonSpec<Site>| daemon.endpoint.endpoint.to_string() == endpoint.to_string();
    if let Some(known) = daemons.iter().find(is_there) {
        return Ok(known.clone());
    }
    if !endpoint.is_loopback() {
        return Err(usage(format!(
            "--from {from}: plain tcp to another machine: make it a daemon of the configuration, \
             with `tls`, and name that"
        )));
    }
    Ok(DaemonSpec {
        name: from.into(),
        endpoint: Site::of(endpoint),
        max_containers: 0,
        tier: 0,
        max_launches: None,
    })
}

fn named<'d>(
    option: &str,
    name: &str,
    daemons: &'d [DaemonSpec<Site>],
) -> Result<&'d DaemonSpec<Site>, Failure> {
    daemons.iter().find(|daemon| daemon.name.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = daemons.iter().map(|daemon| daemon.name.as_str()).collect();
        let help = match similar(name, &known) {
            Some(meant) => format!("did you mean {meant}?"),
            None if known.is_empty() => "there is none now".to_owned(),
            None => format!("the names are {}", known.join(", ")),
        };
        usage(format!("{option} {name}: no daemon of the configuration has this name: {help}"))
    })
}

/// The first daemon that has the image.
fn choose(image: &str, held: &[(&DaemonName, ImageAnswer)]) -> Result<Source, Failure> {
    let has = |(name, held): &(&DaemonName, ImageAnswer)| {
        let image = held.as_ref().ok()?.clone()?;
        Some(Source { daemon: (*name).clone(), image })
    };
    if let Some(source) = held.iter().find_map(has) {
        return Ok(source);
    }
    let without = held.iter().filter(|(_, held)| held.is_ok()).map(|(name, _)| name.as_str());
    let without: Vec<_> = without.collect();
    let mut why = Vec::new();
    if !without.is_empty() {
        why.push(format!(
            "the image {image} is not on {}: `docker pull` or build it on one of the daemons, or \
             name the engine that has it with `--from`",
            without.join(", ")
        ));
    }
    let silent = held.iter().filter_map(|(name, held)| Some((name, held.as_ref().err()?)));
    why.extend(silent.map(|(name, error)| format!("{name}: {error}")));
    let unreached = |(_, held): &(&DaemonName, ImageAnswer)| {
        held.as_ref().is_err_and(|error: &CallError| error.unreachable)
    };
    let exit = if held.iter().any(unreached) { Exit::Unreachable } else { Exit::Failed };
    Err(Failure::new(exit, why.join("\n")))
}

fn report(name: &DaemonName, pushed: &Result<Pushed, CallError>) {
    match pushed {
        Ok(Pushed::Already) => say(&format!("{name}: has it already")),
        Ok(Pushed::Copied { bytes, other_id: None }) => {
            say(&format!("{name}: has it now, {}", ByteSize(*bytes)));
        }
        Ok(Pushed::Copied { bytes, other_id: Some(id) }) => say(&format!(
            "{name}: has it now, {}, as {}: its store of images is of another kind",
            ByteSize(*bytes),
            short_id(id)
        )),
        Err(error) => complain(&format!("{name}: not pushed: {error}")),
    }
}
