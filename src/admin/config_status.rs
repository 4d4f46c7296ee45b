//! The configuration in use: each key with the value that holds, and where that is said.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ServerState;
use super::metrics::ReloadResult;
use super::problem::Problem;
use super::query::Params;
use crate::config::{Effective, EffectiveKey, EffectivePart, EffectiveValue, FilePlace};

/// The configuration in use. What may be secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigStatus {
    /// The files that it was read from: the one that was named, then those that it includes.
    pub files: Vec<String>,
    /// Since when it is in use.
    pub since: String,
    /// How the configuration was read last.
    pub last_read: LastRead,
    /// The keys at the top.
    pub keys: Vec<ConfigKey>,
    /// The daemons that are listed.
    pub daemons: Vec<ConfigPart>,
    /// The services, in the order of the configuration.
    pub services: Vec<ConfigPart>,
}

/// How the configuration was read last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastRead {
    /// When.
    pub at: String,
    /// What was read is in use. Otherwise the one before is, and the log says why.
    pub taken: bool,
}

/// The keys of a service or a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigPart {
    /// Its name.
    pub name: String,
    /// Each with what holds.
    pub keys: Vec<ConfigKey>,
}

/// A key, and what holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigKey {
    /// It, with those that it is in: `limits.memory`, `mounts[0].source`, `env["NAME"]`.
    pub key: String,
    /// Its value, as a file has it; null where it has none.
    pub value: Option<String>,
    /// What that comes to, where it has none.
    pub without: Option<String>,
    /// The value, or a part of it, is left out.
    pub redacted: bool,
    /// Who says so.
    pub origin: ConfigOrigin,
    /// The file that it is written in.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// The character in the line, from 1.
    pub column: Option<u32>,
    /// The variables of the environment that were filled in.
    pub variables: Vec<String>,
}

/// Who says what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigOrigin {
    /// Nobody: it is a default.
    Default,
    /// A file.
    File,
    /// A file, by variables of the environment.
    Environment,
    /// The operator, until the next reload.
    Operator,
}

/// Which part of the configuration is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConfigQuery {
    /// Only this service, without what is no service's.
    service: Option<String>,
}

/// The configuration in use: every key with the value that holds and where that is said. Values that
/// may be secret, and those that were filled in from the environment, are left out.
#[utoipa::path(get, path = "/api/v1/config", tag = "process",
    params(ConfigQuery),
    responses((status = 200, description = "What is in use", body = ConfigStatus)))]
pub(super) async fn config(
    State(admin): ServerState,
    Params(ConfigQuery { service }): Params<ConfigQuery>,
) -> Result<Json<ConfigStatus>, Problem> {
    let mut status = admin.subject.config();
    status.set("instance", |key| {
        let named = format!("{:?}", admin.origin.instance);
        key.value.get_or_insert(named);
        key.without = None;
    });
    let Some(service) = service else { return Ok(Json(status)) };
    status.services.retain(|part| part.name == service);
    if status.services.is_empty() {
        return Err(Problem::absent(format!("there is no service {service:?}")));
    }
    (status.keys, status.daemons) = Default::default();
    Ok(Json(status))
}

// === impl ConfigStatus ===

impl ConfigStatus {
    /// The status of a configuration that is in use since then.
    #[must_use]
    pub fn new(effective: &Effective, since: std::time::SystemTime, last: ReloadResult) -> Self {
        let at = |time| humantime::format_rfc3339_millis(time).to_string();
        let Effective { files, keys, daemons, services } = effective;
        let told = |keys: &Vec<EffectiveKey>| {
            keys.iter().map(|key| ConfigKey::new(key, files)).collect::<Vec<_>>()
        };
        let part = |part: &EffectivePart| ConfigPart {
            name: part.name.to_string(),
            keys: told(&part.keys),
        };
        Self {
            files: files.clone(),
            since: at(since),
            last_read: LastRead { at: at(last.at), taken: last.taken },
            keys: told(keys),
            daemons: daemons.iter().map(part).collect(),
            services: services.iter().map(part).collect(),
        }
    }

    /// Replaces a key of a service, and the keys in it, by the operator's order.
    pub fn order(&mut self, service: &str, name: &str, count: u32) {
        let Some(part) = self.services.iter_mut().find(|part| part.name == service) else {
            return;
        };
        let within = format!("{name}.");
        part.keys.retain(|key| !key.key.starts_with(&within));
        for key in part.keys.iter_mut().filter(|key| key.key == name) {
            *key = ConfigKey::ordered(name, count);
        }
    }

    /// Changes a key at the top.
    fn set(&mut self, name: &str, change: impl Fn(&mut ConfigKey)) {
        self.keys.iter_mut().filter(|key| key.key == name).for_each(change);
    }
}

// === impl ConfigKey ===

impl ConfigKey {
    fn new(key: &EffectiveKey, files: &[String]) -> Self {
        let EffectiveKey { key, value, is_redacted, variables, place } = key;
        let (value, without) = match value {
            EffectiveValue::Default(value) => (Some((*value).to_owned()), None),
            EffectiveValue::Written(value) => (Some(value.to_string()), None),
            EffectiveValue::Nothing(words) => (None, Some((*words).to_owned())),
        };
        let origin = match place {
            None => ConfigOrigin::Default,
            Some(_) if variables.is_empty() => ConfigOrigin::File,
            Some(_) => ConfigOrigin::Environment,
        };
        let file = |place: &FilePlace| files.get(usize::try_from(place.file).ok()?).cloned();
        Self {
            key: key.to_string(),
            value,
            without,
            redacted: *is_redacted,
            origin,
            file: place.as_ref().and_then(file),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            variables: variables.to_vec(),
        }
    }

    fn ordered(name: &str, count: u32) -> Self {
        Self {
            key: name.to_owned(),
            value: Some(count.to_string()),
            without: None,
            redacted: false,
            origin: ConfigOrigin::Operator,
            file: None,
            line: None,
            column: None,
            variables: Vec::new(),
        }
    }
}
