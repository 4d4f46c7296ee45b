//! Which engine a host runs: the machine's own, or one of another Debian suite.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};
use serde::{Deserialize, Serialize};

/// The engine of a host. Named by where it comes from rather than by its version, which a suite
/// may change; `fleet status` shows the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Kind {
    /// The machine's own Docker.
    #[default]
    Installed,
    /// An engine that is unpacked for the fleet.
    Unpacked(Engine, Suite),
}

/// The API of an engine, and the way it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Docker,
    Podman,
}

/// The suite of its packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Debian 13.
    Trixie,
    /// The suite that becomes the next Debian.
    Sid,
}

const INSTALLED: &str = "docker";
const UNPACKED: [(&str, Kind); 4] = [
    ("docker-trixie", Kind::Unpacked(Engine::Docker, Suite::Trixie)),
    ("docker-sid", Kind::Unpacked(Engine::Docker, Suite::Sid)),
    ("podman-trixie", Kind::Unpacked(Engine::Podman, Suite::Trixie)),
    ("podman-sid", Kind::Unpacked(Engine::Podman, Suite::Sid)),
];

// === impl Kind ===

impl Kind {
    /// The engine of this kind.
    pub(crate) fn engine(self) -> Engine {
        match self {
            Self::Installed => Engine::Docker,
            Self::Unpacked(engine, _) => engine,
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if name == INSTALLED {
            return Ok(Self::Installed);
        }
        match UNPACKED.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => Ok(*kind),
            None => {
                let known: Vec<_> = UNPACKED.iter().map(|(known, _)| *known).collect();
                bail!("no engine `{name}`; there are {INSTALLED}, {}", known.join(", "))
            }
        }
    }
}

impl TryFrom<String> for Kind {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.to_string()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = UNPACKED.iter().find(|(_, kind)| kind == self).map(|(name, _)| *name);
        f.pad(name.unwrap_or(INSTALLED))
    }
}

// === impl Suite ===

impl Suite {
    /// As apt knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// `HOST=KIND`, as on the command line.
pub(crate) fn assignment(text: &str) -> Result<(u8, Kind), Error> {
    let Some((host, kind)) = text.split_once('=') else {
        bail!("not HOST=KIND, as in 4=podman-trixie");
    };
    match host.parse() {
        Ok(host) if host > 0 => Ok((host, kind.parse()?)),
        // In the machine's own namespace it would take the machine's networks for its own.
        Ok(_) => bail!("host 0 runs the machine's own engine; others begin with 1"),
        Err(_) => bail!("`{host}` is no number of a host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for (name, kind) in UNPACKED.into_iter().chain([(INSTALLED, Kind::Installed)]) {
            assert_eq!(kind.to_string(), name);
            assert_eq!(name.parse::<Kind>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{name:?}"));
        }
        let error = "docker-28".parse::<Kind>().unwrap_err().to_string();
        let known = "docker, docker-trixie, docker-sid, podman-trixie, podman-sid";
        assert_eq!(error, format!("no engine `docker-28`; there are {known}"));
    }

    #[test]
    fn an_engine_is_assigned_to_a_host_of_its_own() {
        let podman = Kind::Unpacked(Engine::Podman, Suite::Sid);
        assert_eq!(assignment("4=podman-sid").unwrap(), (4, podman));
        let wrong = |text: &str| assignment(text).unwrap_err().to_string();
        assert!(wrong("podman-sid").contains("HOST=KIND"));
        assert!(wrong("0=podman-sid").contains("host 0"));
        assert!(wrong("x=podman-sid").contains("`x`"));
        assert!(wrong("4=lxc").contains("`lxc`"));
    }
}
