//! Reads a service from the file.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use ganger_pool::core::Policy;
use indexmap::IndexMap;

use super::Service;
use super::groups::Timeouts;
use super::machine::by_target;
use super::overdue::{in_use, overdue_after, retire_after};
use super::parts::MemoryFiles;
use super::privileges::capabilities;
use super::table::SERVICE;
use super::warm::warm_and_max;
use crate::config::decode::{Cx, Fields, Spanned};
use crate::config::image::ImageRef;
use crate::config::name::Name;
use crate::config::report::Mistake;
use crate::config::tree::Node;
use crate::spec::{
    Env, Mount, Network, Pull, Reach, Ready, SECRETS, SessionSettings, Spec, Volume,
};

/// A service, as far as it could be read, with the places the checks across
/// services need.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct DecodedService {
    pub(in crate::config) name: Name,
    pub(in crate::config) listen: Option<Spanned<SocketAddr>>,
    /// The `warm` containers, and the place of `warm`, else of the name.
    pub(in crate::config) warm: Spanned<u32>,
    pub(in crate::config) service: Option<Service>,
}

/// Reads a service; messages call it `of`.
pub(in crate::config) fn service(
    of: &str,
    name: &Spanned<Name>,
    node: &Node,
    cx: &mut Cx<'_>,
) -> Option<DecodedService> {
    cx.fields(node, of, |f| {
        let listen = f.required(SERVICE.listen);
        let image = f.required(SERVICE.image);
        let port = f.required(SERVICE.port);
        let (warm, auto, max) = warm_and_max(f, SERVICE.warm, SERVICE.max, &name.span);
        f.comes_to(SERVICE.warm, (warm.value, auto));
        let (network, reach) = network_and_reach(f);
        let reported = f.cx.mistakes.len();
        let (ready, timeouts) = ready_and_timeouts(f);
        let connect = f.or(SERVICE.connect);
        let read = f.cx.mistakes.len() == reported;
        let overdue_after =
            overdue_after(f, SERVICE.overdue_after, read.then_some(&timeouts), &connect);
        let (tmpfs, sizes, mounts, volumes) = tmpfs_mounts_and_volumes(f);
        let (pull, watch_image) = pull_and_watch(f, image.as_ref());
        let capabilities = capabilities(f, SERVICE.privileges, SERVICE.cap_add);
        let place = f.place(SERVICE.listen);
        let found = listen.zip(place).map(|(value, span)| Spanned { value, span });
        let queue = f.or(SERVICE.queue);
        let in_use = in_use(timeouts.start, &connect, timeouts.session);
        let policy = Policy {
            reuse: f.or(SERVICE.reuse),
            warm: warm.value,
            auto,
            max,
            max_age: retire_after(max_age(f), overdue_after, in_use),
            queue_length: queue.length,
            surplus_after: f.or(SERVICE.surplus_after),
            stale_after: f.or(SERVICE.stale_after),
            max_surge: f.or(SERVICE.max_surge).0,
            canary: f.optional(SERVICE.canary).map_or(0, |share| share.0),
            ..Policy::default()
        };
        let session = SessionSettings {
            queue_timeout: queue.timeout,
            connect,
            first_byte: timeouts.first_byte,
            keepalive: f.or(SERVICE.client).keepalive,
            idle: timeouts.idle,
            session_timeout: timeouts.session,
        };
        let rest = |f: &mut Fields<'_, '_, '_>| {
            Some(Spec {
                command: f.optional(SERVICE.command).map(|arguments| arguments.0),
                entrypoint: f.optional(SERVICE.entrypoint).map(|arguments| arguments.0),
                working_dir: f.optional(SERVICE.working_dir).map(|path| path.0),
                env: environment(f),
                pull,
                limits: f.or(SERVICE.limits),
                network,
                reach,
                publish: f.or(SERVICE.publish),
                sandbox: f.or(SERVICE.sandbox),
                stock: f.or(SERVICE.stock),
                ready,
                preconnect: f.or(SERVICE.preconnect),
                hostname: f.optional(SERVICE.hostname).map(|name| name.0),
                init: f.or(SERVICE.init),
                shm_size: f.optional(SERVICE.shm_size).map(|size| size.0),
                dns: f.or(SERVICE.dns).0,
                extra_hosts: f.or(SERVICE.extra_hosts).0,
                sysctls: f.or(SERVICE.sysctls).0,
                ulimits: f.or(SERVICE.ulimits).0,
                user: f.optional(SERVICE.user).map(|user| user.0),
                read_only: f.or(SERVICE.read_only),
                tmpfs,
                capabilities,
                no_new_privileges: f.or(SERVICE.no_new_privileges),
                mounts,
                volumes,
                secrets: f.or(SERVICE.secrets),
                devices: f.or(SERVICE.devices).0,
                gpus: f.optional(SERVICE.gpus),
                storage: f.optional(SERVICE.storage).map(|size| size.0),
                runtime: f.optional(SERVICE.runtime).map(|name| name.to_string()),
                overdue_after,
                // Last, so that the others are read before these give up.
                image: image?.to_string(),
                port: port?.0,
            })
        };
        let spec = rest(f);
        let service = listen.zip(spec).map(|(listen, spec)| Service {
            name: name.value.clone(),
            listen,
            spec,
            policy,
            start_timeout: timeouts.start,
            session,
            watch_image,
            values: f.values(),
        });
        if let Some(Service { spec: Spec { limits, shm_size, .. }, .. }) = &service {
            let given = f.given(SERVICE.limits);
            // A file always has a limit.
            let memory = limits.memory.unwrap_or(u64::MAX);
            check_sizes(&sizes, memory, given, f.cx);
            if let Some((value, span)) = (*shm_size).zip(f.place(SERVICE.shm_size)) {
                check_size("shm_size", &Spanned { value, span }, memory, given, f.cx);
            }
        }
        let has_secrets =
            service.as_ref().is_some_and(|service| !service.spec.secrets.0.is_empty());
        if let Some(place) = f.place(SERVICE.overdue_after).filter(|_| has_secrets) {
            let title = "`secrets` does not go with `overdue_after`";
            let help = "what holds them has no deadline, and would stay: leave one of the two out";
            f.cx.report(Mistake::new(&place, title).help(help));
        }
        let unfit = service.as_ref().map_or(Vec::new(), Service::why_not_pooled);
        for (place, (title, help)) in f.place(SERVICE.sandbox).iter().cycle().zip(unfit) {
            f.cx.report(Mistake::new(place, title).help(help));
        }
        let unfit = service.as_ref().map_or(Vec::new(), Service::why_not_created_ahead);
        for (place, (title, help)) in f.place(SERVICE.stock).iter().cycle().zip(unfit) {
            f.cx.report(Mistake::new(place, title).help(help));
        }
        DecodedService { name: name.value.clone(), listen: found, warm, service }
    })
}

