//! Whether a daemon could launch a service, asked without changing anything.

use ganger_pool::core::DaemonName;
use ganger_pool::runtime::CallError;

use super::{Docker, Network, Reach, Spec};

/// What a daemon says of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// How the containers would be reached, or why they could not be.
    pub reach: Result<Reach, String>,
    /// Why `Auto` would reach containers by published port. Where `Namespace` is
    /// asked for all the same, only a launch shows whether it works.
    pub why_published: Option<String>,
    /// Where the image is.
    pub image: Whereabouts,
}

/// Where an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// On the daemon.
    There,
    /// In the program, which loads it.
    BuiltIn,
    /// In a registry, if anywhere.
    Elsewhere,
}

// === impl Docker ===

impl Docker {
    /// Asks a daemon that was connected to about a service.
    ///
    /// # Errors
    /// The daemon does not answer, or the image has no valid name.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn survey(&self, daemon: &DaemonName, spec: &Spec) -> Result<Survey, CallError> {
        let daemon = self.daemon(daemon)?;
        let contact = daemon.contact()?;
        let builtin = self.builtin.iter().any(|builtin| builtin.reference == spec.image);
        Ok(Survey {
            reach: contact.reach(spec),
            why_published: contact.why_published(),
            image: match daemon.has_image(&spec.image).await {
                Ok(true) => Whereabouts::There,
                _ if builtin => Whereabouts::BuiltIn,
                Ok(false) => Whereabouts::Elsewhere,
                Err(error) => return Err(error),
            },
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
