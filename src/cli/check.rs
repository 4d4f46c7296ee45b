//! `ganger check`.

mod telling;

use std::path::PathBuf;
use std::sync::Arc;

use ganger_pool::ServiceOptions;
use ganger_pool::core::DaemonName;
use ganger_pool::discovery::DaemonSpec;
use ganger_pool::runtime::ContainerRuntime;
use tokio::task::JoinSet;

use super::{Exit, Failure, config_path, refused};
use crate::app::{self, Plan};
use crate::config::{Config, Daemons, origin};
use crate::discovery::Discovered;
use crate::docker::{
    Docker, Identity, ImageLocation, Preflight, Pull, Reach, Site, Spec, how_to_get,
};
pub(super) use telling::CheckFormat;
use telling::{Severity, Telling};

/// The outcome of asking one daemon.
struct Findings {
    lines: Vec<(Severity, String)>,
    unreached: bool,
    wrong: bool,
}

pub(super) async fn check(
    named: Option<PathBuf>,
    online: bool,
    format: CheckFormat,
) -> Result<Exit, Failure> {
    let mut telling = Telling::new(format);
    let outcome = examine(named, online, &mut telling).await;
    telling.finish(outcome)
}

async fn examine(
    named: Option<PathBuf>,
    online: bool,
    telling: &mut Telling,
) -> Result<Exit, Failure> {
    let path = config_path(named)?;
    let config = Config::load(&path).map_err(|error| {
        telling.refuse(&path, &error);
        refused(error)
    })?;
    let services = config.services.len();
    let daemons = match &config.daemons {
        Daemons::Static(daemons) => daemons.len().to_string(),
        Daemons::Source(source) => source.origin().to_owned(),
    };
    let instance = config.instance(&path);
    let shown = instance.as_deref().unwrap_or("to be named");
    telling.say(&format!(
        "{}: in order (services: {services}, daemons: {daemons}, instance: {shown})",
        origin(&path),
    ));
    for why in &config.warnings {
        telling.say(&format!("warning: {why}"));
        telling.flag(Severity::Warning, why.clone());
    }
    if let Err(error) = &instance {
        // The configuration may be meant for another machine than this one.
        telling.tell(Severity::Warning, &format!("to run it here: {error}"));
    }
    if !online {
        return Ok(Exit::Ok);
    }
    ask_all(&config, instance.unwrap_or_default(), telling).await
}

/// Asks every daemon, and Consul where the configuration has `register`.
async fn ask_all(
    config: &Config,
    instance: String,
    telling: &mut Telling,
) -> Result<Exit, Failure> {
    // Nothing is launched or listed, so no containers have to be told apart.
    let docker = Docker::new(Identity { instance, boot: String::new() }, app::builtin());
    let docker = Arc::new(docker);
    let Plan { services, fleet, .. } = Plan::new(config);
    let services: Arc<[_]> = services.into();
    let mut work = JoinSet::new();
    let registration = app::admitted(config).await;
    match &registration {
        Some(Ok(said)) => telling.tell(Severity::Note, said),
        Some(Err(error)) => telling.tell(Severity::Error, &format!("error: `register`: {error}")),
        None => {}
    }
    let Discovered { daemons, unfit } =
        fleet.once().await.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    unfit.iter().for_each(|why| telling.tell(Severity::Error, &format!("not used: {why}")));
    let nobody = daemons.is_empty();
    if nobody {
        let why = match &config.daemons {
            Daemons::Static(_) => "there is no daemon".to_owned(),
            Daemons::Source(source) => source.no_daemon_message(),
        };
        telling.tell(Severity::Error, &format!("error: {why}"));
    }
    for (at, daemon) in daemons.into_iter().enumerate() {
        let (docker, services) = (docker.clone(), services.clone());
        work.spawn(async move { (at, ask(&docker, &daemon, &services).await) });
    }
    let mut findings = work.join_all().await;
    findings.sort_by_key(|(at, _)| *at);
    let lines = findings.iter().flat_map(|(_, found)| &found.lines);
    lines.for_each(|(severity, line)| telling.tell(*severity, line));
    let any = |is: fn(&Findings) -> bool| findings.iter().any(|(_, found)| is(found));
    let unreached = nobody || matches!(registration, Some(Err(_))) || any(|found| found.unreached);
    Ok(match (unreached, any(|found| found.wrong)) {
        (true, _) => Exit::Unreachable,
        (_, true) => Exit::Failed,
        _ if !unfit.is_empty() => Exit::Failed,
        _ => Exit::Ok,
    })
}

