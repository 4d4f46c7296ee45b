//! `ganger config`: the configuration in use.

use std::path::PathBuf;

use clap::Args;

use super::super::{Exit, Failure};
use super::show::Showing;
use super::table::{Grid, Shown};
use crate::admin::{ConfigKey, ConfigOrigin, ConfigPart, ConfigStatus};
use crate::http::escape;

/// What is shown of it, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Configuration {
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only what is written or ordered, without defaults
    #[arg(long, conflicts_with = "json")]
    set: bool,
    #[command(flatten)]
    showing: Showing,
}

/// Says which configuration is in use.
pub(super) async fn configuration(
    asked: &Configuration,
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let path = match &asked.service {
        Some(service) => format!("/api/v1/config?service={}", escape(service)),
        None => "/api/v1/config".to_owned(),
    };
    asked.showing.show(&path, config, |status, wide| text(status, asked.set, wide)).await
}

fn text(status: &ConfigStatus, set: bool, wide: bool) -> String {
    let ConfigStatus { files, since, last_read, keys, daemons, services } = status;
    let mut text = format!("{}, in use since {since}", files.join(", "));
    if !last_read.taken {
        text += &format!("; refused at {}, the log says why", last_read.at);
    }
    let top = (!keys.is_empty()).then(|| ("at the top".to_owned(), keys));
    let named = |kind: &'static str| move |part: &'_ ConfigPart| format!("{kind} {}", part.name);
    let (daemon, service) = (named("daemon"), named("service"));
    let daemons = daemons.iter().map(|part| (daemon(part), &part.keys));
    let services = services.iter().map(|part| (service(part), &part.keys));
    for (what, keys) in top.into_iter().chain(daemons).chain(services) {
        let keys: Vec<_> =
            keys.iter().filter(|key| !set || key.origin != ConfigOrigin::Default).collect();
        if !keys.is_empty() {
            text += &format!("\n\n{what}:\n{}", table(&keys, wide));
        }
    }
    text
}

fn table(keys: &[&ConfigKey], wide: bool) -> String {
    Grid::new(wide)
        .with("KEY", Shown::Always, keys, |key| key.key.clone())
        .with("VALUE", Shown::Always, keys, |key| match (&key.value, &key.without) {
            (None, Some(without)) => format!("({without})"),
            (value, _) => value.clone().unwrap_or_default(),
        })
        .with("FROM", Shown::Always, keys, |key| origin(key))
        .lines()
}

/// The origin of a value: where it is written, and which variables were filled in there.
fn origin(key: &ConfigKey) -> String {
    let ConfigKey { file, line, column, variables, .. } = key;
    let place = match (file, line, column) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => String::new(),
    };
    match key.origin {
        ConfigOrigin::Default => "default".to_owned(),
        ConfigOrigin::File => place,
        ConfigOrigin::Environment => format!("{place} by ${}", variables.join(", $")),
        ConfigOrigin::Operator => "operator, until the next reload".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::admin::ReloadResult;
    use crate::config::Config;

    fn shown(taken: bool, set: bool) -> String {
        let config = Config::parse(
            "(daemons: Static([(name: \"d\", url: \"unix:///d.sock\", max_containers: 9)]),
services: {\"s\": (listen: \"127.0.0.1:1\", image: \"${NONE:-i:1}\", port: 1, env: {\"A\": \"b\"})})",
            "t.ron",
        );
        let last = ReloadResult { at: SystemTime::UNIX_EPOCH, taken };
        let effective = &config.unwrap().effective;
        let mut status = ConfigStatus::new(effective, SystemTime::UNIX_EPOCH, last);
        status.order("s", "max", 7);
        text(&status, set, true)
    }

    #[test]
    fn what_is_set_is_shown_with_its_places_and_without_secrets() {
        assert_eq!(
            shown(true, true),
            "\
t.ron, in use since 1970-01-01T00:00:00.000Z

at the top:
KEY      VALUE   FROM
daemons  Static  t.ron:1:11

daemon d:
KEY             VALUE             FROM
name            \"d\"               t.ron:1:26
url             \"unix:///d.sock\"  t.ron:1:36
max_containers  9                 t.ron:1:70

service s:
KEY       VALUE          FROM
listen    \"127.0.0.1:1\"  t.ron:2:26
image     <from NONE>    t.ron:2:48 by $NONE
port      1              t.ron:2:70
max       7              operator, until the next reload
env[\"A\"]  <hidden>       t.ron:2:84"
        );
    }

    #[test]
    fn defaults_and_what_was_refused_are_told() {
        let said = shown(false, false);
        let refused = "; refused at 1970-01-01T00:00:00.000Z, the log says why\n";
        assert!(
            said.lines().next().is_some_and(|line| line.ends_with(refused.trim_end())),
            "{said}"
        );
        for (key, rest) in
            [("limits.memory", "\"512MiB\" default"), ("max_age", "(no limit) default")]
        {
            let found = said.lines().find(|line| line.starts_with(key)).unwrap();
            let words: Vec<_> = found.split_whitespace().skip(1).collect();
            assert_eq!(words.join(" "), rest);
        }
    }
}
