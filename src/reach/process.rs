//! A container's first process on this machine.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::str::FromStr;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::memory;
use crate::reactor;

/// A container's first process. Its end is seen at once, and not mistaken for that of a process
/// that got its number later.
pub struct Process {
    pid: i32,
    fd: AsyncFd<OwnedFd>,
    /// Its /proc/PID/stat, opened once: reading it again is one call. None where it may not be read.
    stat: Option<File>,
    /// The file with the kernel's counters for its control group, once that was found to be the
    /// container's.
    memory: OnceLock<memory::KillCounter>,
}

// === impl Process ===

impl Process {
    /// Takes hold of the process with this number.
    ///
    /// # Errors
    /// There is none, or it may not be watched.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(pid: i32) -> io::Result<Self> {
        let number = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        let fd = pidfd_open(number, PidfdFlags::NONBLOCK)?;
        let fd = reactor::readable(fd)?;
        let stat = File::open(format!("/proc/{pid}/stat")).ok();
        let process = Self { pid, fd, stat, memory: OnceLock::new() };
        // Another process may have had the number when the file was opened.
        let is_its_own = !process.has_ended();
        Ok(Self { stat: process.stat.filter(|_| is_its_own), ..process })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it belongs to the container with this id: its control group names the id or, where
    /// an engine may make none, its parent does, the process that the engine keeps for it.
    #[must_use]
    pub fn belongs_to(&self, id: &str) -> bool {
        let groups = self.groups();
        let named = groups.contains(id);
        // Otherwise another process may have had the number just now.
        if !(named || is_kept_for(self.pid, id)) || self.has_ended() {
            return false;
        }
        if let Some(counter) = memory::counter(&groups).filter(|_| named) {
            self.memory.get_or_init(|| memory::KillCounter::open(counter));
        }
        true
    }

    /// Whether it has a control group of the container with this id. Without one no limit
    /// of the container is kept.
    #[must_use]
    pub fn has_own_group(&self, id: &str) -> bool {
        // For a process that ends the kernel shows none, or the root: it tells nothing of limits.
        self.groups().contains(id) || self.is_ending()
    }

    fn groups(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default()
    }

    /// Whether the kernel has killed a process of its container for memory, as
    /// far as is known: the engine's event of it comes a little later.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        self.memory.get().is_some_and(memory::KillCounter::has_killed)
    }

    /// Whether its parent, the process that the engine keeps for it, is in our network namespace;
    /// `false` where that cannot be known.
    #[must_use]
    pub fn is_kept_here(&self) -> bool {
        let here = parent(self.pid).is_some_and(|pid| shares_network(pid).unwrap_or(false));
        // Otherwise another process may have had the number just now.
        here && !self.has_ended()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Whether it has ended or is about to. A process that is killed closes its
    /// connections a moment before it has ended; the kernel marks it first.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        let Some(stat) = &self.stat else {
            return self.has_ended() || exiting(self.pid) || self.has_ended();
        };
        let mut text = [0; STAT_BYTES];
        match stat.read_at(&mut text, 0) {
            Ok(read) => is_exiting(&String::from_utf8_lossy(&text[..read])),
            // The process has been waited for, if nothing else is wrong.
            Err(_) => self.has_ended(),
        }
    }

    /// Whether it has child processes, or has waited for one, as a start script may have before the
    /// service took its place. Also where that cannot be known: not every kernel lists children.
    #[must_use]
    pub fn may_be_several(&self) -> bool {
        let faults: Option<u64> = stat(self.pid).and_then(|stat| field(&stat, CHILDREN_FAULTS));
        faults.is_none_or(|faults| faults > 0)
            || self.children().is_none_or(|children| !children.is_empty())
    }

    /// Whether neither it nor a child process of it computes, or waits for a disk.
    #[must_use]
    pub fn rests(&self) -> bool {
        let all = self.children().unwrap_or_default().into_iter().chain([self.pid]);
        all.filter_map(stat).all(|stat| {
            let state: Option<char> = field(&stat, STATE);
            !matches!(state, Some('R' | 'D'))
        })
    }

    /// Its child processes; `None` where the kernel does not list them. The next call sees those
    /// that are born or gone meanwhile.
    fn children(&self) -> Option<Vec<i32>> {
        let mut children = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).ok()? {
            let listed = fs::read_to_string(task.ok()?.path().join("children")).ok()?;
            children.extend(listed.split(' ').filter_map(|pid| pid.parse::<i32>().ok()));
        }
        Some(children)
    }

    /// Whether a socket in its network namespace listens on a TCP port, for where
    /// [`NetNs::listens`](super::netns::NetNs::listens) cannot tell. Walks the
    /// machine's table of connections, which takes milliseconds where that is
    /// large. With `from_outside`, one that listens on loopback alone does not count.
    ///
    /// # Errors
    /// The process has ended, or may not be looked at.
    pub fn listens(&self, port: u16, from_outside: bool) -> io::Result<bool> {
        self.any_table(|table| has_listener(table, port, from_outside))
    }

    /// The TCP ports that something in its network namespace listens on, but for the engine's name
    /// server.
    ///
    /// # Errors
    /// As for [`Process::listens`].
    pub fn listening(&self) -> io::Result<BTreeSet<u16>> {
        let resolver = format!("{:08X}", u32::from_ne_bytes(RESOLVER));
        let tables = self.tables()?;
        let all = tables.iter().flat_map(|table| listeners(table));
        let others = all.filter(|(address, _)| *address != resolver);
        Ok(others.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()).collect())
    }

    /// Whether no TCP connection is left in its network namespace, in whatever state, and
    /// nobody listens there. Our own ends of connections to `port` do not count: they hold none
    /// of a service's ports.
    ///
    /// # Errors
    /// As for [`Process::listens`].
    pub fn has_no_connections(&self, port: u16) -> io::Result<bool> {
        self.any_table(|table| is_used(table, port)).map(|any| !any)
    }

    fn any_table(&self, so: impl Fn(&str) -> bool) -> io::Result<bool> {
        Ok(self.tables()?.iter().any(|table| so(table)))
    }

    /// Its network namespace's connections, in the format of /proc/net/tcp.
    fn tables(&self) -> io::Result<[String; 2]> {
        let tables = ["tcp", "tcp6"].map(|table| {
            match fs::read_to_string(format!("/proc/{}/net/{table}", self.pid)) {
                // A kernel without IPv6 has no such table.
                Err(error) if error.kind() == io::ErrorKind::NotFound && table == "tcp6" => {
                    Ok(String::new())
                }
                read => read,
            }
        });
        let [v4, v6] = tables;
        let tables = [v4?, v6?];
        // Otherwise another process may have had the number just now.
        if self.has_ended() { Err(io::ErrorKind::NotFound.into()) } else { Ok(tables) }
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&self) {
        while !self.has_ended() {
            match self.fd.readable().await {
                // Readable for good once it has ended.
                Ok(mut ready) if !self.has_ended() => ready.clear_ready(),
                Ok(_) => return,
                // The runtime that watches it is shutting down.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Whether a table in the format of /proc/net/tcp has a listening socket on a port.
fn has_listener(table: &str, port: u16, from_outside: bool) -> bool {
    let loopback = |address: &str| match address.len() {
        8 => u32::from_str_radix(address, 16).is_ok_and(|ip| ip.to_ne_bytes()[0] == 127),
        _ => {
            let one = format!("{:08X}", u32::from_ne_bytes([0, 0, 0, 1]));
            address == format!("{:024}{one}", 0)
        }
    };
    listeners(table).any(|(address, hex)| {
        u16::from_str_radix(hex, 16).is_ok_and(|p| p == port)
            && !(from_outside && loopback(address))
    })
}

/// The state of a listener in /proc/net/tcp.
const LISTEN: &str = "0A";
/// Docker's name server, which listens in the namespace of every container that is on a network
/// other than the default one.
const RESOLVER: [u8; 4] = [127, 0, 0, 11];

/// Whether a table in the format of /proc/net/tcp has any socket but clients of a port, and the
/// listener of the engine's name server.
fn is_used(table: &str, served: u16) -> bool {
    let served = format!("{served:04X}");
    let resolver = format!("{:08X}:", u32::from_ne_bytes(RESOLVER));
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut end = || fields.next().unwrap_or_default();
        let (local, remote, state) = (end(), end(), end());
        let port = |end: &str| end.rsplit_once(':').map(|(_, port)| port.to_owned());
        let ours = port(local).as_ref() != Some(&served) && port(remote).as_ref() == Some(&served);
        !(ours || state == LISTEN && local.starts_with(&resolver))
    })
}

/// Address and port of each listener, in hexadecimal, words of the address in the byte order of the
/// machine.
fn listeners(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next()?.rsplit_once(':')?;
        (fields.nth(1) == Some(LISTEN)).then_some(local)
    })
}

