//! What can befall the packets that come to a host from this machine.

use std::process::{Command, Output};

use crate::fleet::{Fleet, Host};

/// Which packets, and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packets {
    /// All are dropped.
    Dropped,
    /// Those to its API are dropped.
    ApiDropped,
    /// One in ten is dropped.
    Lossy,
}

/// A rule in a host's firewall, until this is dropped.
#[derive(Debug)]
#[must_use = "the rule goes when this is dropped"]
pub struct Rule {
    netns: String,
    packets: Packets,
}

// === impl Fleet ===

impl Fleet {
    /// Lets something befall what comes to a host over its link.
    ///
    /// # Panics
    /// For host 0, which has no link, or when the fleet is not this test's alone.
    pub fn meddle(&self, host: &Host, packets: Packets) -> Rule {
        assert!(self.exclusive, "faults are for tests that take Fleet::exclusive()");
        let netns = host.netns.clone().expect("a link");
        let rule = Rule { netns, packets };
        let output = rule.apply("-I");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "iptables: {said}");
        rule
    }
}

// === impl Packets ===

impl Packets {
    /// Its table and chain, and the rest of its rule.
    fn rule(self) -> (&'static str, &'static str, &'static [&'static str]) {
        // Before anything is translated, so that what goes to published ports counts.
        const ALL: (&str, &str) = ("raw", "PREROUTING");
        match self {
            Self::Dropped => (ALL.0, ALL.1, &["-j", "DROP"]),
            Self::ApiDropped => (ALL.0, ALL.1, &["-p", "tcp", "--dport", "2375", "-j", "DROP"]),
            Self::Lossy => (
                ALL.0,
                ALL.1,
                &["-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP"],
            ),
        }
    }
}

// === impl Rule ===

impl Rule {
    fn apply(&self, verb: &str) -> Output {
        let (table, chain, rest) = self.packets.rule();
        let mut iptables = Command::new("nsenter");
        iptables.arg(format!("--net=/run/netns/{}", self.netns));
        // The engine uses it as well.
        iptables.args(["iptables", "--wait", "--table", table, verb, chain, "-i", "eth0"]);
        iptables.args(rest).output().expect("nsenter")
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = self.apply("-D");
    }
}
