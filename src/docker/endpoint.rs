//! Where an engine's API is: the `url` of a daemon.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Where an engine's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A socket on this machine.
    Unix(PathBuf),
    /// Plain HTTP over TCP. Whoever reaches it owns the machine it is on.
    Tcp {
        /// Name or address, an IPv6 address without its brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no `scheme://`.
    #[error("\"{0}\" has no scheme: write unix:///var/run/docker.sock or tcp://HOST:2375")]
    NoScheme(String),
    /// A scheme that an engine may speak, but that is not supported.
    #[error("the scheme \"{0}\" is not supported: use unix:// or tcp://")]
    Scheme(String),
    /// The path of the socket is not absolute.
    #[error("the path of a unix socket is absolute, as in unix:///var/run/docker.sock")]
    RelativePath,
    /// There is no host.
    #[error("the host is missing: write tcp://HOST:2375")]
    NoHost,
    /// There is no port, or it is not one.
    #[error("the port is missing or not one of 1 to 65535: write tcp://HOST:2375")]
    Port,
    /// Something follows the port, or comes before the host.
    #[error("\"{0}\" does not belong there: write tcp://HOST:2375")]
    Excess(String),
}

// === impl Endpoint ===

impl Endpoint {
    /// Whether only this machine can reach it: a socket, or a loopback address.
    /// Other names than `localhost` count as remote, whatever they resolve to.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        }
    }

    /// Host and port as HTTP's `Host` header has them.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| EndpointError::NoScheme(url.to_owned()))?;
        match scheme {
            "unix" if rest.len() > 1 && rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(EndpointError::RelativePath),
            "tcp" => tcp(rest.strip_suffix('/').unwrap_or(rest)),
            _ => Err(EndpointError::Scheme(scheme.to_owned())),
        }
    }
}

fn tcp(rest: &str) -> Result<Endpoint, EndpointError> {
    if let Some((user, _)) = rest.split_once('@') {
        return Err(EndpointError::Excess(format!("{user}@")));
    }
    if let Some(at) = rest.find(['/', '?', '#']) {
        return Err(EndpointError::Excess(rest[at..].to_owned()));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or(EndpointError::Port)?,
        None => rest.rsplit_once(':').ok_or(EndpointError::Port)?,
    };
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if let Some(odd) = host.chars().find(|c| !valid(*c)) {
        return Err(EndpointError::Excess(odd.to_string()));
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok(Endpoint::Tcp { host: host.to_owned(), port }),
        _ => Err(EndpointError::Port),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { .. } => write!(f, "tcp://{}", self.authority()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_reads_it_writes() {
        for url in ["unix:///var/run/docker.sock", "tcp://192.0.2.7:2375", "tcp://[::1]:2375"] {
            assert_eq!(url.parse::<Endpoint>().unwrap().to_string(), url);
        }
        let trailing = "tcp://host:1/".parse::<Endpoint>().unwrap();
        assert_eq!(trailing, Endpoint::Tcp { host: "host".into(), port: 1 });
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("/var/run/docker.sock", "no scheme"),
            ("ssh://host", "\"ssh\" is not supported"),
            ("unix://docker.sock", "absolute"),
            ("unix:///", "absolute"),
            ("tcp://host", "port"),
            ("tcp://host:0", "port"),
            ("tcp://host:99999", "port"),
            ("tcp://:2375", "host is missing"),
            ("tcp://host:2375/v1", "\"/v1\" does not belong"),
            ("tcp://me@host:2375", "\"me@\" does not belong"),
        ];
        for (url, part) in cases {
            let message = url.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains(part), "{url}: {message}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, loopback) in [
            ("unix:///run/docker.sock", true),
            ("tcp://127.0.0.9:2375", true),
            ("tcp://[::1]:2375", true),
            ("tcp://localhost:2375", true),
            ("tcp://192.0.2.7:2375", false),
            ("tcp://localhost.example:2375", false),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap().is_loopback(), loopback, "{url}");
        }
    }
}
