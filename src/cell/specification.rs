//! The specification of a carrier, as its engine has written it for the runtime, and the one that
//! follows from it for cells.
//!
//! A cell is to be as well kept in as the carrier is. So the engine's specification is kept as it
//! is but for a few fields, and anything in it that is not known to hold for a second container as
//! it does for the carrier is refused, with the reason.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::rlimits;

/// Stands for the id of a cell in a [`CellSpec`].
pub(super) const ID: &str = "@ganger-cell-id@";
/// Stands for the host name of a cell in a [`CellSpec`].
pub(crate) const NAME: &str = "@ganger-cell-name@";

/// Where each cell finds its own files: the keeper mounts another file system there for each.
pub(super) const PLACE: &str = "/run/ganger-cells/cell";

/// The files that an engine makes for each container of it, and mounts at `/etc`.
const OWN_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
/// The file systems that are made anew for each container.
const MADE_ANEW: [&str; 7] = ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"];
/// The namespaces that a container of an engine may have.
const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mount", "network", "pid", "uts"];
/// Those of them that it has to have.
const OWN_NAMESPACES: [&str; 5] = ["ipc", "mount", "network", "pid", "uts"];
/// The parameter that leaves IPv6 out of a network namespace.
const NO_V6: &str = "net.ipv6.conf.all.disable_ipv6";
/// Where Docker mounts its own init, for containers that ask for one.
const INIT: &str = "/sbin/docker-init";

/// What is known of a carrier from whoever had it made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CarrierOrder<'a> {
    /// The engine's id of it.
    pub(crate) id: &'a str,
    /// The command that it runs.
    pub(crate) waits: &'a [&'a str],
    /// Where the program of that command is mounted.
    pub(crate) volume: &'a str,
    /// The targets and sources of the mounts that the service asks for.
    pub(crate) mounts: &'a [(String, String)],
    /// The command of the service.
    pub(crate) command: &'a [String],
    /// The control group of all cells, from the root of each hierarchy.
    pub(crate) group: &'a str,
    /// Its limits, as the kernel tells them of its process.
    pub(crate) limits: &'a str,
    /// Its network namespace has no IPv6, though the kernel has.
    pub(crate) without_v6: bool,
}

/// The specification of all cells of one carrier, with [`ID`] and [`NAME`] where each has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellSpec {
    /// The text of `config.json`.
    pub(crate) text: String,
    /// What of the machine it mounts.
    pub(crate) sources: Vec<PathBuf>,
    /// The names and sources of the files at `/etc` that each cell gets a copy of.
    pub(crate) files: Vec<(String, String)>,
}

/// Makes the specification of a carrier's cells.
///
/// # Errors
/// Why no cells can be made by this specification, for people.
pub(crate) fn for_cells(text: &[u8], carrier: &CarrierOrder<'_>) -> Result<CellSpec, String> {
    let mut spec: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| format!("it cannot be read: {error}"))?;
    let (mut files, mut sources) = (Vec::new(), Vec::new());

    hooks(&spec)?;
    spec.remove("hooks");
    let mounts = list(spec.get("mounts"));
    let mut kept = Vec::new();
    for mount in mounts {
        kept.extend(cell_mount(mount, carrier, (&mut files, &mut sources))?);
    }
    spec.insert("mounts".to_owned(), kept.into());

    let root = spec.get_mut("root").and_then(Value::as_object_mut).ok_or("it has no root")?;
    root.insert("path".to_owned(), format!("{PLACE}/root").into());

    let own_name = &carrier.id[..carrier.id.len().min(12)];
    let is_own = text_of(spec.get("hostname")) == own_name;
    if is_own {
        spec.insert("hostname".to_owned(), NAME.into());
    }
    let process = spec.get_mut("process").and_then(Value::as_object_mut);
    cell_process(process.ok_or("it has no process")?, carrier, is_own.then_some(own_name))?;
    let linux = spec.get_mut("linux").and_then(Value::as_object_mut);
    cell_linux(linux.ok_or("it is not for Linux")?, carrier)?;
    Ok(CellSpec { text: Value::Object(spec).to_string(), sources, files })
}

/// Accepts the hooks of Docker's networks alone, which a sealed container does without.
fn hooks(spec: &Map<String, Value>) -> Result<(), String> {
    for (when, hooks) in spec.get("hooks").and_then(Value::as_object).into_iter().flatten() {
        for hook in list(Some(hooks)) {
            let args = list(hook.get("args"));
            if text_of(args.first()) != "libnetwork-setkey" {
                let path = text_of(hook.get("path"));
                return Err(format!("it runs the hook {path} ({when}), which is not known"));
            }
        }
    }
    Ok(())
}