/// Whether a process is the child of one that was started for the container with this id: a
/// shim of containerd or a conmon, which have the id among their arguments. Nothing in the
/// container can have such a parent unless the engine has put it there.
fn is_kept_for(pid: i32, id: &str) -> bool {
    let parent: Option<u32> = stat(pid).and_then(|stat| field(&stat, PARENT));
    let arguments = parent.and_then(|parent| fs::read(format!("/proc/{parent}/cmdline")).ok());
    let arguments = arguments.unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument == id.as_bytes())
}

/// Fields of /proc/PID/stat, counted from the one after the name.
const STATE: usize = 0;
const PARENT: usize = 1;
const FLAGS: usize = 6;
/// Minor faults of children that it has waited for.
const CHILDREN_FAULTS: usize = 8;

/// The most bytes of /proc/PID/stat that are looked at, of its first fields.
const STAT_BYTES: usize = 512;

/// Whether the kernel has begun to end a process.
fn exiting(pid: i32) -> bool {
    stat(pid).is_none_or(|stat| is_exiting(&stat))
}

/// Whether `PF_EXITING` is among the flags of a process.
fn is_exiting(stat: &str) -> bool {
    const PF_EXITING: u64 = 0x4;
    field(stat, FLAGS).is_some_and(|flags: u64| flags & PF_EXITING != 0)
}

fn stat(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

fn field<T: FromStr>(stat: &str, number: usize) -> Option<T> {
    // The name is in parentheses and may contain anything.
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(number)?.parse().ok()
}

/// The parent of a process.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat(pid).and_then(|stat| field(&stat, PARENT))
}

/// Whether a process is in our network namespace. Its namespace file may be another user's, but its
/// table of connections is everybody's: there is one for each namespace, which the inode number
/// tells.
///
/// # Errors
/// There is no such process here.
pub(crate) fn shares_network(pid: i32) -> io::Result<bool> {
    let table = |of: &str| fs::metadata(format!("/proc/{of}/net/tcp")).map(|file| file.ino());
    Ok(table(&pid.to_string())? == table("self")?)
}

/// The namespace of network interfaces of a process.
///
/// # Errors
/// There is no such process, or we lack the right.
pub(super) fn network_namespace(pid: i32) -> io::Result<OwnedFd> {
    File::open(format!("/proc/{pid}/ns/net")).map(Into::into)
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.pid).finish()
    }
}

#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod tests;
