//! The request that creates a container.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountType, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{Ready, Spec};
use crate::spec::{Device, Gpus, Healthcheck, Volume};

/// Makes the request. `publish` is the address to publish the port on, if any. `network` is the
/// container's network mode, in the engine's words.
///
/// A container has only the capabilities of the spec and bounded logs, and is among the first
/// that the kernel kills when memory is short.
pub(super) fn body(
    spec: &Spec,
    image: &str,
    labels: HashMap<String, String>,
    publish: Option<IpAddr>,
    network: String,
) -> ContainerCreateBody {
    let port = format!("{}/tcp", spec.port);
    let healthcheck = match &spec.ready {
        Ready::Healthcheck(check) => health(check),
        // A HEALTHCHECK would run a program in the container again and again.
        _ => HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() },
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: spec.command.clone(),
        env: Some(spec.env.0.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        entrypoint: spec.entrypoint.clone(),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        exposed_ports: publish.is_some().then(|| vec![port.clone()]),
        healthcheck: (healthcheck != HealthConfig::default()).then_some(healthcheck),
        labels: Some(labels),
        host_config: Some(HostConfig {
            port_bindings: publish.map(|address| HashMap::from([(port, binding(address))])),
            ..host_config(spec, network)
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &Spec, network: String) -> HostConfig {
    let memory = spec.limits.memory.map(signed);
    HostConfig {
        network_mode: Some(network),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.capabilities.clone()),
        security_opt: spec.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        memory,
        // Swap counts in: without this, as much again may be swapped.
        memory_swap: memory,
        nano_cpus: spec.limits.cpus.map(|cpus| (cpus * 1e9) as i64),
        pids_limit: spec.limits.pids.map(i64::from),
        oom_score_adj: Some(500),
        readonly_rootfs: Some(spec.read_only),
        tmpfs: (!spec.tmpfs.is_empty())
            .then(|| spec.tmpfs.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
        // Unlike `Binds`, these fail when the source is absent.
        mounts: some(spec.mounts.iter().map(mount).chain(spec.volumes.iter().map(volume))),
        devices: some(spec.devices.iter().map(device)),
        device_requests: spec.gpus.as_ref().map(|gpus| vec![request(gpus)]),
        storage_opt: spec
            .storage
            .map(|bytes| HashMap::from([("size".to_owned(), bytes.to_string())])),
        runtime: spec.runtime.clone(),
        init: spec.init.then_some(true),
        shm_size: spec.shm_size.map(signed),
        dns: some(spec.dns.iter().map(ToString::to_string)),
        extra_hosts: some(spec.extra_hosts.iter().map(|(name, to)| format!("{name}:{to}"))),
        sysctls: some(spec.sysctls.clone()),
        ulimits: some(spec.ulimits.iter().map(|(name, limit)| ResourcesUlimits {
            name: Some(name.clone()),
            soft: Some(limit.soft),
            hard: Some(limit.hard),
        })),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        // Every engine can read this driver's logs back, which post-mortems need. Of two files the
        // older is dropped: a reader that follows a single file is left behind when it begins anew.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "512k".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        ..HostConfig::default()
    }
}

/// `None` for an empty collection, so that the engine's default applies.
fn some<T, C: FromIterator<T>>(all: impl IntoIterator<Item = T>) -> Option<C> {
    let mut all = all.into_iter().peekable();
    all.peek().is_some().then(|| all.collect())
}

/// The engine chooses the port. Later engines refuse a binding that leaves it out.
fn binding(address: IpAddr) -> Option<Vec<PortBinding>> {
    Some(vec![PortBinding { host_ip: Some(address.to_string()), host_port: Some(String::new()) }])
}

fn mount(mount: &super::Mount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Mount::default()
    }
}

fn volume((target, volume): (&String, &Volume)) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.name.clone()),
        target: Some(target.clone()),
        read_only: Some(volume.read_only),
        ..Mount::default()
    }
}

fn device(device: &Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.rights.clone()),
    }
}

/// As `docker run --gpus` asks.
fn request(gpus: &Gpus) -> DeviceRequest {
    let (count, ids) = match gpus {
        Gpus::All => (Some(-1), None),
        Gpus::Count(count) => (Some(i64::from(*count)), None),
        Gpus::Ids(ids) => (None, Some(ids.clone())),
    };
    DeviceRequest {
        count,
        device_ids: ids,
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

/// An engine takes from the image what the check leaves out.
fn health(check: &Healthcheck) -> HealthConfig {
    let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: check.test.clone(),
        interval: check.interval.map(nanoseconds),
        timeout: check.timeout.map(nanoseconds),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(nanoseconds),
        ..HealthConfig::default()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