async fn ask(
    docker: &Docker,
    daemon: &DaemonSpec<Site>,
    services: &[ServiceOptions<Spec>],
) -> Findings {
    let name = &daemon.name;
    let mut found = Findings { lines: Vec::new(), unreached: false, wrong: false };
    match docker.connect(name, &daemon.endpoint).await {
        Ok(facts) => {
            let at = &daemon.endpoint.endpoint;
            let line = format!("{name}: engine {} at {at}, {} cpus", facts.version, facts.cpus);
            found.lines.push((Severity::Note, line));
        }
        Err(error) => {
            found.unreached = true;
            found.lines.push((Severity::Error, format!("{name}: error: {error}")));
            return found;
        }
    }
    let abilities = match docker.abilities(name).await {
        Ok(abilities) => abilities,
        Err(error) => {
            found.unreached = true;
            found.lines.push((Severity::Error, format!("{name}: error: {error}")));
            return found;
        }
    };
    for service in services {
        let preflight = docker.preflight(name, &abilities, &service.spec).await;
        let noted = preflight.as_ref().is_ok_and(|preflight| !preflight.notes.is_empty());
        let judged = match preflight {
            Ok(preflight) => judge(name, &service.spec, preflight),
            Err(error) => Err(error.to_string()),
        };
        let severity = match &judged {
            Err(_) => Severity::Error,
            Ok(_) if noted => Severity::Warning,
            Ok(_) => Severity::Note,
        };
        found.wrong |= judged.is_err();
        let line = judged.unwrap_or_else(|error| format!("error: {error}"));
        found.lines.push((severity, format!("{name}: service {}: {line}", service.name)));
    }
    found
}

fn judge(daemon: &DaemonName, spec: &Spec, preflight: Preflight) -> Result<String, String> {
    if !preflight.lacks.is_empty() {
        return Err(preflight.lacks.join("; "));
    }
    let reach = preflight.reach?;
    let image = &spec.image;
    let there = match preflight.image {
        ImageLocation::There => "is there",
        ImageLocation::BuiltIn => "comes with Ganger",
        ImageLocation::Elsewhere if spec.pull == Pull::Never => {
            return Err(format!("image {image} is not there: {}", how_to_get(image, daemon)));
        }
        ImageLocation::Elsewhere => "is to be pulled",
    };
    let reached = match (reach, preflight.why_published) {
        (Reach::Namespace, Some(why)) => format!(
            "by namespace if the engine is on this machine, which only a launch can show ({why})"
        ),
        (Reach::Namespace, None) => "by namespace".to_owned(),
        (_, Some(why)) if spec.reach == Reach::Auto => format!("by published port ({why})"),
        _ => "by published port".to_owned(),
    };
    let notes = preflight.notes.iter().map(|note| format!("; warning: {note}")).collect::<String>();
    Ok(format!("image {image} {there}; containers reached {reached}{notes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_launch_can_show_is_not_promised() {
        let said = |asked: Reach, reach: Reach, why: Option<&str>| {
            let spec = Spec { reach: asked, ..Spec::new("demo", 1) };
            let why_published = why.map(Into::into);
            judge(
                &"d".into(),
                &spec,
                Preflight {
                    reach: Ok(reach),
                    why_published,
                    image: ImageLocation::There,
                    lacks: Vec::new(),
                    notes: Vec::new(),
                },
            )
            .unwrap()
        };
        let tcp = Some("the engine is reached over TCP");
        let ends = [
            (Reach::Auto, Reach::Namespace, None, "reached by namespace"),
            (Reach::Namespace, Reach::Namespace, None, "reached by namespace"),
            (
                Reach::Namespace,
                Reach::Namespace,
                tcp,
                "which only a launch can show (the engine is reached over TCP)",
            ),
            (Reach::Auto, Reach::Published, tcp, "port (the engine is reached over TCP)"),
            (Reach::Published, Reach::Published, tcp, "reached by published port"),
        ];
        for (asked, reach, why, end) in ends {
            let said = said(asked, reach, why);
            assert!(said.ends_with(end), "{said}");
        }
    }
}
