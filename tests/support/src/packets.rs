//! Faults of the packets that come to a host from this machine.

use std::process::{Command, Output};

use crate::fleet::{Fleet, Host};

/// Which packets, and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packets {
    /// All are dropped.
    Dropped,
    /// Packets to its API are dropped.
    ApiDropped,
    /// Packets to its API are answered with resets.
    ApiReset,
    /// Packets to its containers are answered with resets.
    ContainersReset,
    /// A random tenth is dropped.
    Lossy,
}

/// A rule in a host's firewall, until this is dropped.
#[derive(Debug)]
#[must_use = "the rule goes when this is dropped"]
pub struct Rule {
    netns: String,
    packets: Packets,
}

/// A host whose published ports lead nowhere, until this is dropped.
#[derive(Debug)]
#[must_use = "what its engine needs is there again when this is dropped"]
pub struct Flushed {
    netns: String,
    /// The rules that are not of a container.
    rules: Vec<String>,
}

// === impl Fleet ===

impl Fleet {
    /// Does something to the packets that come to a host over its link.
    ///
    /// # Panics
    /// For host 0, which has no link, or when the host is not this test's alone.
    pub fn meddle(&self, host: &Host, packets: Packets) -> Rule {
        self.assert_taken(host);
        let netns = host.netns.clone().expect("a link");
        let rule = Rule { netns, packets };
        let output = rule.apply("-I");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "iptables: {said}");
        rule
    }

    /// Removes every rule of a host that translates addresses, as a firewall does that
    /// is loaded anew. Those of containers that run do not come back.
    ///
    /// # Panics
    /// As [`Fleet::meddle`].
    pub fn flush_nat(&self, host: &Host) -> Flushed {
        self.assert_taken(host);
        let netns = host.netns.clone().expect("a link");
        let output = iptables(&netns, "nat").arg("-S").output().expect("nsenter");
        let rules = String::from_utf8_lossy(&output.stdout).into_owned();
        let kept = |rule: &&str| rule.starts_with("-A ") && !rule.contains("/32");
        let rules: Vec<_> = rules.lines().filter(kept).map(Into::into).collect();
        assert!(!rules.is_empty(), "{} publishes by its nat table", host.name);
        let flushed = Flushed { netns, rules };
        let done = iptables(&flushed.netns, "nat").arg("-F").status().expect("nsenter");
        assert!(done.success(), "iptables");
        flushed
    }
}

// === impl Packets ===

impl Packets {
    /// Its table and chain, and the rest of its rule.
    fn rule(self) -> (&'static str, &'static str, &'static [&'static str]) {
        // Before anything is translated, so that what goes to published ports counts.
        const ALL: (&str, &str) = ("raw", "PREROUTING");
        const RESET: &[&str] = &["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"];
        match self {
            Self::Dropped => (ALL.0, ALL.1, &["-j", "DROP"]),
            Self::ApiDropped => (ALL.0, ALL.1, &["-p", "tcp", "--dport", "2375", "-j", "DROP"]),
            // After the translation, packets to containers are forwarded.
            Self::ApiReset => ("filter", "INPUT", RESET),
            Self::ContainersReset => ("filter", "FORWARD", RESET),
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
        let mut command = iptables(&self.netns, table);
        command.args([verb, chain, "-i", "eth0"]).args(rest).output().expect("nsenter")
    }
}

fn iptables(netns: &str, table: &str) -> Command {
    let mut iptables = Command::new("nsenter");
    iptables.arg(format!("--net=/run/netns/{netns}"));
    // The engine uses it as well.
    iptables.args(["iptables", "--wait", "--table", table]);
    iptables
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = self.apply("-D");
    }
}

// === impl Flushed ===

impl Drop for Flushed {
    fn drop(&mut self) {
        for rule in &self.rules {
            let _ = iptables(&self.netns, "nat").args(rule.split(' ')).status();
        }
    }
}
