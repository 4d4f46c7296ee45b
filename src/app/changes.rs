//! What a reload changes, for people.

use std::fmt;

use ganger_pool::core::ServiceName;

use crate::config::{Config, Daemon, Daemons, Service};

/// The setting that makes a daemon another one.
pub(super) const URL: &str = "url";

/// What one configuration has changed of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// By service, the settings that are others now.
    pub(super) services: Vec<(ServiceName, Vec<&'static str>)>,
    /// By daemon of the file, the same.
    pub(super) daemons: Vec<(String, Vec<&'static str>)>,
    /// What belongs to no service and no daemon.
    general: Vec<&'static str>,
    /// How many services came and went.
    services_came: usize,
    services_went: usize,
    daemons_came: usize,
    daemons_went: usize,
}

/// The fields that two have different values of, by their names in the file.
macro_rules! differing {
    ($before:expr, $after:expr, $($field:ident),* $(,)?) => {
        [$((stringify!($field), $before.$field != $after.$field)),*]
            .into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect::<Vec<_>>()
    };
}

// === impl Changes ===

impl Changes {
    pub(super) fn between(before: &Config, after: &Config) -> Self {
        let mut changes =
            Self { general: differing!(before, after, drain_timeout, register), ..Self::default() };
        let (came, went) = changes.compare(
            &before.services,
            &after.services,
            |service| service.name.to_string(),
            |changes, name, before, after| {
                if before != after {
                    changes.services.push((name.into(), of_service(before, after)));
                }
            },
        );
        (changes.services_came, changes.services_went) = (came, went);
        match (&before.daemons, &after.daemons) {
            (Daemons::Static(before), Daemons::Static(after)) => {
                let name = |daemon: &Daemon| daemon.name.to_string();
                let (came, went) =
                    changes.compare(before, after, name, |changes, name, before, after| {
                        if before != after {
                            changes.daemons.push((name, of_daemon(before, after)));
                        }
                    });
                (changes.daemons_came, changes.daemons_went) = (came, went);
            }
            (before, after) if before != after => changes.general.push("daemons"),
            _ => {}
        }
        changes
    }

    /// Tells of each that both have; returns how many only the one has, or the other.
    fn compare<T>(
        &mut self,
        before: &[T],
        after: &[T],
        name: impl Fn(&T) -> String,
        mut tell: impl FnMut(&mut Self, String, &T, &T),
    ) -> (usize, usize) {
        let find = |all: &[T], wanted: &str| all.iter().position(|one| name(one) == wanted);
        let mut came = 0;
        for one in after {
            let wanted = name(one);
            match find(before, &wanted) {
                Some(at) => tell(self, wanted, &before[at], one),
                None => came += 1,
            }
        }
        let went = before.iter().filter(|one| find(after, &name(one)).is_none()).count();
        (came, went)
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("services added", self.services_came),
            ("services changed", self.services.len()),
            ("services removed", self.services_went),
            ("daemons added", self.daemons_came),
            ("daemons changed", self.daemons.len()),
            ("daemons removed", self.daemons_went),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut said: Vec<_> = counts.map(|(what, count)| format!("{what}: {count}")).collect();
        if !self.general.is_empty() {
            said.push(format!("changed: {}", self.general.join(", ")));
        }
        f.write_str(&if said.is_empty() { "nothing".to_owned() } else { said.join("; ") })
    }
}

fn of_daemon(before: &Daemon, after: &Daemon) -> Vec<&'static str> {
    let mut fields = differing!(before, after, max_containers, max_launches, publish_on);
    // The address holds the files of `tls`, and may be written in other words.
    if before.url.place() != after.url.place() {
        fields.insert(0, URL);
    } else if before.url != after.url {
        fields.push("tls");
    }
    if fields.is_empty() {
        fields.push("other settings");
    }
    fields
}

fn of_service(before: &Service, after: &Service) -> Vec<&'static str> {
    let mut fields = differing!(
        before,
        after,
        listen,
        image,
        port,
        command,
        env,
        reuse,
        warm,
        max,
        max_age,
        overdue_after,
        queue,
        ready,
        connect,
        client,
        timeouts,
        pull,
        watch_image,
        limits,
        network,
        reach,
        sandbox,
        preconnect,
        publish,
        max_surge,
        canary,
        surplus_after,
        stale_after,
        user,
        read_only,
        tmpfs,
        cap_add,
        mounts,
        runtime,
    );
    // It is said where `warm` is.
    if before.auto != after.auto && !fields.contains(&"warm") {
        fields.push("warm");
    }
    if fields.is_empty() {
        fields.push("other settings");
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(daemons: &str, services: &str, more: &str) -> Config {
        let text = format!("(daemons: {daemons}, services: {{{services}}}, {more})");
        Config::parse(&text, "test").unwrap()
    }

    fn service(name: &str, more: &str) -> String {
        let port = 5000 + name.len();
        format!("\"{name}\": (listen: \"127.0.0.1:{port}\", image: \"i:1\", port: 1, {more}),")
    }

    fn daemon(name: &str, room: u32) -> String {
        format!("(name: \"{name}\", url: \"unix:///{name}.sock\", max_containers: {room}),")
    }

    #[test]
    fn each_change_is_named_and_all_are_counted() {
        let fixed = |daemons: &[String]| format!("Static([{}])", daemons.concat());
        let before = config(
            &fixed(&[daemon("a", 20), daemon("b", 20)]),
            &[service("a", ""), service("bb", ""), service("ccc", "")].concat(),
            "",
        );
        assert_eq!(Changes::between(&before, &before).to_string(), "nothing");
        let after = config(
            &fixed(&[daemon("a", 30), daemon("c", 20)]),
            &[
                service("a", "warm: Auto, image: \"i:2\"").replacen("image: \"i:1\",", "", 1),
                service("bb", "timeouts: (idle: \"1m\"), queue: (length: 1)"),
                service("dddd", ""),
            ]
            .concat(),
            "drain_timeout: \"1s\"",
        );
        let changes = Changes::between(&before, &after);
        assert_eq!(
            changes.services,
            [("a".into(), vec!["image", "warm"]), ("bb".into(), vec!["queue", "timeouts"])]
        );
        assert_eq!(changes.daemons, [("a".to_owned(), vec!["max_containers"])]);
        assert_eq!(
            changes.to_string(),
            "services added: 1; services changed: 2; services removed: 1; daemons added: 1; \
             daemons changed: 1; daemons removed: 1; changed: drain_timeout"
        );
        let swarm =
            "Swarm(manager: \"unix:///s.sock\", port: 2376, max_containers: 20, insecure: true)";
        let moved = config(swarm, &service("a", ""), "");
        let said = Changes::between(&before, &moved).to_string();
        assert!(said.ends_with("services removed: 2; changed: daemons"), "{said}");
    }
}
