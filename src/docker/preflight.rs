//! Whether a daemon could launch a service, asked without changing anything.

use std::collections::BTreeMap;

use bytesize::ByteSize;
use ganger_pool::core::DaemonName;
use ganger_pool::runtime::CallError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Docker, Network, Reach, Spec};
use crate::spec::Sandbox;

/// A daemon's answer about one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// How the containers would be reached, or why they could not be.
    pub reach: Result<Reach, String>,
    /// Why `Auto` would reach containers by published port. Where `Namespace` is
    /// asked for all the same, only a launch shows whether it works.
    pub why_published: Option<String>,
    /// Where the image is.
    pub image: ImageLocation,
    /// The settings of the service that the daemon cannot give, and why.
    pub lacks: Vec<String>,
    /// The settings that may not work as asked, and why.
    pub notes: Vec<String>,
}

/// The abilities that an engine reports. A missing report is not held against it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Abilities {
    runtimes: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(rename = "NCPU")]
    cpus: u32,
    mem_total: u64,
}

/// Where an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageLocation {
    /// On the daemon.
    There,
    /// In the program, which loads it.
    BuiltIn,
    /// In a registry, if anywhere.
    Elsewhere,
}

// === impl Docker ===

impl Docker {
    /// Asks a daemon that was connected to what it has and can do.
    ///
    /// # Errors
    /// The daemon does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn abilities(&self, daemon: &DaemonName) -> Result<Abilities, CallError> {
        let daemon = self.daemon(daemon)?;
        let deadline = daemon.deadlines.of_info(daemon.contact()?.kind);
        daemon.read("/info", deadline).await
    }

    /// Asks a daemon that was connected to, and has these abilities, about a service.
    ///
    /// # Errors
    /// The daemon does not answer, or the image has no valid name.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn preflight(
        &self,
        daemon: &DaemonName,
        abilities: &Abilities,
        spec: &Spec,
    ) -> Result<Preflight, CallError> {
        let daemon = self.daemon(daemon)?;
        let mut lacks = abilities.lacks(spec);
        if let Network::Named(network) = &spec.network
            && daemon.inspect_network(network).await?.is_none()
        {
            lacks.push(format!(
                "`network`: there is no network {network}: `docker network create {network}` there"
            ));
        }
        let contact = daemon.contact()?;
        lacks.extend(contact.heeds(spec).err());
        lacks.extend(contact.find_sources(spec).await.err());
        let mut notes = abilities.notes(spec);
        notes.extend(contact.doubts(spec));
        if spec.sandbox == Sandbox::Cell
            && let Err(why) = self.runtime_of_cells(&contact, spec).await
        {
            notes.push(format!("`sandbox: Cell`: its containers would be plain ones: {why}"));
        }
        let builtin = self.builtin.iter().any(|builtin| builtin.reference == spec.image);
        Ok(Preflight {
            reach: contact.reach(spec),
            why_published: contact.why_published(),
            image: match daemon.has_image(&spec.image).await {
                Ok(true) => ImageLocation::There,
                _ if builtin => ImageLocation::BuiltIn,
                Ok(false) => ImageLocation::Elsewhere,
                Err(error) => return Err(error),
            },
            lacks,
            notes,
        })
    }

    /// Why containers without any network cannot be reached on a daemon that was connected
    /// to; `None` where they can.
    #[must_use]
    pub fn why_not_sealed(&self, daemon: &DaemonName) -> Option<String> {
        let sealed = Spec { network: Network::Sealed, ..Spec::new("", 1) };
        let contact = match self.daemon(daemon).and_then(|daemon| daemon.contact()) {
            Ok(contact) => contact,
            Err(error) => return Some(error.to_string()),
        };
        let why = contact.reach(&sealed).err()?;
        Some(contact.why_published().unwrap_or(why))
    }
}

// === impl Abilities ===

impl Abilities {
    /// The settings of a service that the engine cannot give, and why.
    fn lacks(&self, spec: &Spec) -> Vec<String> {
        let mut lacks = Vec::new();
        if let (Some(known), Some(runtime)) = (&self.runtimes, &spec.runtime)
            && !known.contains_key(runtime)
            // The name of a shim, which is looked for on the daemon's path.
            && !runtime.starts_with("io.containerd.")
        {
            let known: Vec<_> = known.keys().map(String::as_str).collect();
            let known = known.join(", ");
            lacks.push(format!("`runtime`: the daemon does not have {runtime}; it has {known}"));
        }
        let more = spec.limits.cpus.filter(|cpus| self.cpus > 0 && *cpus > f64::from(self.cpus));
        lacks.extend(more.map(|cpus| {
            format!("`limits.cpus` is {cpus}, more than the machine has: {}", self.cpus)
        }));
        lacks
    }

    /// The settings of a service that are without effect, and why.
    fn notes(&self, spec: &Spec) -> Vec<String> {
        let more = spec.limits.memory.filter(|memory| (1..*memory).contains(&self.mem_total));
        let note = more.map(|memory| {
            format!(
                "`limits.memory` is {}, more than the machine has: {}",
                ByteSize(memory),
                ByteSize(self.mem_total)
            )
        });
        note.into_iter().collect()
    }
}
