//! Reads a service from the file.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use indexmap::IndexMap;

use super::overdue::overdue_after;
use super::parts::{Capability, EnvKey, FoundMount, User};
use super::tmpfs::TmpfsOptions;
use super::warm::warm_and_max;
use super::{Connect, Env, Service, Timeouts};
use crate::config::decode::{Cx, Entry, Fields, Spanned};
use crate::config::image::ImageRef;
use crate::config::name::Name;
use crate::config::report::Mistake;
use crate::config::tree::Node;
use crate::config::value::{AbsolutePath, Containers, Port, Share};
use crate::spec::{Mount, Network, Pull, Reach, Ready, Sandbox};

/// A service, as far as it could be read, with the places the checks across
/// services need.
pub(in crate::config) struct Found {
    pub(in crate::config) name: Name,
    pub(in crate::config) listen: Option<Spanned<SocketAddr>>,
    /// How many are kept warm, and where that is said: else the service's name.
    pub(in crate::config) warm: Spanned<u32>,
    pub(in crate::config) service: Option<Service>,
}

/// Reads a service; `of` names it to people.
pub(in crate::config) fn service(
    of: &str,
    name: &Spanned<Name>,
    node: &Node,
    cx: &mut Cx<'_>,
) -> Option<Found> {
    cx.fields(node, of, |f| {
        let listen = f.required::<Spanned<SocketAddr>>("listen");
        let image = f.required::<ImageRef>("image");
        let port = f.required::<Port>("port");
        let (warm, auto, max) = warm_and_max(f, &name.span);
        let (network, reach) = network_and_reach(f);
        let reported = f.cx.mistakes.len();
        let (ready, timeouts) = ready_and_timeouts(f);
        let connect: Connect = f.optional("connect").unwrap_or_default();
        let read = f.cx.mistakes.len() == reported;
        let overdue_after = overdue_after(f, read.then_some(&timeouts), &connect);
        let (tmpfs, sizes, mounts) = tmpfs_and_mounts(f);
        let (pull, watch_image) = pull_and_watch(f, image.as_ref());
        let cap_add = cap_add(f);
        let sandbox = f.optional::<Spanned<Sandbox>>("sandbox");
        let sandbox_is = sandbox.as_ref().map_or(Sandbox::Fresh, |sandbox| sandbox.value);
        let rest = |f: &mut Fields<'_, '_, '_>| {
            Some(Service {
                name: name.value.clone(),
                command: command(f),
                env: env(f),
                reuse: f.or("reuse", 0),
                warm: warm.value,
                auto,
                max,
                max_age: max_age(f),
                overdue_after,
                queue: f.optional("queue").unwrap_or_default(),
                ready,
                connect,
                client: f.optional("client").unwrap_or_default(),
                timeouts,
                pull,
                watch_image,
                limits: f.optional("limits").unwrap_or_default(),
                network,
                reach,
                sandbox: sandbox_is,
                preconnect: f.optional("preconnect").unwrap_or_default(),
                publish: f.optional("publish").unwrap_or_default(),
                max_surge: f.optional::<Containers>("max_surge").map_or(1, |surge| surge.0),
                canary: f.optional::<Share>("canary").map_or(0, |share| share.0),
                surplus_after: f.or("surplus_after", Duration::from_secs(30)),
                stale_after: f.or("stale_after", Duration::from_secs(30)),
                user: f.optional::<User>("user").map(|user| user.0),
                read_only: f.or("read_only", false),
                tmpfs,
                cap_add,
                mounts,
                runtime: f.optional("runtime"),
                // Last, so that the others are read before these give up.
                listen: listen.as_ref()?.value,
                image: image?,
                port: port?.0,
            })
        };
        let limited = f.given("limits");
        let service = rest(f);
        if let Some(service) = &service {
            check_sizes(&sizes, service.limits.memory, limited, f.cx);
        }
        let unfit = service.as_ref().map_or(Vec::new(), Service::why_not_pooled);
        for (sandbox, (title, help)) in sandbox.iter().cycle().zip(unfit) {
            f.cx.report(Mistake::new(&sandbox.span, title).help(help));
        }
        Found { name: name.value.clone(), listen, warm, service }
    })
}

fn network_and_reach(f: &mut Fields<'_, '_, '_>) -> (Network, Reach) {
    let network = f.optional("network").unwrap_or_default();
    let reach = f.optional::<Spanned<Reach>>("reach");
    if let (Network::Sealed, Some(Spanned { value: Reach::Published, span })) = (&network, &reach) {
        let title = "a sealed container has no network to publish a port on";
        let mistake = Mistake::new(span, title);
        f.cx.report(mistake.help("use `reach: Namespace` or `Auto`, or another `network`"));
    }
    (network, reach.map(|reach| reach.value).unwrap_or_default())
}

fn ready_and_timeouts(f: &mut Fields<'_, '_, '_>) -> (Ready, Timeouts) {
    let ready = f.optional::<Spanned<Ready>>("ready");
    let timeouts = f.optional::<Spanned<Timeouts>>("timeouts");
    let place = ready.as_ref().map(|ready| &ready.span);
    let place = place.or(timeouts.as_ref().map(|timeouts| &timeouts.span)).cloned();
    let ready = ready.map(|ready| ready.value).unwrap_or_default();
    let timeouts = timeouts.map(|timeouts| timeouts.value).unwrap_or_default();
    if let (Some((title, help)), Some(place)) = (ready.why_too_late(timeouts.start), place) {
        f.cx.report(Mistake::new(&place, title).help(help));
    }
    (ready, timeouts)
}

