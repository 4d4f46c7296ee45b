//! Whether this process may enter containers' namespaces at all.

use std::fs;

/// Says why this process may not enter other network namespaces, if so.
///
/// # Errors
/// The reason, for people.
pub fn can_enter_namespaces() -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("/proc/self/status cannot be read: {error}"))?;
    if has_sys_admin(&status) { Ok(()) } else { Err("the process lacks CAP_SYS_ADMIN".to_owned()) }
}

fn has_sys_admin(status: &str) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_SYS_ADMIN & 1 == 1)
}

/// Whether a process with this number can be seen from here.
pub(crate) fn sees_process(pid: i32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mask() {
        assert!(has_sys_admin("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(has_sys_admin("CapEff:\t0000000000200000\n"));
        assert!(!has_sys_admin("CapEff:\t0000000000100000\n"));
        assert!(!has_sys_admin("CapPrm:\t000001ffffffffff\n"));
        assert!(!has_sys_admin(""));
    }
}
