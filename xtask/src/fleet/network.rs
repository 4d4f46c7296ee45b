//! The network of a fleet: a namespace and a link for each host, and a bridge
//! for the one in the machine's own namespace.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use super::site::{Host, Site};
use crate::command::output;

const NAMESPACES: &str = "/run/netns";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Makes a host's network, or what is missing of it. Says whether its namespace
/// is a new one, so that nothing that runs can be in it.
pub(crate) fn up(site: &Site, host: &Host) -> Result<bool> {
    let (Some(netns), Some(link)) = (host.netns(), host.link()) else {
        if !exists(&site.bridge) {
            ip(&["link", "add", &site.bridge, "type", "bridge"])?;
        }
        ip(&["addr", "replace", &site.bridge_address, "dev", &site.bridge])?;
        ip(&["link", "set", &site.bridge, "up"])?;
        return Ok(false);
    };
    // A namespace without its link, or the other way round, is the rest of one
    // that was torn down in part.
    let whole = exists(&link) && ip(&["-n", &netns, "link", "show", "dev", "eth0"]).is_ok();
    if !whole {
        down(host)?;
        ip(&["netns", "add", &netns])?;
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
    }
    let (gateway, address) = (host.gateway(), host.address());
    ip(&["addr", "replace", &format!("{gateway}/24"), "dev", &link])?;
    ip(&["link", "set", &link, "up"])?;
    ip(&["-n", &netns, "addr", "replace", &format!("{address}/24"), "dev", "eth0"])?;
    ip(&["-n", &netns, "link", "set", "lo", "up"])?;
    ip(&["-n", &netns, "link", "set", "eth0", "up"])?;
    // The route goes away with the link whenever a test takes that down.
    ip(&["-n", &netns, "route", "replace", "default", "via", &gateway])?;
    Ok(!whole)
}

/// Deletes a host's network.
pub(crate) fn down(host: &Host) -> Result<()> {
    if let Some(link) = host.link()
        && exists(&link)
    {
        ip(&["link", "del", &link])?;
    }
    if let Some(netns) = host.netns()
        && Path::new(NAMESPACES).join(&netns).exists()
    {
        ip(&["netns", "del", &netns])?;
    }
    Ok(())
}

/// Deletes what the hosts of a fleet share.
pub(crate) fn down_shared(site: &Site) -> Result<()> {
    if exists(&site.bridge) {
        ip(&["link", "del", &site.bridge])?;
    }
    Ok(())
}

/// Whether the kernel forwards packets from one link to another, without which the hosts
/// do not reach each other, and an engine warns at each create.
pub(crate) fn forwards() -> bool {
    fs::read_to_string(FORWARDING).is_ok_and(|set| set.trim() != "0")
}

/// Turns forwarding on or off.
pub(crate) fn set_forwarding(on: bool) -> Result<()> {
    if on == forwards() {
        return Ok(());
    }
    fs::write(FORWARDING, if on { "1" } else { "0" }).context(FORWARDING)
}

/// Whether there is any fleet on this machine.
pub(crate) fn in_use() -> bool {
    Site::all().any(|site| exists(&site.bridge))
}

/// Whether `ip netns` has been used on this machine before.
pub(crate) fn namespaces_known() -> bool {
    Path::new(NAMESPACES).exists()
}

/// Undoes what the first `ip netns add` on a machine does: a directory, mounted on itself.
pub(crate) fn forget_namespaces() {
    let unused = fs::read_dir(NAMESPACES).is_ok_and(|mut entries| entries.next().is_none());
    if unused {
        // Where it was not mounted, or is in use after all, it simply stays.
        let _ = unmount(NAMESPACES, UnmountFlags::empty());
        let _ = fs::remove_dir(NAMESPACES);
    }
}

fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

fn ip(args: &[&str]) -> Result<String> {
    output("ip", args)
}
