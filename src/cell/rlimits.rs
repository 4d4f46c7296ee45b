//! The limits of a process, as the kernel tells them and as a specification has them.

use serde_json::{Value, json};

/// The kernel's names of limits in `/proc/PID/limits`, and those of a specification.
const NAMES: [(&str, &str); 16] = [
    ("Max cpu time", "RLIMIT_CPU"),
    ("Max file size", "RLIMIT_FSIZE"),
    ("Max data size", "RLIMIT_DATA"),
    ("Max stack size", "RLIMIT_STACK"),
    ("Max core file size", "RLIMIT_CORE"),
    ("Max resident set", "RLIMIT_RSS"),
    ("Max processes", "RLIMIT_NPROC"),
    ("Max open files", "RLIMIT_NOFILE"),
    ("Max locked memory", "RLIMIT_MEMLOCK"),
    ("Max address space", "RLIMIT_AS"),
    ("Max file locks", "RLIMIT_LOCKS"),
    ("Max pending signals", "RLIMIT_SIGPENDING"),
    ("Max msgqueue size", "RLIMIT_MSGQUEUE"),
    ("Max nice priority", "RLIMIT_NICE"),
    ("Max realtime priority", "RLIMIT_RTPRIO"),
    ("Max realtime timeout", "RLIMIT_RTTIME"),
];

/// All limits of a process, in the words of a specification. One that is not told is left out.
pub(super) fn of_process(told: &str) -> Vec<Value> {
    let number = |text: &str| match text {
        "unlimited" => Some(u64::MAX),
        text => text.parse().ok(),
    };
    let of_line = |line: &str| {
        let (name, kind) = NAMES.iter().find(|(name, _)| line.starts_with(name))?;
        let mut values = line[name.len()..].split_whitespace();
        let (soft, hard) = (number(values.next()?)?, number(values.next()?)?);
        Some(json!({ "type": kind, "soft": soft, "hard": hard }))
    };
    told.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_tells_them() {
        let told = "\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 524288               files
";
        let expected = [
            json!({ "type": "RLIMIT_CPU", "soft": u64::MAX, "hard": u64::MAX }),
            json!({ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 524_288 }),
        ];
        assert_eq!(of_process(told), expected);
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(of_process(&own).len(), NAMES.len());
    }
}
