//! A service in the making, as a configuration has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytesize::ByteSize;

use crate::config::{Config, Service};

/// How large a file system in memory may get, in bytes, where the limit of memory has room for it.
const TMPFS: u64 = 64 << 20;

/// A service that is tried, and proposed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) port: u16,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) user: Option<String>,
    pub(super) privileges: Rights,
    pub(super) read_only: bool,
    /// Paths of file systems in memory.
    pub(super) tmpfs: BTreeSet<String>,
    /// Bytes; `None` is no limit at all.
    pub(super) memory: Option<u64>,
    /// The value in the file.
    pub(super) ready: Option<String>,
    /// Seconds that a container has to get ready in, where that is more than usual.
    pub(super) start: Option<u64>,
    /// The comments above keys, by their names.
    pub(super) remarks: BTreeMap<&'static str, String>,
}

/// The rights of its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Rights {
    /// Rights for start scripts.
    #[default]
    Standard,
    /// These capabilities alone.
    Only(BTreeSet<String>),
}

// === impl Draft ===

impl Draft {
    /// The service as a configuration with it alone has it.
    ///
    /// # Errors
    /// The faults of the draft, for people.
    pub(super) fn service(&self) -> Result<Service, String> {
        let text = format!(
            "#![enable(implicit_some)]\n(daemons: Static([(name: \"d\", url: \
             \"unix:///d.sock\", max_containers: 1)]),\nservices: {{\n{self}}})\n"
        );
        let config = Config::parse(&text, "the service").map_err(|report| report.render(false))?;
        config.services.into_iter().next().ok_or_else(|| "no service".to_owned())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let list = |words: &mut dyn Iterator<Item = &String>| {
            let words: Vec<_> = words.map(|word| quoted(word)).collect();
            format!("[{}]", words.join(", "))
        };
        let map = |pairs: Vec<(String, String)>| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}: {v}")).collect();
            format!("{{{}}}", pairs.join(", "))
        };
        let mut rows = vec![
            ("listen", format!("\"127.0.0.1:{}\"", unprivileged(self.port))),
            ("image", quoted(&self.image)),
            ("port", self.port.to_string()),
        ];
        if !self.command.is_empty() {
            rows.push(("command", list(&mut self.command.iter())));
        }
        if !self.env.is_empty() {
            let pair = |(key, value): &(String, String)| (quoted(key), quoted(value));
            rows.push(("env", map(self.env.iter().map(pair).collect())));
        }
        rows.extend(self.user.as_ref().map(|user| ("user", quoted(user))));
        if let Rights::Only(capabilities) = &self.privileges {
            rows.push(("privileges", "None".to_owned()));
            if !capabilities.is_empty() {
                rows.push(("cap_add", list(&mut capabilities.iter())));
            }
        }
        if self.read_only {
            rows.push(("read_only", "true".to_owned()));
        }
        if !self.tmpfs.is_empty() {
            // Several of them fit into the limit.
            let share = self.memory.map_or(u64::MAX, |memory| memory / 4);
            let options = format!("\"size={}m\"", share.min(TMPFS) >> 20);
            let pair = |path: &String| (quoted(path), options.clone());
            rows.push(("tmpfs", map(self.tmpfs.iter().map(pair).collect())));
        }
        rows.push((
            "limits",
            match self.memory {
                Some(bytes) => format!("(memory: \"{}\")", size(bytes)),
                // As much as any machine has.
                None => "(memory: \"1TiB\")".to_owned(),
            },
        ));
        rows.extend(self.ready.as_ref().map(|ready| ("ready", ready.clone())));
        rows.extend(self.start.map(|start| ("timeouts", format!("(start: \"{start}s\")"))));
        rows
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: (", quoted(&self.name))?;
        for (key, value) in self.rows() {
            for line in self.remarks.get(key).into_iter().flat_map(|remark| remark.lines()) {
                writeln!(f, "    // {line}")?;
            }
            writeln!(f, "    {key}: {value},")?;
        }
        for line in self.remarks.get("").into_iter().flat_map(|remark| remark.lines()) {
            writeln!(f, "    // {line}")?;
        }
        writeln!(f, "),")
    }
}

/// A text as the file has it, in which `${` begins no variable.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default().to_string().replace("${", "$${"))
}

/// A listening port in its place that needs no root.
fn unprivileged(port: u16) -> u16 {
    if port < 1024 { port + 8000 } else { port }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string().replace(' ', "").replace(".0", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_read_back_as_it_is_written() {
        let set = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let draft = Draft {
            name: "postgres".into(),
            image: "postgres:16".into(),
            port: 80,
            command: vec!["postgres".into(), "-c".into(), "a=\"b\"\\".into()],
            env: vec![("PASSWORD".into(), "se\"cret".into()), ("A".into(), "${HOME} $${x".into())],
            user: Some("65534".into()),
            privileges: Rights::Only(set(&["CHOWN", "SETUID"])),
            read_only: true,
            tmpfs: set(&["/run/postgresql", "/tmp"]),
            memory: Some(256 << 20),
            start: Some(120),
            ready: Some("Log(\"ready to accept\", times: 2)".into()),
            remarks: BTreeMap::from([("", "All of it\nis tried.".to_owned())]),
        };
        let service = draft.service().unwrap();
        assert_eq!(service.listen.port(), 8080);
        let spec = service.spec;
        assert_eq!((spec.port, spec.limits.memory), (80, Some(256 << 20)));
        assert_eq!(spec.command.unwrap(), draft.command);
        assert_eq!(spec.env.0["PASSWORD"], "se\"cret");
        assert_eq!(spec.env.0["A"], "${HOME} $${x", "no variable of ours");
        assert_eq!(service.start_timeout.as_secs(), 120);
        assert_eq!((spec.user.as_deref(), spec.read_only), (Some("65534"), true));
        assert_eq!(spec.capabilities, ["CHOWN", "SETUID"]);
        assert_eq!(spec.tmpfs.len(), 2);
        assert!(draft.to_string().ends_with("    // All of it\n    // is tried.\n),\n"), "{draft}");

        let least = Draft { name: "x".into(), image: "x".into(), port: 7000, ..Draft::default() };
        let spec = least.service().unwrap().spec;
        assert_eq!((spec.capabilities.len(), spec.user), (9, None));
    }
}
