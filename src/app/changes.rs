//! The changes of a reload, as text for people.

use std::fmt;

use ganger_pool::core::ServiceName;

use crate::config::{Config, Daemons, ListedDaemon};

/// A daemon of the file that has other settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChangedDaemon {
    pub(super) name: String,
    pub(super) fields: Vec<&'static str>,
    /// Its `url` leads to another engine.
    pub(super) moved: bool,
}

/// The differences between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// By service, the settings that differ.
    pub(super) services: Vec<(ServiceName, Vec<&'static str>)>,
    /// The same of daemons.
    pub(super) daemons: Vec<ChangedDaemon>,
    /// Changed settings that belong to no service and no daemon.
    general: Vec<&'static str>,
    /// How many services came and went.
    services_came: usize,
    services_went: usize,
    daemons_came: usize,
    daemons_went: usize,
}

// === impl Changes ===

impl Changes {
    pub(super) fn between(before: &Config, after: &Config) -> Self {
        let general = before.values.differing(&after.values);
        let mut changes = Self { general, ..Self::default() };
        let (came, went) = changes.compare(
            &before.services,
            &after.services,
            |service| service.name.to_string(),
            |changes, name, before, after| {
                let fields = before.values.differing(&after.values);
                if !fields.is_empty() {
                    changes.services.push((name.into(), fields));
                }
            },
        );
        (changes.services_came, changes.services_went) = (came, went);
        if let (Daemons::Static(before), Daemons::Static(after)) = (&before.daemons, &after.daemons)
        {
            let name = |daemon: &ListedDaemon| daemon.name.to_string();
            let (came, went) =
                changes.compare(before, after, name, |changes, name, before, after| {
                    let fields = before.values.differing(&after.values);
                    let moved = before.url.place() != after.url.place();
                    if !fields.is_empty() {
                        changes.daemons.push(ChangedDaemon { name, fields, moved });
                    }
                });
            (changes.daemons_came, changes.daemons_went) = (came, went);
        }
        changes
    }

    /// Calls `tell` for each item of both; returns how many only `after` has, and only `before`.
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
            "drain_timeout: \"1s\", access_log: \"a.jsonl\"",
        );
        let changes = Changes::between(&before, &after);
        assert_eq!(
            changes.services,
            [("a".into(), vec!["image", "warm"]), ("bb".into(), vec!["queue", "timeouts"])]
        );
        let daemon_a = |fields: &[&'static str], moved| ChangedDaemon {
            name: "a".to_owned(),
            fields: fields.to_vec(),
            moved,
        };
        assert_eq!(changes.daemons, [daemon_a(&["max_containers"], false)]);
        assert_eq!(
            changes.to_string(),
            "services added: 1; services changed: 2; services removed: 1; daemons added: 1; \
             daemons changed: 1; daemons removed: 1; changed: drain_timeout, access_log"
        );
        let same = config(
            &fixed(&[daemon("a", 20).replace(')', ", insecure: true)"), daemon("b", 20)]),
            &[service("a", "warm: 1, user: None"), service("bb", ""), service("ccc", "")].concat(),
            "drain_timeout: \"30000ms\"",
        );
        assert_eq!(Changes::between(&before, &same).to_string(), "nothing", "in other words");
        let at = |path: &str| daemon("a", 20).replace("/a.sock", path);
        let at = |path: &str| config(&fixed(&[at(path)]), &service("a", ""), "");
        for (path, moved) in [("/run/a.sock", false), ("/run/b.sock", true)] {
            let changes = Changes::between(&at("/var/run/a.sock"), &at(path));
            assert_eq!(changes.daemons, [daemon_a(&["url"], moved)]);
        }
        let swarm =
            "Swarm(manager: \"unix:///s.sock\", port: 2376, max_containers: 20, insecure: true)";
        let moved = config(swarm, &service("a", ""), "");
        let said = Changes::between(&before, &moved).to_string();
        assert!(said.ends_with("services removed: 2; changed: daemons"), "{said}");
    }
}
