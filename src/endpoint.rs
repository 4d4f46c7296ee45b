//! Where an engine's API is: the `url` of a daemon.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::tls;

/// The longest path of a unix socket that the kernel takes.
const SOCKET_PATH: usize = 107;

/// Where an engine's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine, by its absolute path.
    Unix(PathBuf),
    /// HTTP over TCP. A client that is let in owns the machine.
    Tcp {
        /// Name or address, an IPv6 address without its brackets.
        host: String,
        /// Never 0.
        port: u16,
        /// The files for TLS; `None` is plain: then everybody is let in.
        tls: Option<tls::Files>,
    },
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Where its API is.
    pub endpoint: Endpoint,
    /// The address of its machine to publish ports on and to dial. `None` takes
    /// loopback for a socket, else the address its API is reached at.
    pub publish_on: Option<IpAddr>,
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}; {help}")]
pub struct EndpointError {
    /// The text, and the fault in it.
    pub what: String,
    /// The remedy.
    pub help: String,
}

// === impl Endpoint ===

impl Endpoint {
    /// Whether what is sent to it stays on this machine: a socket, or a loopback
    /// address. Other names than `localhost` count as remote, whatever they
    /// resolve to.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
                host == "localhost" || host.parse().is_ok_and(loopback)
            }
        }
    }

    /// A text that is the same for all ways to write one place, as far as they show it: a name and
    /// the address that it stands for are two.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Unix(path) => {
                // Without doubled slashes and dots, which components leave out. On every system
                // with /run, /var/run is a link to it.
                let path: PathBuf = path.components().collect();
                let path = match path.strip_prefix("/var/run") {
                    Ok(rest) => Path::new("/run").join(rest),
                    Err(_) => path,
                };
                format!("unix://{}", path.display())
            }
            Self::Tcp { host, port, .. } => {
                let host = host.to_ascii_lowercase();
                let host = host.strip_suffix('.').unwrap_or(&host);
                let host = if host == "localhost" { "127.0.0.1" } else { host };
                let host = match host.parse::<IpAddr>() {
                    Ok(ip) => ip.to_canonical().to_string(),
                    Err(_) => host.to_owned(),
                };
                format!("tcp://{host}:{port}")
            }
        }
    }

    /// Host and port as HTTP's `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// The files for TLS, if it is used.
    #[must_use]
    pub const fn tls(&self) -> Option<&tls::Files> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp { tls, .. } => tls.as_ref(),
        }
    }

    /// The same, reached with TLS. A socket needs none.
    #[must_use]
    pub fn with_tls(self, files: tls::Files) -> Self {
        match self {
            Self::Unix(_) => self,
            Self::Tcp { host, port, .. } => Self::Tcp { host, port, tls: Some(files) },
        }
    }
}

impl Site {
    /// An engine that publishes where its API is.
    #[must_use]
    pub const fn of(endpoint: Endpoint) -> Self {
        Self { endpoint, publish_on: None }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = |why: &str, help: String| EndpointError {
            what: format!("{text:?} is not the url of a daemon: {why}"),
            help,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            let help = match text.strip_prefix('/') {
                Some(path) => format!("write \"unix:///{path}\""),
                None => "write \"unix:///var/run/docker.sock\" or \"tcp://127.0.0.1:2375\"".into(),
            };
            return Err(bad("it has no scheme", help));
        };
        match scheme {
            "unix" => unix(rest).map_err(|(why, help)| bad(why, help)),
            "tcp" => tcp(rest).map_err(|why| bad(why, "write tcp://HOST:PORT".into())),
            "http" => Err(bad("the scheme is not known", format!("write \"tcp://{rest}\""))),
            "https" => {
                let help = format!(
                    "write \"tcp://{rest}\", and `tls: (ca: …, cert: …, key: …)` beside it"
                );
                Err(bad("TLS is not asked for by the scheme", help))
            }
            "ssh" | "npipe" | "fd" => Err(bad(
                "the scheme is not supported yet by this version",
                "use unix://, or tcp:// with `tls`".into(),
            )),
            _ => Err(bad("the scheme is not known", "use unix:// or tcp://".into())),
        }
    }
}

fn unix(path: &str) -> Result<Endpoint, (&'static str, String)> {
    if !Path::new(path).is_absolute() {
        return Err(("its path is not absolute", format!("write \"unix:///{path}\"")));
    }
    if path.len() > SOCKET_PATH || path.contains('\0') {
        let help = format!("a socket's path has at most {SOCKET_PATH} bytes; link it elsewhere");
        return Err(("its path is too long", help));
    }
    Ok(Endpoint::Unix(PathBuf::from(path)))
}

fn tcp(rest: &str) -> Result<Endpoint, &'static str> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or("its port is missing")?;
    let port = match port.parse() {
        Ok(0) | Err(_) => return Err("its port is not a number from 1 to 65535"),
        Ok(port) => port,
    };
    let host = if let Some(ip) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        ip.parse::<Ipv6Addr>().map_err(|_| "its address is not an IPv6 address")?;
        ip
    } else {
        host
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || !(host.chars().all(name) || host.parse::<Ipv6Addr>().is_ok()) {
        return Err("its host is not a name or address");
    }
    Ok(Endpoint::Tcp { host: host.to_owned(), port, tls: None })
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

    fn url(text: &str) -> Result<Endpoint, EndpointError> {
        text.parse()
    }

    #[test]
    fn urls_read_as_they_are_shown() {
        for text in [
            "unix:///run/docker.sock",
            "tcp://192.0.2.7:2375",
            "tcp://[2001:db8::7]:2375",
            "tcp://rack-2:1",
        ] {
            assert_eq!(url(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_place_is_the_same_however_it_is_written() {
        for (one, other, same) in [
            ("unix:///var/run/docker.sock", "unix:///run//docker.sock", true),
            ("unix:///run/./docker.sock/", "unix:///run/docker.sock", true),
            ("unix:///var/runs/docker.sock", "unix:///runs/docker.sock", false),
            ("unix:///run/a.sock", "unix:///run/b.sock", false),
            ("tcp://Rack-2:2375/", "tcp://rack-2.:2375", true),
            ("tcp://localhost:2375", "tcp://[::ffff:127.0.0.1]:2375", true),
            ("tcp://[2001:DB8::0:7]:1", "tcp://[2001:db8::7]:1", true),
            ("tcp://rack-2:2375", "tcp://rack-2:2376", false),
            ("tcp://rack-2:2375", "tcp://rack-3:2375", false),
        ] {
            let place = |text| url(text).unwrap().place();
            assert_eq!(place(one) == place(other), same, "{one} {other}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for (text, local) in [
            ("unix:///run/docker.sock", true),
            ("tcp://127.3.2.1:1", true),
            ("tcp://localhost:1", true),
            ("tcp://[::1]:1", true),
            ("tcp://[::ffff:127.0.0.1]:1", true),
            ("tcp://192.0.2.7:1", false),
            ("tcp://localhost.example.org:1", false),
        ] {
            assert_eq!(url(text).unwrap().is_loopback(), local, "{text}");
        }
    }

    #[test]
    fn bad_urls() {
        for text in [
            "",
            "/var/run/docker.sock",
            "unix://var/run/docker.sock",
            "unix://",
            "tcp://",
            "tcp://a",
            "tcp://a:0",
            "tcp://a:99999",
            "tcp://user@a:1",
            "tcp://a:1/path",
            "tcp://[::1:1",
            "http://a:1",
            "https://a:1",
            "ssh://a",
            "gopher://a:1",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        let long = format!("unix:///{}", "a".repeat(107));
        assert!(url(&long).is_err());
    }
}
