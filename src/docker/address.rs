//! How a started container is reached.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use socket2::Domain;
use tokio::net::TcpStream;

use super::contact::Contact;
use super::view::{Binding, Inspected};
use crate::reach::hot::HotDial;
use crate::reach::netns::{Dialer, NetNs};
use crate::reach::process::Process;
use crate::reach::{self, Between, is_shortage};

/// How one container is reached.
#[derive(Debug)]
#[non_exhaustive]
pub enum Address {
    /// From inside its network namespace.
    Namespace {
        /// The namespace.
        namespace: NetNs,
        /// The container's first process, from which the namespace was taken.
        process: Process,
    },
    /// At a port published for it.
    Published(SocketAddr),
}

/// Why a container was not reached by namespace.
#[derive(Debug)]
pub(super) struct OutOfReach {
    pub(super) why: String,
    /// This machine was short of a resource, which says nothing of the engine.
    pub(super) shortage: bool,
}

// === impl Address ===

impl Address {
    /// Takes hold of the namespace of the container `id`, whose first process is `pid`.
    pub(super) async fn in_namespace(
        dialer: &Arc<Dialer>,
        id: &str,
        seen: &Inspected,
        port: u16,
    ) -> Result<Self, OutOfReach> {
        let pid = seen.state.pid;
        let ip = seen
            .network_settings
            .networks
            .iter()
            .flatten()
            .find_map(|(_, network)| network.ip_address.parse::<IpAddr>().ok());
        let cannot = |error: io::Error| OutOfReach {
            why: format!("its process {pid} is out of reach: {error}"),
            shortage: is_shortage(&error),
        };
        let process = Process::open(pid).map_err(cannot)?;
        let namespace = NetNs::open(dialer, pid, port, ip).await.map_err(cannot)?;
        // Checked once both are open, so that both are this container's.
        if !process.belongs_to(id) {
            let why = format!("the process {pid} on this machine is not the container's");
            return Err(OutOfReach { why, shortage: false });
        }
        Ok(Self::Namespace { namespace, process })
    }

    /// Finds the port that was published for the container.
    pub(super) fn published(contact: &Contact, seen: &Inspected, port: u16) -> Option<Self> {
        let ports = seen.network_settings.ports.as_ref()?;
        let bindings = ports.get(&format!("{port}/tcp"))?.as_ref()?;
        let wanted = |binding: &&Binding| match binding.host_ip.parse::<IpAddr>() {
            Ok(ip) => ip.is_ipv4() == contact.address.is_ipv4(),
            Err(_) => true,
        };
        let binding = bindings.iter().find(wanted).or_else(|| bindings.first())?;
        let port = binding.host_port.parse().ok()?;
        Some(Self::Published((contact.address, port).into()))
    }
}

impl HotDial for Address {
    async fn connect(&self) -> io::Result<TcpStream> {
        match self {
            Self::Namespace { namespace, .. } => namespace.dial().await,
            Self::Published(address) => {
                let here = address.ip().is_loopback();
                let between = if here { Between::Machine } else { Between::Network };
                let socket = reach::socket(Domain::for_address(*address), between)?;
                reach::connect(socket, *address).await
            }
        }
    }

    fn connect_at_once(&self) -> Option<io::Result<std::net::TcpStream>> {
        match self {
            Self::Namespace { namespace, .. } => namespace.dial_at_once(),
            Self::Published(_) => None,
        }
    }
}