/// The mount of a cell in place of a carrier's; `None` where a cell has none.
fn cell_mount(
    mount: &Value,
    carrier: &CarrierOrder<'_>,
    (files, sources): (&mut Vec<(String, String)>, &mut Vec<PathBuf>),
) -> Result<Option<Value>, String> {
    let field = |name| text_of(mount.get(name));
    let (target, source, kind) = (field("destination"), field("source"), field("type"));
    if MADE_ANEW.contains(&kind) {
        return Ok(Some(mount.clone()));
    }
    if kind != "bind" {
        return Err(format!("it mounts a file system of type {kind} at {target}"));
    }
    if target == carrier.volume {
        return Ok(None);
    }
    let own = target.strip_prefix("/etc/").filter(|name| OWN_FILES.contains(name));
    if let Some(name) = own {
        let is_own = source.contains(carrier.id) && source.ends_with(&format!("/{name}"));
        if is_own {
            files.push((name.to_owned(), source.to_owned()));
            let mut mount = mount.clone();
            mount["source"] = format!("{PLACE}/{name}").into();
            return Ok(Some(mount));
        }
    }
    let is_init = target == INIT && source.ends_with("docker-init");
    let asked = carrier.mounts.iter().any(|(to, from)| to == target && from == source);
    if is_init || asked {
        sources.push(source.into());
        return Ok(Some(mount.clone()));
    }
    Err(format!("it mounts {source} at {target}, which all its cells would share"))
}

fn cell_process(
    process: &mut Map<String, Value>,
    carrier: &CarrierOrder<'_>,
    own_name: Option<&str>,
) -> Result<(), String> {
    if process.get("terminal").is_some_and(|terminal| *terminal == json!(true)) {
        return Err("it has a terminal".to_owned());
    }
    if !text_of(process.get("selinuxLabel")).is_empty() {
        return Err("it has a label of SELinux, which each container needs of its own".to_owned());
    }
    let args = list(process.get("args"));
    let before = args.len().checked_sub(carrier.waits.len());
    let before = before.filter(|at| {
        args[*at..].iter().map(|arg| text_of(Some(arg))).eq(carrier.waits.iter().copied())
    });
    let before = before.ok_or("it does not run the command that the carrier was given")?;
    let command = carrier.command.iter().map(|arg| Value::from(arg.as_str()));
    let args: Vec<_> = args[..before].iter().cloned().chain(command).collect();
    process.insert("args".to_owned(), args.into());
    // Limits that the specification does not name come from whoever starts the runtime.
    let mut limits = list(process.get("rlimits")).to_vec();
    for limit in rlimits::of_process(carrier.limits) {
        if !limits.iter().any(|named| named.get("type") == limit.get("type")) {
            limits.push(limit);
        }
    }
    process.insert("rlimits".to_owned(), limits.into());
    let Some(own_name) = own_name else { return Ok(()) };
    let own = format!("HOSTNAME={own_name}");
    for variable in process.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if text_of(Some(variable)) == own {
            *variable = format!("HOSTNAME={NAME}").into();
        }
    }
    Ok(())
}

fn cell_linux(linux: &mut Map<String, Value>, carrier: &CarrierOrder<'_>) -> Result<(), String> {
    let mapped = ["uidMappings", "gidMappings"].iter().any(|key| !list(linux.get(*key)).is_empty());
    if mapped {
        return Err("the engine maps users (userns-remap)".to_owned());
    }
    if !text_of(linux.get("mountLabel")).is_empty() {
        return Err("it has a label of SELinux, which each container needs of its own".to_owned());
    }
    let groups = text_of(linux.get("cgroupsPath"));
    let usual = [format!("/docker/{}", carrier.id), format!("system.slice:docker:{}", carrier.id)];
    if !usual.iter().any(|usual| usual == groups) {
        return Err(format!("its control group is {groups}, which is not Docker's usual one"));
    }
    linux.insert("cgroupsPath".to_owned(), format!("{}/{ID}", carrier.group).into());
    if carrier.without_v6 {
        let sysctls = linux.entry("sysctl").or_insert_with(|| json!({}));
        let sysctls = sysctls.as_object_mut().ok_or("its kernel parameters cannot be read")?;
        sysctls.entry(NO_V6).or_insert_with(|| "1".into());
    }
    let mut missing = OWN_NAMESPACES.to_vec();
    let namespaces = linux.get_mut("namespaces").and_then(Value::as_array_mut);
    for namespace in namespaces.into_iter().flatten() {
        let kind = text_of(namespace.get("type")).to_owned();
        let path = text_of(namespace.get("path"));
        // The engine has made the network of a sealed container, or has its hook make it.
        let is_made = path.is_empty() || kind == "network" && path.contains("/docker/netns/");
        if !NAMESPACES.contains(&&*kind) {
            return Err(format!("it has a namespace of type {kind}"));
        }
        if !is_made {
            return Err(format!("it joins the namespace {path} of type {kind}"));
        }
        missing.retain(|wanted| *wanted != kind);
        *namespace = json!({ "type": kind });
    }
    match missing.first() {
        Some(kind) => Err(format!("it has no namespace of its own of type {kind}")),
        None => Ok(()),
    }
}

fn text_of(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