/// The variables of `env_file`, and those of `env`, which override them.
fn environment(f: &mut Fields<'_, '_, '_>) -> Env {
    let mut env = f.optional(SERVICE.env_file).map_or_else(Env::default, |file| file.0);
    env.0.extend(f.or(SERVICE.env).0.0);
    env
}

fn network_and_reach(f: &mut Fields<'_, '_, '_>) -> (Network, Reach) {
    let (network, reach) = (f.or(SERVICE.network), f.or(SERVICE.reach));
    if let (Network::Sealed, Reach::Published, Some(place)) =
        (&network, reach, f.place(SERVICE.reach))
    {
        let title = "a sealed container has no network to publish a port on";
        let mistake = Mistake::new(&place, title);
        f.cx.report(mistake.help("use `reach: Namespace` or `Auto`, or another `network`"));
    }
    (network, reach)
}

fn ready_and_timeouts(f: &mut Fields<'_, '_, '_>) -> (Ready, Timeouts) {
    let (ready, timeouts) = (f.or(SERVICE.ready), f.or(SERVICE.timeouts));
    let place = f.place(SERVICE.ready).or_else(|| f.place(SERVICE.timeouts));
    if let (Some((title, help)), Some(place)) = (ready.why_too_late(timeouts.start), place) {
        f.cx.report(Mistake::new(&place, title).help(help));
    }
    (ready, timeouts)
}

