//! Files that run Ganger, and that watch it: those of deploy/, which are built in.

use super::{Exit, Failure};

/// Where the unit of deploy/ has the program.
pub(super) const PROGRAM: &str = "/usr/local/bin/ganger";

const UNIT: &str = include_str!("../../../deploy/systemd/ganger.service");
pub(super) const SOCKET: &str = include_str!("../../../deploy/systemd/ganger.socket");
pub(super) const COMPOSE: &str = include_str!("../../../deploy/compose.yaml");
pub(super) const DOCKERFILE: &str = include_str!("../../../deploy/Dockerfile");

pub(super) const GRAFANA: &str = include_str!("../../../deploy/grafana/ganger.json");
const RULES: &str = include_str!("../../../deploy/prometheus/rules.yml");
const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");

/// The recording rules of Prometheus and the alerts, which read them, as one file.
pub(super) fn alerts() -> String {
    format!("{RULES}\n{}", ALERTS.replacen("groups:\n", "", 1))
}

/// The unit, for a program that is installed elsewhere.
pub(super) fn unit(program: &str) -> Result<String, Failure> {
    // Characters that make systemd see several words, or something else than a path.
    let odd = |c: char| c.is_whitespace() || c.is_control() || "\"'\\%$;".contains(c);
    if !program.starts_with('/') || program.contains(odd) {
        let message = format!(
            "--program {program}: systemd takes a path from the root on, without spaces, quotes, \
             `%` or `$`, as in {PROGRAM}"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(UNIT.replace(PROGRAM, program))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::image;
    use super::*;
    use crate::config::Config;

    /// The longest that a removal may take after the last connection has ended.
    const REMOVAL: Duration = Duration::from_secs(60);

    #[test]
    fn a_stop_has_longer_than_connections_and_removals_may_take() {
        let config = Config::parse(&Config::default_text(), "default").unwrap();
        for (text, before) in [(UNIT, "TimeoutStopSec="), (COMPOSE, "stop_grace_period: ")] {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(before)).unwrap();
            let seconds = line.trim_end_matches('s').parse().unwrap();
            let enough = config.drain_timeout + REMOVAL;
            assert!(Duration::from_secs(seconds) > enough, "{before}{line}");
        }
    }

    #[test]
    fn the_socket_is_that_of_the_service_of_the_default_configuration() {
        let config = Config::parse(&Config::default_text(), "default").unwrap();
        let service = &config.services[0];
        let name = format!("\nFileDescriptorName={}\n", service.name.as_str());
        let listen = format!("\nListenStream={}\n", service.listen);
        assert!(SOCKET.contains(&name) && SOCKET.contains(&listen), "{name}{listen}");
    }

    #[test]
    fn the_compose_file_runs_the_image_that_is_generated() {
        assert!(COMPOSE.contains(&format!("image: {}\n", image::REFERENCE)));
        assert!(DOCKERFILE.contains(&format!("-t {} ", image::REFERENCE)));
        let program = format!("ENTRYPOINT [\"{}\"]", image::PROGRAM);
        assert!(DOCKERFILE.contains(&program), "{program}");
        let config = format!("{}={}", image::CONFIG.0, image::CONFIG.1);
        assert!(DOCKERFILE.contains(&config), "{config}");
    }

    #[test]
    fn the_unit_has_the_program_where_it_is() {
        let unit = unit("/opt/ganger").unwrap_or_default();
        assert!(!unit.contains(PROGRAM) && unit.contains("ExecStart=/opt/ganger run"), "{unit}");
        assert!(super::unit("ganger").is_err() && super::unit("/a b").is_err());
    }
}
