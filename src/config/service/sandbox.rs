//! Whose containers can be in pooled sandboxes, and whose can be created ahead.

use super::Service;
use crate::spec::{Preconnect, Ready, Sandbox, StockedAs, has_own_network};

impl Service {
    /// Why its containers cannot be in the sandboxes that `sandbox: Pooled` asks for, each with
    /// what to do about that.
    ///
    /// A sandbox outlives its containers: the next one would find what one changed in it,
    /// and nobody else may remove it before.
    #[must_use]
    pub fn why_not_pooled(&self) -> Vec<(String, &'static str)> {
        let mut reasons = Vec::new();
        if self.spec.sandbox != Sandbox::Pooled {
            return reasons;
        }
        let mighty = |name: &&String| ["NET_ADMIN", "SYS_ADMIN"].contains(&name.as_str());
        if let Some(name) = self.spec.capabilities.iter().find(mighty) {
            let why = format!("with the capability {name} a container can change its network");
            let help = "and the next one in its sandbox would have that: write `sandbox: Fresh`";
            reasons.push((why, help));
        }
        if let Some(name) = self.spec.runtime.as_deref().filter(|name| has_own_network(name)) {
            let why = format!("the runtime {name} may have a network stack of its own");
            let help = "and cannot join a network that is there already: write `sandbox: Fresh`";
            reasons.push((why, help));
        }
        if self.spec.overdue_after.is_some() {
            let why = "a sandbox has no deadline, and `overdue_after` gives its containers one";
            let help = "write `sandbox: Fresh`, or leave `overdue_after` out";
            reasons.push((why.to_owned(), help));
        }
        let spec = &self.spec;
        let of_network = [
            ("hostname", spec.hostname.is_some()),
            ("dns", !spec.dns.is_empty()),
            ("extra_hosts", !spec.extra_hosts.is_empty()),
            ("sysctls", spec.sysctls.keys().any(|name| name.starts_with("net."))),
        ];
        for (key, _) in of_network.iter().filter(|(_, set)| *set) {
            let why = format!("`{key}` belongs to the network, which the sandbox has already");
            reasons.push((why, "write `sandbox: Fresh`, or leave it out"));
        }
        if !self.spec.read_only {
            let why =
                "containers in a sandbox share /etc/hosts, /etc/hostname and /etc/resolv.conf";
            let help = "write `read_only: true`, so that none can change them, with `tmpfs` for what \
                        has to be written; or `sandbox: Fresh`";
            reasons.push((why.to_owned(), help));
        }
        reasons
    }

    /// Why its containers cannot be in stock as `stock: Created` asks for, each with what to do about
    /// that.
    #[must_use]
    pub fn why_not_created_ahead(&self) -> Vec<(&'static str, &'static str)> {
        let spec = &self.spec;
        if spec.stock != StockedAs::Created {
            return Vec::new();
        }
        let reasons = [
            (
                spec.sandbox != Sandbox::Cell,
                "an engine takes too long to start what it has created",
                "write `sandbox: Cell`, or `stock: Started`",
            ),
            (
                !matches!(spec.ready, Ready::Tcp { .. }),
                "a container whose command has not started cannot do what `ready` asks for",
                "leave `ready` out, or write `stock: Started`",
            ),
            (
                spec.preconnect != Preconnect::Off,
                "no connection can be made ahead into a container whose command has not started",
                "leave `preconnect` out, or write `stock: Started`",
            ),
        ];
        let unmet = reasons.into_iter().filter(|(so, ..)| *so);
        unmet.map(|(_, why, help)| (why, help)).collect()
    }
}
