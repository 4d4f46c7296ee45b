//! Tests of the effective configuration: every key, its place, and no secret.

use std::collections::BTreeSet;
use std::fs;

use ganger_test_support::{Authority, unique};

use super::*;
use crate::config::effective::HIDDEN;
use crate::config::keys::Tell;
use crate::config::reference::groups;

/// A directory with files that configurations name.
struct Dir(PathBuf);

/// Settings of services, which between them have every form of every key.
const FORMS: [&str; 6] = [
    "ready: Tcp, warm: Auto(min: 1), privileges: (add: [\"SYS_NICE\"])",
    "ready: Exchange(send: \"hunter2-send\", expect: \"hunter2-expect\"), mounts: [(source: \"/a\", target: \"/b\")]",
    "ready: Http(\"/hunter2-path?token=hunter2-query\"), volumes: {\"/c\": (name: \"c\"), \"/d\": \"d\"}",
    "ready: Healthcheck(test: [\"hunter2-test\"]), ulimits: {\"core\": (soft: 1, hard: 2), \"nofile\": 4096}",
    "ready: Log(\"hunter2-log\"), command: [\"/x\", \"--password=hunter2-command\"], \
     entrypoint: [\"hunter2-entrypoint\"], env: {\"KEY\": \"hunter2-env\", \"FROM\": \"a${NONE:-hunter2-default}\"}, \
     env_file: \"env\", secrets: {\"db\": \"secret\"}, hostname: \"${NONE:-hunter2-hostname}\", \
     dns: [\"192.0.2.1\", \"${NONE:-192.0.2.222}\"], working_dir: \"${CARGO_MANIFEST_DIR}\", \
     extra_hosts: {\"${NONE:-hunter2-host}\": \"192.0.2.1\"}, user: \"$${HOME}\"",
    "ready: Exec([\"hunter2-exec\", \"${NONE:-hunter2-argument}\"])",
];

/// Where the fleet may be listed.
const FLEETS: [&str; 4] = [
    "Static([(name: \"d\", url: \"unix:///d.sock\", max_containers: 99)])",
    "Static([(name: \"d\", url: \"tcp://192.0.2.7:1\", max_containers: 99, tls: (ca: \"ca.pem\"))])",
    "Consul(servers: [\"https://192.0.2.7:1\"], server_tls: (ca: \"ca.pem\"), token_file: \"token\", service: \"c\", \
     max_containers: 99)",
    "Swarm(manager: \"tcp://192.0.2.7:1\", port: 1, tls: (ca: \"ca.pem\"), max_containers: 99)",
];

const REST: &str = "register: Consul(token_file: \"token\"), defaults: (stale_after: \"7s\"), \
    admin: (listen: \"127.0.0.1:1\", token_file: \"token\")";

// === impl Dir ===

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(unique("ganger-config-effective"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("token"), "hunter2-token").unwrap();
        fs::write(dir.join("secret"), "hunter2-secret").unwrap();
        fs::write(dir.join("env"), "FILED=hunter2-filed").unwrap();
        fs::write(dir.join("ca.pem"), Authority::new("ca").pem()).unwrap();
        Self(dir)
    }

    fn load(&self, text: &str) -> Config {
        let path = self.0.join("ganger.ron");
        fs::write(&path, text).unwrap();
        Config::load(&path).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A configuration for each kind of fleet, with services of all forms.
    fn configs(&self) -> Vec<Effective> {
        let service = |(at, form): (usize, &&str)| {
            format!(
                "\"s{at}\": (listen: \"127.0.0.1:{}\", image: \"i:1\", port: 1, {form})",
                at + 2
            )
        };
        let services: Vec<_> = FORMS.iter().enumerate().map(service).collect();
        let services = services.join(",\n");
        let text = |fleet: &&str| format!("(daemons: {fleet},\nservices: {{{services}}},\n{REST})");
        FLEETS.iter().map(|fleet| self.load(&text(fleet)).effective).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parsed(text: &str) -> Effective {
    Config::parse(text, "t").unwrap_or_else(|report| panic!("{report}")).effective
}

/// A key without the places in lists and maps.
fn bare(key: &str) -> String {
    let parts = key.split('[').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.rsplit_once(']').map_or("", |(_, rest)| rest),
    });
    parts.collect()
}

/// The keys, those in structs with the names of these.
fn told<'a>(keys: impl IntoIterator<Item = &'a EffectiveKey>) -> BTreeSet<String> {
    let keys = keys.into_iter().map(|key| bare(&key.key));
    let with_owners = keys.flat_map(|key| {
        let ends: Vec<_> = key.match_indices('.').map(|(at, _)| at).chain([key.len()]).collect();
        ends.into_iter().map(move |end| key[..end].to_owned()).collect::<Vec<_>>()
    });
    with_owners.collect()
}