fn pull_and_watch(
    f: &mut Fields<'_, '_, '_>,
    image: Option<&ImageRef>,
) -> (Pull, Option<Duration>) {
    let (pull, watch) = (f.or(SERVICE.pull), f.optional(SERVICE.watch_image));
    let (Some(watch), Some(place)) = (watch, f.place(SERVICE.watch_image)) else {
        return (pull, None);
    };
    let mistake = if watch < Duration::from_secs(1) {
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
        f.cx.report(Mistake::new(&place, title).help(help));
    }
    (pull, Some(watch))
}

/// Fails for a file system in memory that would never be full: its container is killed before.
fn check_sizes(sizes: &[Spanned<u64>], memory: u64, limited: bool, cx: &mut Cx<'_>) {
    sizes.iter().for_each(|size| check_size("size", size, memory, limited, cx));
}

fn check_size(key: &str, size: &Spanned<u64>, memory: u64, limited: bool, cx: &mut Cx<'_>) {
    if size.value <= memory {
        return;
    }
    let default = if limited { "" } else { ", its default" };
    let title = format!(
        "`{key}` is {}, but `limits.memory` is {}{default}, and what is in it counts as memory",
        ByteSize(size.value),
        ByteSize(memory)
    );
    let help = format!("lower `{key}`, or raise `limits.memory`");
    cx.report(Mistake::new(&size.span, title).help(help));
}

/// Also returns the sizes of file systems in memory, where these are in bytes.
#[allow(clippy::type_complexity, reason = "what stands at paths of a container, each once")]
fn tmpfs_mounts_and_volumes(
    f: &mut Fields<'_, '_, '_>,
) -> (IndexMap<String, String>, Vec<Spanned<u64>>, Vec<Mount>, IndexMap<String, Volume>) {
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
    let MemoryFiles { found, sizes } = f.or(SERVICE.tmpfs);
    let mut tmpfs = IndexMap::new();
    for (path, options) in found {
        take(&path, f.cx);
        tmpfs.insert(path.value, options);
    }
    // The order of file systems does not matter, and their places do not.
    f.comes_to(SERVICE.tmpfs, tmpfs.clone());
    let mounts = f.or(SERVICE.mounts).0;
    for mount in &mounts {
        take(&mount.target, f.cx);
    }
    let volumes = f.or(SERVICE.volumes).0;
    for (target, _) in &volumes {
        take(target, f.cx);
    }
    let own = taken.iter().find(|path| Path::new(&path.value).starts_with(SECRETS));
    if let Some((own, secrets)) = own.zip(f.place(SERVICE.secrets)) {
        let title = format!("{SECRETS} has the files of `secrets`, and nothing else");
        let help = "leave one of the two out, or take another path";
        f.cx.report(Mistake::new(&own.span, title).also(&secrets, "`secrets`").help(help));
    }
    let volumes = by_target(volumes);
    f.comes_to(SERVICE.volumes, volumes.clone());
    (tmpfs, sizes, mounts.into_iter().map(|mount| mount.mount).collect(), volumes)
}

fn max_age(f: &mut Fields<'_, '_, '_>) -> Option<Duration> {
    let age = f.optional(SERVICE.max_age)?;
    if let Some(place) = f.place(SERVICE.max_age).filter(|_| age < Duration::from_secs(1)) {
        let title = "`max_age` is shorter than a second";
        f.cx.report(Mistake::new(&place, title).help("leave it out for no limit"));
    }
    Some(age)
}
