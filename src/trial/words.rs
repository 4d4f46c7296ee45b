//! Finds the needs of a program in the words of its log.

use std::collections::BTreeSet;

/// The capabilities that are added one by one where no word says which, likely ones first.
pub(super) const LIKELY: [&str; 9] = [
    "SETGID",
    "SETUID",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "SYS_CHROOT",
    "KILL",
    "FSETID",
    "NET_BIND_SERVICE",
];

/// Parts of log lines in small letters, and the capabilities whose absence is the likely cause.
const NEEDS: &[(&str, &[&str])] = &[
    ("chown", &["CHOWN"]),
    ("changing ownership", &["CHOWN"]),
    ("chmod", &["FOWNER"]),
    ("changing permissions", &["FOWNER"]),
    ("setgroups", &["SETGID"]),
    ("initgroups", &["SETGID", "SETUID"]),
    ("setgid", &["SETGID"]),
    ("setegid", &["SETGID"]),
    ("setresgid", &["SETGID", "SETUID"]),
    ("setuid", &["SETUID"]),
    ("seteuid", &["SETUID"]),
    ("setresuid", &["SETUID"]),
    ("setpriv", &["SETGID", "SETUID"]),
    ("switching to", &["SETGID", "SETUID"]),
    ("cannot drop privileges", &["SETGID", "SETUID"]),
    ("chroot", &["SYS_CHROOT"]),
    ("bind", &["NET_BIND_SERVICE"]),
    ("listen", &["NET_BIND_SERVICE"]),
    ("permission denied", &["DAC_OVERRIDE"]),
];

/// Parts of log lines in small letters that say that a service can serve now.
const READY: &[&str] = &[
    "ready to accept connections",
    "ready for connections",
    "server startup in",
    "ready to accept",
    "startup complete",
    "accepting connections",
    "started in",
    "listening on",
];

/// The capabilities that the log asks for and `has` lacks, as far as its words say.
pub(super) fn needed(log: &[String], has: &BTreeSet<String>) -> Vec<&'static str> {
    let refused = |line: &&String| {
        let line = line.to_lowercase();
        line.contains("not permitted")
            || line.contains("permission denied")
            || line.contains("fail")
    };
    for line in log.iter().rev().filter(refused) {
        let line = line.to_lowercase();
        for (_, capabilities) in NEEDS.iter().filter(|(part, _)| line.contains(part)) {
            let missing = capabilities.iter().copied().filter(|one| !has.contains(*one));
            let missing: Vec<_> = missing.collect();
            // Otherwise another word may be the cause.
            if !missing.is_empty() {
                return missing;
            }
        }
    }
    Vec::new()
}

/// The variables of the environment that a log names: in capitals, with an underscore.
pub(super) fn variables(log: &[String]) -> BTreeSet<String> {
    let is = |word: &&str| {
        word.len() > 4
            && word.contains('_')
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let words = log.iter().flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(is).map(str::to_owned).collect()
}

/// The paths that a log says could not be written, because the file system is read-only.
pub(super) fn unwritable(log: &[String]) -> BTreeSet<String> {
    let refused = log.iter().filter(|line| line.to_lowercase().contains("read-only file system"));
    let words = refused
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || "'\"`():,;[]‘’“”".contains(c)));
    words.filter(|word| word.len() > 1 && word.starts_with('/')).map(str::to_owned).collect()
}

/// How many lines of a log say that something was refused.
pub(super) fn refusals(log: &[String]) -> usize {
    let refused = |line: &&String| {
        let line = line.to_lowercase();
        ["not permitted", "permission denied", "read-only file system"]
            .iter()
            .any(|part| line.contains(part))
    };
    log.iter().filter(refused).count()
}

/// The text by which a log says that the service can serve, as it stands there, and how often.
pub(super) fn readiness(log: &[String]) -> Option<(String, usize)> {
    READY.iter().find_map(|text| {
        let found: Vec<_> = log
            .iter()
            .filter_map(|line| {
                let at = line.to_ascii_lowercase().find(text)?;
                line.get(at..at + text.len())
            })
            .collect();
        let last = *found.last()?;
        Some((last.to_owned(), found.iter().filter(|one| **one == last).count()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn words_name_what_is_missing() {
        let none = BTreeSet::new();
        for (line, wanted) in [
            ("chown: changing ownership of '/data': Operation not permitted", &["CHOWN"][..]),
            ("setpriv: setresgid failed: Operation not permitted", &["SETGID", "SETUID"]),
            ("chroot(\"/run/sshd\"): Operation not permitted [preauth]", &["SYS_CHROOT"]),
            ("mkdir: cannot create directory '/data/x': Permission denied", &["DAC_OVERRIDE"]),
            ("listening on port 7000", &[]),
        ] {
            assert_eq!(needed(&log(&["before", line]), &none), wanted, "{line}");
        }
        let has = BTreeSet::from(["CHOWN".to_owned()]);
        assert!(needed(&log(&["chown: Operation not permitted"]), &has).is_empty());
    }

    #[test]
    fn variables_and_paths_are_found_in_sentences() {
        let said =
            log(&["Error: You must specify POSTGRES_PASSWORD to a value.", "SIGTERM NOT A_B"]);
        assert_eq!(variables(&said), BTreeSet::from(["POSTGRES_PASSWORD".to_owned()]));
        let said =
            log(&["mkdir: cannot create directory ‘/run/x’: Read-only file system", "/other"]);
        assert_eq!(unwritable(&said), BTreeSet::from(["/run/x".to_owned()]));
    }

    #[test]
    fn a_log_says_when_and_how_often() {
        let said = log(&["x: Ready to accept connections tcp", "more"]);
        assert_eq!(readiness(&said), Some(("Ready to accept connections".to_owned(), 1)));
        let said = log(&["LOG: ready to accept connections"; 2]);
        assert_eq!(readiness(&said), Some(("ready to accept connections".to_owned(), 2)));
        assert_eq!(readiness(&log(&["hello"])), None);
    }
}