/// The keys of a table that are not told, with those in them.
fn missing(rows: &[Row], before: &str, told: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for row in rows {
        let key = format!("{before}{}", row.name);
        missing.extend(self::missing(row.within, &format!("{key}."), told));
        if !told.contains(&key) {
            missing.push(key);
        }
    }
    missing
}

fn find<'e>(keys: &'e [EffectiveKey], name: &str) -> &'e EffectiveKey {
    keys.iter().find(|key| key.key == name).unwrap_or_else(|| panic!("there is no {name}"))
}

fn value(keys: &[EffectiveKey], name: &str) -> String {
    match &find(keys, name).value {
        EffectiveValue::Default(text) => (*text).to_owned(),
        EffectiveValue::Written(text) => text.to_string(),
        EffectiveValue::Nothing(words) => format!("({words})"),
    }
}

fn place(keys: &[EffectiveKey], name: &str) -> Option<[u32; 3]> {
    find(keys, name).place.map(|place| [place.file, place.line, place.column])
}

#[test]
fn every_key_of_every_table_is_told() {
    let dir = Dir::new();
    let configs = dir.configs();
    let top: Vec<_> = TOP_ROWS.iter().map(|row| Row { within: &[], ..*row }).collect();
    for config in &configs {
        let mut told = told(&config.keys);
        // Services are kept apart.
        told.insert("services".to_owned());
        assert_eq!(missing(&top, "", &told), [""; 0]);
        let in_top: Vec<_> = TOP_ROWS
            .iter()
            .filter(|row| row.name == "log" || row.name == "admin")
            .copied()
            .collect();
        assert_eq!(missing(&in_top, "", &told), [""; 0]);
        assert_eq!(config.services.len(), FORMS.len());
    }
    let services = told(configs[0].services.iter().flat_map(|part| &part.keys));
    assert_eq!(missing(SERVICE_ROWS, "", &services), [""; 0]);
    for config in &configs[..2] {
        assert_eq!(missing(DAEMON_ROWS, "", &told(&config.daemons[0].keys)), [""; 0]);
    }
    for (group, rows) in groups() {
        let (before, keys) = match group {
            "Consul" => ("daemons.", told(&configs[2].keys)),
            "Swarm" => ("daemons.", told(&configs[3].keys)),
            "register" => ("register.", told(&configs[0].keys)),
            "tls" => ("tls.", told(&configs[1].daemons[0].keys)),
            _ => ("ready.", services.clone()),
        };
        assert_eq!(missing(rows, before, &keys), [""; 0], "of {group}");
    }
}

#[test]
fn without_any_settings_every_key_is_told_once_with_its_default() {
    let config = parsed(&with(""));
    for row in SERVICE_ROWS {
        let keys: Vec<_> = config.services[0]
            .keys
            .iter()
            .filter(|key| bare(&key.key).split('.').next() == Some(row.name))
            .collect();
        let is_set = row.without == super::keys::Without::Refused;
        assert!(
            !keys.is_empty() && keys.iter().all(|key| key.place.is_some() == is_set),
            "{}",
            row.name
        );
        assert!(keys.iter().all(|key| !key.is_redacted), "{}", row.name);
    }
    for keys in [&config.keys, &config.daemons[0].keys, &config.services[0].keys] {
        let names: BTreeSet<_> = keys.iter().map(|key| &key.key).collect();
        assert_eq!(names.len(), keys.len(), "{names:?}");
    }
}

