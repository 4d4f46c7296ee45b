//! The kind of an engine, told by its ping, and the requests that differ for it.
//!
//! Podman speaks Docker's API with differences that no version number tells. Each was
//! seen on Podman 5.4.

use bollard::API_DEFAULT_VERSION;
use hyper::HeaderMap;

use super::view::Info;

/// The engine behind an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineKind {
    /// Docker, or an engine that does not say otherwise.
    Docker,
    /// Podman.
    Podman,
}

/// The kind of an engine by its answer to a ping, and the version of the API that it
/// and the client library both speak. `None` when the answer is not an engine's.
pub(super) fn greeting(headers: &HeaderMap) -> Option<(EngineKind, String)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (major, minor) = text("Api-Version")?.split_once('.')?;
    let its: (usize, usize) = (major.parse().ok()?, minor.parse().ok()?);
    let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
    let (major, minor) = its.min(ours);
    let podman = text("Libpod-Api-Version").is_some()
        || text("Server").is_some_and(|server| server.starts_with("Libpod/"));
    let kind = if podman { EngineKind::Podman } else { EngineKind::Docker };
    Some((kind, format!("{major}.{minor}")))
}

// === impl EngineKind ===

impl EngineKind {
    /// Which installation an engine is. Podman has a new id for each answer.
    pub(super) fn installation(self, info: &Info) -> String {
        match self {
            Self::Docker => info.id.clone(),
            Self::Podman => format!("{} {}", info.name, info.root_dir),
        }
    }

    /// Seconds between the signal to end and the kill, for a container. `None` is the
    /// engine's own. A forced removal waits for as long in Podman, and not at all in Docker,
    /// which gives containers that time when it is stopped itself.
    pub(super) fn stop_timeout(self) -> Option<i64> {
        match self {
            Self::Docker => None,
            Self::Podman => Some(0),
        }
    }

    /// Whether the engine finds events by the key of a label alone. Podman 5.4 finds none.
    pub(super) fn filters_events_by_label(self) -> bool {
        self == Self::Docker
    }

    /// Whether the engine keeps networks apart from each other, and not the containers of one
    /// network, which Docker can.
    pub(super) fn isolates_networks(self) -> bool {
        self == Self::Podman
    }

    /// Whether the engine makes the source of a mount when it is absent, whatever it is asked.
    pub(super) fn makes_mount_sources(self) -> bool {
        self == Self::Podman
    }

    /// Whether the engine leaves out GPUs that it is asked for, without a word.
    pub(super) fn ignores_gpus(self) -> bool {
        self == Self::Podman
    }

    /// Whether the engine mounts volumes that are no directories where it is not run by root.
    pub(super) fn mounts_volumes_rootless(self) -> bool {
        self == Self::Docker
    }

    /// Why a HEALTHCHECK may never be run there.
    pub(super) fn doubts_health(self) -> Option<&'static str> {
        (self == Self::Podman).then_some(
            "Podman has HEALTHCHECKs run by timers of systemd: on a machine without it, or \
             without a session of its user's, none is run, and no container with `ready: \
             Healthcheck` gets ready; choose another `ready` there",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeted(headers: &[(&'static str, &'static str)]) -> Option<(EngineKind, String)> {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().unwrap(), hyper::header::HeaderValue::from_static(value))
        });
        greeting(&headers.collect())
    }

    #[test]
    fn a_ping_says_which_engine_it_is_and_what_it_speaks() {
        let docker = greeted(&[("api-version", "1.41"), ("server", "Docker/20.10.24 (linux)")]);
        assert_eq!(docker, Some((EngineKind::Docker, "1.41".into())));
        let podman = greeted(&[("api-version", "1.41"), ("server", "Libpod/5.4.2 (linux)")]);
        assert_eq!(podman, Some((EngineKind::Podman, "1.41".into())));
        let behind = greeted(&[("api-version", "1.41"), ("libpod-api-version", "5.8.0")]);
        assert_eq!(behind.unwrap().0, EngineKind::Podman, "a proxy has put its own name");
        let newer = greeted(&[("api-version", "1.999")]).unwrap().1;
        assert_eq!(newer, format!("1.{}", API_DEFAULT_VERSION.minor_version));
        assert_eq!(greeted(&[("server", "nginx")]), None);
        assert!(
            EngineKind::Podman.doubts_health().is_some()
                && EngineKind::Docker.doubts_health().is_none()
        );
    }
}