fn pull_and_watch(
    f: &mut Fields<'_, '_, '_>,
    image: Option<&ImageRef>,
) -> (Pull, Option<Duration>) {
    let pull: Pull = f.optional("pull").unwrap_or_default();
    let Some(watch) = f.optional::<Spanned<Duration>>("watch_image") else { return (pull, None) };
    let mistake = if watch.value < Duration::from_secs(1) {
        Some(("`watch_image` is shorter than a second", "leave it out to watch nothing"))
    } else if pull == Pull::Never {
        let title = "an image that is never pulled cannot follow its tag";
        Some((title, "leave `watch_image` out, or set `pull: IfMissing`"))
    } else if image.is_some_and(ImageRef::is_pinned) {
        let title = "this image is named by its digest, which never moves";
        Some((title, "leave `watch_image` out, or the digest"))
    } else {
        None
    };
    if let Some((title, help)) = mistake {
        f.cx.report(Mistake::new(&watch.span, title).help(help));
    }
    (pull, Some(watch.value))
}

/// Fails for a file system in memory that would never be full: its container is killed before.
fn check_sizes(sizes: &[Spanned<u64>], memory: u64, limited: bool, cx: &mut Cx<'_>) {
    for size in sizes.iter().filter(|size| size.value > memory) {
        let default = if limited { "" } else { ", its default" };
        let title = format!(
            "`size` is {}, but `limits.memory` is {}{default}, and what is in it counts as memory",
            ByteSize(size.value),
            ByteSize(memory)
        );
        cx.report(Mistake::new(&size.span, title).help("lower `size`, or raise `limits.memory`"));
    }
}

/// Also how large the file systems in memory may get, where that is said in bytes.
fn tmpfs_and_mounts(
    f: &mut Fields<'_, '_, '_>,
) -> (IndexMap<String, String>, Vec<Spanned<u64>>, Vec<Mount>) {
    let mut sizes = Vec::new();
    let mut taken: Vec<Spanned<String>> = Vec::new();
    let mut take = |path: &Spanned<String>, cx: &mut Cx<'_>| {
        let same = |other: &&Spanned<String>| {
            other.value.trim_end_matches('/') == path.value.trim_end_matches('/')
        };
        if let Some(first) = taken.iter().find(same) {
            let first = first.span.clone();
            cx.repeated(&path.span, &first);
        }
        taken.push(path.clone());
    };
    let tmpfs = f.node("tmpfs").and_then(|node| {
        let entries = f.cx.map::<AbsolutePath>(node, "a map such as {\"/tmp\": \"size=16m\"}")?;
        let mut tmpfs = IndexMap::new();
        for (path, options) in entries {
            let options = f.cx.decode::<Spanned<TmpfsOptions>>(options);
            let size = options.as_ref().and_then(|options| {
                Some(Spanned { value: options.value.size?, span: options.span.clone() })
            });
            sizes.extend(size);
            let Some(path) = path else { continue };
            take(&Spanned { value: path.value.0.clone(), span: path.span }, f.cx);
            tmpfs.insert(
                path.value.0,
                options.map_or_else(String::new, |options| options.value.text),
            );
        }
        Some(tmpfs)
    });
    let mounts = f.node("mounts").and_then(|node| {
        let what = "a list such as [(source: \"/srv/data\", target: \"/data\")]";
        let mounts = f.cx.list::<FoundMount>(node, what)?;
        for mount in &mounts {
            take(&mount.value.target, f.cx);
        }
        Some(mounts.into_iter().map(|mount| mount.value.mount).collect())
    });
    (tmpfs.unwrap_or_default(), sizes, mounts.unwrap_or_default())
}

fn command(f: &mut Fields<'_, '_, '_>) -> Option<Vec<String>> {
    let node = f.node("command")?;
    let words = f.cx.list::<String>(node, "a list such as [\"/echo\", \"--loud\"]")?;
    if node.is_empty() {
        let title = "this command is empty";
        let help = "leave `command` out to run what the image runs";
        f.cx.report(Mistake::new(&node.span, title).help(help));
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

fn env(f: &mut Fields<'_, '_, '_>) -> Env {
    let entries = f.node("env").and_then(|node| {
        let entries = f.cx.map::<EnvKey>(node, "a map such as {\"KEY\": \"value\"}")?;
        let read = |(key, value): Entry<'_, EnvKey>| {
            let value = f.cx.decode::<String>(value);
            Some((key?.value.0, value?))
        };
        Some(entries.into_iter().filter_map(read).collect())
    });
    Env(entries.unwrap_or_default())
}

fn max_age(f: &mut Fields<'_, '_, '_>) -> Option<Duration> {
    let age = f.optional::<Spanned<Duration>>("max_age")?;
    if age.value < Duration::from_secs(1) {
        let title = "`max_age` is shorter than a second";
        f.cx.report(Mistake::new(&age.span, title).help("leave it out for no limit"));
    }
    Some(age.value)
}

fn cap_add(f: &mut Fields<'_, '_, '_>) -> Vec<String> {
    let names = f
        .node("cap_add")
        .and_then(|node| f.cx.list::<Capability>(node, "a list such as [\"NET_BIND_SERVICE\"]"));
    names.unwrap_or_default().into_iter().map(|name| name.value.0.to_owned()).collect()
}
