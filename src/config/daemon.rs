//! The daemons of the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::decode::{Cx, Decode, Fields, Flaw, Spanned};
use super::report::Mistake;
use super::tree::Node;
use super::value::{Count, Name};

/// The longest path of a unix socket that the kernel takes.
const SOCKET_PATH: usize = 107;

/// One container engine API endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Unique in the file.
    pub name: Name,
    /// Where its API is.
    pub url: DaemonUrl,
    /// The most containers it may hold for this instance, counting those being
    /// launched and removed. At least 1.
    pub max_containers: u32,
    /// The most launches in flight on it, at least 1; `None` takes `min(2 x cpus, 8)`.
    pub max_launches: Option<u32>,
    /// Plain TCP to another machine was allowed for it.
    pub insecure: bool,
    /// The address of its machine to publish ports on; see [`Daemon::publish_addr`].
    pub publish_on: Option<IpAddr>,
}

/// A daemon, as far as it could be read.
pub(super) struct FoundDaemon {
    pub(super) name: Spanned<Name>,
    pub(super) daemon: Option<Daemon>,
}

/// Where a daemon's API is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DaemonUrl {
    /// A socket on this machine, by its absolute path.
    Unix(PathBuf),
    /// Plain TCP.
    Tcp {
        /// An IP address, v6 without brackets, or a host name.
        host: String,
        /// Never 0.
        port: u16,
    },
}

// === impl Daemon ===

impl Daemon {
    /// The address of the daemon's machine to publish ports on: the configured
    /// one, else loopback for a daemon on this machine, else the daemon's own
    /// address. `None` when that is a host name, yet to be looked up.
    #[must_use]
    pub fn publish_addr(&self) -> Option<IpAddr> {
        self.publish_on.or_else(|| self.url.addr())
    }
}

impl Decode for FoundDaemon {
    const WHAT: &'static str = "a daemon such as (name: \"local\", url: \"unix:///var/run/docker.sock\", max_containers: 20)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "the daemon", |f| {
            let name = f.required("name");
            let url = f.required::<Spanned<DaemonUrl>>("url");
            let max_containers = f.required::<Count>("max_containers");
            let max_launches = f.optional::<Count>("max_launches");
            let insecure = f.or("insecure", false);
            let publish_on = f.optional::<Spanned<IpAddr>>("publish_on");
            f.not_yet("tls", "put a tunnel in front, or `insecure: true` on a private network");
            if let Some(url) = &url {
                check_insecure(f, url, insecure);
            }
            let publish_on = publish_on.map(|ip| check_publish(f, ip));
            let name: Spanned<Name> = name?;
            let daemon = || {
                Some(Daemon {
                    name: name.value.clone(),
                    url: url?.value,
                    max_containers: max_containers?.0,
                    max_launches: max_launches.map(|count| count.0),
                    insecure,
                    publish_on,
                })
            };
            Some(Self { daemon: daemon(), name })
        })?
    }
}

/// Whoever can talk to a daemon is root on its machine.
fn check_insecure(f: &mut Fields<'_, '_, '_>, url: &Spanned<DaemonUrl>, insecure: bool) {
    if insecure || url.value.is_loopback() || f.given("tls") {
        return;
    }
    let title = "plain tcp to another machine: whoever can read or reach it is root there";
    f.cx.report(Mistake::new(&url.span, title).help(
        "add `insecure: true` to this daemon if its network is private to you, or use a tunnel to a unix socket",
    ));
}

fn check_publish(f: &mut Fields<'_, '_, '_>, ip: Spanned<IpAddr>) -> IpAddr {
    if ip.value.is_unspecified() {
        let title = format!("{} is not one address: it lets anyone past the proxy", ip.value);
        let help = "name an address of the daemon's machine; a service that may be reached by all says `publish: Any`";
        f.cx.report(Mistake::new(&ip.span, title).help(help));
    }
    ip.value
}

// === impl DaemonUrl ===

impl DaemonUrl {
    /// The address of the daemon's machine as this one sees it, if it is known
    /// without looking up a name.
    fn addr(&self) -> Option<IpAddr> {
        match self {
            Self::Unix(_) => Some(Ipv4Addr::LOCALHOST.into()),
            Self::Tcp { host, .. } if host == "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            Self::Tcp { host, .. } => host.parse().ok(),
        }
    }

    /// What is sent to it stays on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.addr().is_some_and(|addr| addr.to_canonical().is_loopback())
    }

    fn new(text: &str) -> Result<Self, Flaw> {
        let bad = |why: &str| Flaw::new(format!("{text:?} is not the url of a daemon: {why}"));
        let Some((scheme, rest)) = text.split_once("://") else {
            let flaw = bad("it has no scheme");
            return Err(if text.starts_with('/') {
                flaw.help(format!("write \"unix://{text}\""))
            } else {
                flaw.help("write \"unix:///var/run/docker.sock\" or \"tcp://127.0.0.1:2375\"")
            });
        };
        match scheme {
            "unix" => unix(rest).map_err(|(why, help)| bad(why).help(help)),
            "tcp" => tcp(rest).map_err(|why| bad(why).help("write tcp://HOST:PORT")),
            "http" => Err(bad("the scheme is not known").help(format!("write \"tcp://{rest}\""))),
            "https" | "ssh" | "npipe" | "fd" => {
                Err(bad("the scheme is not supported yet by this version")
                    .help("use unix://, or tcp:// with `insecure: true` on a private network"))
            }
            _ => Err(bad("the scheme is not known").help("use unix:// or tcp://")),
        }
    }
}

fn unix(path: &str) -> Result<DaemonUrl, (&'static str, String)> {
    if !Path::new(path).is_absolute() {
        return Err(("its path is not absolute", format!("write \"unix:///{path}\"")));
    }
    if path.len() > SOCKET_PATH || path.contains('\0') {
        let help = format!("a socket's path has at most {SOCKET_PATH} bytes; link it elsewhere");
        return Err(("its path is too long", help));
    }
    Ok(DaemonUrl::Unix(PathBuf::from(path)))
}

fn tcp(rest: &str) -> Result<DaemonUrl, &'static str> {
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
    Ok(DaemonUrl::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for DaemonUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl Decode for DaemonUrl {
    const WHAT: &'static str = "a url such as \"unix:///var/run/docker.sock\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<DaemonUrl, String> {
        DaemonUrl::new(text).map_err(|flaw| format!("{flaw:?}"))
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
            "ssh://a",
            "gopher://a:1",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        let long = format!("unix:///{}", "a".repeat(107));
        assert!(url(&long).is_err());
    }
}
