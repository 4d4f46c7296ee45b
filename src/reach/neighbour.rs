//! A container on this machine that is reached by a published port all the same.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::Socket;

use super::listening::{self, Listens};
use super::netns::Dialer;
use super::process::{Process, network_namespace};
use super::sock_diag;

/// A container on this machine that is reached by a published port all the same.
pub struct Neighbour {
    process: Process,
    /// A socket made in its network namespace, to ask about that; `None` where it may not be
    /// entered, or when the kernel has failed to answer.
    asked: Mutex<Option<Socket>>,
    /// Addresses that a published port may lead to.
    addresses: Vec<IpAddr>,
}

// === impl Neighbour ===

impl Neighbour {
    /// Takes hold of the container `id`, whose first process is `pid`, and whose published ports
    /// lead to `addresses`. `None` when that process is another's.
    ///
    /// # Errors
    /// There is no such process here.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn meet(
        dialer: &Arc<Dialer>,
        id: &str,
        pid: i32,
        addresses: Vec<IpAddr>,
    ) -> io::Result<Option<Self>> {
        let process = Process::open(pid)?;
        let asked = match network_namespace(pid) {
            Ok(namespace) if listening::can_be_asked() && !addresses.is_empty() => {
                dialer.make_in(&Arc::new(namespace), sock_diag::socket).await.ok()
            }
            _ => None,
        };
        // Asked after all is open, so that all of it belongs to this container.
        let ours = process.belongs_to(id);
        Ok(ours.then_some(Self { process, asked: Mutex::new(asked), addresses }))
    }

    /// Its first process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether a connection from outside the container would find its service, as far as known.
    ///
    /// # Errors
    /// The process has ended, or may not be looked at.
    pub fn listens(&self, port: u16) -> io::Result<Listens> {
        let mut asked = self.asked.lock();
        if let Some(socket) = &*asked {
            match self.ask(socket, port) {
                Ok(listens) => return Ok(listens),
                // A late answer would be taken for the answer to another question.
                Err(error) => {
                    tracing::debug!(?self, error = error.to_string(), "the kernel does not answer");
                    *asked = None;
                }
            }
        }
        drop(asked);
        let listens = self.process.listens(port, true)?;
        Ok(if listens { Listens::Yes } else { Listens::No })
    }

    fn ask(&self, socket: &Socket, port: u16) -> io::Result<Listens> {
        let at = |ip: IpAddr| listening::listens(socket, (ip, port).into());
        for ip in &self.addresses {
            if at(*ip)? {
                return Ok(Listens::Yes);
            }
        }
        Ok(if at(Ipv4Addr::LOCALHOST.into())? {
            Listens::Loopback
        } else if at(Ipv6Addr::LOCALHOST.into())? {
            Listens::V6
        } else {
            Listens::No
        })
    }
}

impl fmt::Debug for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Neighbour").field(&self.process).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;

    use super::*;

    /// A neighbour in our own network namespace, whose process has ended: nothing is left of it
    /// that could be looked at.
    fn ended(addresses: &[&str]) -> Neighbour {
        let mut child = Command::new("cat").spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.listens(1, true).is_err());
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Neighbour { process, asked: Mutex::new(Some(sock_diag::socket().unwrap())), addresses }
    }

    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn the_kernel_is_asked_and_no_table_is_read() {
        let neighbour = ended(&["127.0.0.2"]);
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        for _ in 0..3 {
            assert_eq!(neighbour.listens(port(&all)).unwrap(), Listens::Yes);
        }
        let port = port(&all);
        drop(all);
        assert_eq!(neighbour.listens(port).unwrap(), Listens::No);
    }

    #[tokio::test]
    async fn what_a_published_port_does_not_lead_to_is_told_apart() {
        let neighbour = ended(&["127.0.0.2"]);
        let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(neighbour.listens(port(&loopback)).unwrap(), Listens::Loopback);
        let v6 = TcpListener::bind("[::1]:0").expect("IPv6 on loopback");
        assert_eq!(neighbour.listens(port(&v6)).unwrap(), Listens::V6);
        let own = TcpListener::bind("127.0.0.2:0").unwrap();
        assert_eq!(neighbour.listens(port(&own)).unwrap(), Listens::Yes);
        for listens in [Listens::No, Listens::Loopback, Listens::V6] {
            assert!(listens.why_not(7000).unwrap().contains("port 7000"));
        }
        assert_eq!(Listens::Yes.why_not(7000), None);
    }

    #[tokio::test]
    #[ignore = "needs root"]
    async fn one_whose_namespace_may_be_entered_is_asked_about_there() {
        let dialer = Arc::default();
        let pid = i32::try_from(std::process::id()).unwrap();
        // Every control group's name contains the empty id.
        let met = Neighbour::meet(&dialer, "", pid, vec!["127.0.0.1".parse().unwrap()]).await;
        let met = met.unwrap().unwrap();
        assert!(met.asked.lock().is_some());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(met.listens(port(&listener)).unwrap(), Listens::Yes);
        let other = Neighbour::meet(&dialer, "no such container", pid, Vec::new()).await;
        assert!(other.unwrap().is_none());
    }
}
