//! Which setting to look at, by what a container has logged before it ended.

/// Parts of log lines in small letters, and the setting that is the likely cause. The first that is
/// found counts, so the narrow come first.
const HINTS: &[(&str, &str)] = &[
    ("read-only file system", "`tmpfs` for what it writes, or `read_only`"),
    ("java.lang.outofmemoryerror", "`limits.memory`: the Java heap is too small in it"),
    ("insufficient memory for the java", "`limits.memory`: too little for Java"),
    ("javascript heap out of memory", "`limits.memory`: too little for Node.js"),
    ("could not resize shared memory", "`shm_size`: /dev/shm is full"),
    ("cannot allocate memory", "`limits.memory`: too little to start"),
    ("out of memory", "`limits.memory`: too little to start"),
    ("no space left on device", "the sizes of `tmpfs`, or the disk of the daemon"),
    ("too many open files", "`ulimits`: nofile is too small"),
    ("operation not permitted", "`privileges`: it lacks a capability; or `user`"),
    ("setgid", "`privileges`: it may not change its group"),
    ("setgroups", "`privileges`: it may not change its groups"),
    ("setuid", "`privileges`: it may not change its user"),
    ("must be run as root", "`user`: the program wants to be root"),
    ("permission denied", "`user`, or `privileges`: it may not read or write a file of its own"),
];

/// The setting to look at after these lines, or after the kernel has killed a process for memory.
/// `None` where nothing is known.
pub(super) fn hint(log: &[String], out_of_memory: bool) -> Option<String> {
    let log: Vec<_> = log.iter().map(|line| line.to_lowercase()).collect();
    let said = |part: &str| log.iter().any(|line| line.contains(part));
    let known = HINTS.iter().find(|(part, _)| said(part)).map(|(_, setting)| *setting);
    known.or(out_of_memory.then_some("`limits.memory`")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_named_by_what_was_logged() {
        for (said, setting) in [
            ("chown: /var/lib/postgresql/data: Operation not permitted", "`privileges`"),
            ("failed switching to \"redis\": operation not permitted", "`privileges`"),
            (
                "nginx: [emerg] chown(\"/var/cache/nginx/client_temp\", 101) failed (1: Operation not permitted)",
                "`privileges`",
            ),
            ("setgid: Permission denied", "`privileges`"),
            ("mkdir: cannot create directory '/run/x': Read-only file system", "`tmpfs`"),
            (
                "There is insufficient memory for the Java Runtime Environment to continue.",
                "`limits.memory`",
            ),
            (
                "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
                "`limits.memory`",
            ),
            (
                "ERROR: could not resize shared memory segment: No space left on device",
                "`shm_size`",
            ),
        ] {
            let log = ["before".to_owned(), said.to_owned(), "exiting".to_owned()];
            assert!(hint(&log, false).is_some_and(|hint| hint.contains(setting)), "{said}");
        }
        assert_eq!(hint(&["listening on port 7000".to_owned()], false), None);
        assert_eq!(hint(&[], true).as_deref(), Some("`limits.memory`"));
    }
}