#[test]
fn no_secret_is_told_wherever_one_can_be() {
    let dir = Dir::new();
    for config in dir.configs() {
        let shown = format!("{config:#?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        // Values from the environment, or its defaults.
        assert!(!shown.contains("192.0.2.222"), "{shown}");
        assert!(!shown.contains(env!("CARGO_MANIFEST_DIR")), "{shown}");
    }
    let config = dir.configs().remove(0);
    let service = &config.services[4].keys;
    for key in ["command", "entrypoint", "env[\"KEY\"]", "env[\"FROM\"]", "ready.text"] {
        assert_eq!((value(service, key).as_str(), find(service, key).is_redacted), (HIDDEN, true));
    }
    // The names of filled-in variables are shown.
    assert_eq!(*find(service, "env[\"FROM\"]").variables, ["NONE".to_owned()]);
    assert_eq!(value(service, "working_dir"), "<from CARGO_MANIFEST_DIR>");
    assert_eq!(value(service, "dns"), "[\"192.0.2.1\", <from NONE>]");
    assert!(find(service, "dns").is_redacted);
    assert_eq!(value(service, "secrets[\"db\"]"), format!("{:?}", dir.0.join("secret")));
    assert_eq!(value(service, "env_file"), format!("{:?}", dir.0.join("env")));
    assert_eq!(value(service, "user"), "\"$${HOME}\"");
    assert_eq!(value(&config.services[5].keys, "ready"), format!("Exec({HIDDEN})"));
    assert_eq!(*find(&config.services[5].keys, "ready").variables, ["NONE".to_owned()]);
}

/// The keys in these rows with hidden values.
fn closed(rows: &[Row], found: &mut BTreeSet<&'static str>) {
    for row in rows {
        match row.tell {
            Tell::Nothing | Tell::Names => _ = found.insert(row.name),
            Tell::Keys(groups) => groups.iter().for_each(|(_, rows)| closed(rows, found)),
            Tell::Each(rows) => closed(rows, found),
            Tell::Whole | Tell::Path | Tell::Url => {}
        }
        closed(row.within, found);
    }
}

#[test]
fn what_is_not_told_is_what_may_be_secret() {
    let mut found = BTreeSet::new();
    closed(TOP_ROWS, &mut found);
    let expected = [
        "command",
        "defaults",
        "entrypoint",
        "env",
        "expect",
        "path",
        "send",
        "services",
        "test",
        "text",
    ];
    // `services` and `defaults` are told in their own way.
    assert_eq!(found, BTreeSet::from(expected));
}

/// Where this is in one of the texts, which has it once.
fn at(texts: [&str; 2], file: u32, part: &str) -> Option<[u32; 3]> {
    let (before, rest) = texts[file as usize].split_once(part).unwrap();
    assert!(!rest.contains(part), "{part}");
    let line = before.rsplit('\n').next().unwrap();
    let count = |number: usize| u32::try_from(number).unwrap() + 1;
    Some([file, count(before.matches('\n').count()), count(line.chars().count())])
}

#[test]
fn every_value_is_told_with_where_it_is_written() {
    let dir = Dir::new();
    fs::create_dir_all(dir.0.join("more")).unwrap();
    let more = "// ä\n(services: {\n  \"b\": (listen: \"127.0.0.1:2\", image: \"i\", port: 1, env_file: \"../env\"),\n})";
    fs::write(dir.0.join("more/b.ron"), more).unwrap();
    let text = "(include: [\"more/*.ron\"],\ndaemons: Static([(name: \"d\", url: \"unix:///d.sock\", max_containers: 99)]),\n\
                services: {\"a\": (listen: \"127.0.0.1:1\", image: /* ä */ \"i\", port: 1, max_age: None)},\n\
                defaults: (reuse: 3, max_age: \"1h\", limits: (memory: Some(\"64MiB\"))))";
    let at = |file, part| at([text, more], file, part);
    let config = dir.load(text).effective;
    let file = |name: &str| dir.0.join(name).display().to_string();
    assert_eq!(config.files, [file("ganger.ron"), file("more/b.ron")]);
    let [a, b] = &config.services[..] else { panic!("{config:#?}") };
    assert_eq!((&*a.name, &*b.name), ("a", "b"));
    assert_eq!(place(&config.keys, "daemons"), at(0, "Static"));
    assert_eq!(place(&config.daemons[0].keys, "url"), at(0, "\"unix:"));
    assert_eq!(place(&a.keys, "image"), at(0, "\"i\""));
    assert_eq!(place(&b.keys, "image"), at(1, "\"i\""));
    assert_eq!(value(&b.keys, "env_file"), format!("{:?}", dir.0.join("more/../env")));
    // A default has its place in `defaults`.
    assert_eq!(place(&b.keys, "reuse"), at(0, "3, max_age"));
    assert_eq!(place(&b.keys, "limits.memory"), at(0, "\"64MiB\""));
    assert_eq!(
        (place(&b.keys, "limits.pids"), value(&b.keys, "limits.pids")),
        (None, "256".into())
    );
    // A service's `None` has a place, too.
    assert_eq!(value(&a.keys, "max_age"), "(no limit)");
    assert_eq!(place(&a.keys, "max_age"), at(0, "None"));
    assert_eq!(value(&b.keys, "max_age"), "\"1h\"");
    assert_eq!(value(&config.keys, "defaults"), "(reuse, max_age, limits)");
}
