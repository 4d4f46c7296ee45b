//! The description of the paths in OpenAPI 3.1, made of the handlers and their types. Facts that
//! all handlers share are added here: who may ask, and what may be wrong with a request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::problem::{Problem, ProblemKind};

/// What begins the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ganger",
        description = "What a running Ganger is asked, and told, by its admin server: by its unix \
                       socket, where nothing has to be shown, or by `admin.listen`."
    ),
    tags(
        (name = "health", description = "For load balancers and Prometheus"),
        (name = "status", description = "What runs, and what happens"),
        (name = "services", description = "What clients connect to"),
        (name = "daemons", description = "The engines that containers are on"),
        (name = "sessions", description = "Connections that are there"),
        (name = "containers", description = "All containers of this process"),
        (name = "failures", description = "What is known of what failed lately"),
        (name = "process", description = "The process, and its configuration"),
    ),
    components(schemas(Problem)),
)]
struct AdminApi;

/// The problems of operations besides those that their form implies.
pub(super) const OWN: [(&str, &[ProblemKind]); 8] = [
    ("scale", &[ProblemKind::Conflict, ProblemKind::Stopping]),
    ("service_state", &[ProblemKind::Stopping]),
    ("daemon_state", &[ProblemKind::Stopping]),
    ("roll", &[ProblemKind::Conflict, ProblemKind::Stopping]),
    ("roll_back", &[ProblemKind::Conflict, ProblemKind::Stopping]),
    ("reload", &[ProblemKind::Conflict, ProblemKind::ConfigRefused, ProblemKind::Stopping]),
    ("events", &[ProblemKind::TooManyReaders]),
    ("config", &[ProblemKind::Absent]),
];

/// The head of the description.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    AdminApi::openapi()
}

/// The whole description, as JSON, of what the handlers say of themselves.
pub(super) fn written(handlers: utoipa::openapi::OpenApi) -> String {
    let mut document = serde_json::to_value(handlers).unwrap_or_default();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operations) in paths {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            complete(method, operation);
        }
    }
    let scheme = |scheme: &str, how: &str| json!({"type": "http", "scheme": scheme, "description": format!("The token, as {how}")});
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "bearer": scheme("bearer", "it is"),
        "basic": scheme("basic", "the password of any user"),
    });
    narrow(&mut components["schemas"]);
    // A flag, which has no value where it is set.
    let dry_run = &mut document["paths"]["/api/v1/reload"]["post"]["parameters"][0];
    dry_run["schema"] = json!({"type": "string", "enum": ["", "true", "false"]});
    dry_run["allowEmptyValue"] = true.into();
    format!("{document:#}\n")
}

/// Adds who may ask for an operation, and how it fails.
fn complete(method: &str, operation: &mut Value) {
    let changes = method != "get";
    let token = [json!({"bearer": []}), json!({"basic": []})];
    // Without the token everything can be read where the address is of this machine alone.
    let nothing = (!changes).then(|| json!({}));
    operation["security"] = nothing.into_iter().chain(token).collect();
    let mut by_status = BTreeMap::<u16, Vec<ProblemKind>>::new();
    for kind in problems(changes, operation) {
        by_status.entry(kind.facts().0.as_u16()).or_default().push(kind);
    }
    for (status, kinds) in by_status {
        let response = &mut operation["responses"][status.to_string()];
        let said = kinds.iter().map(|kind| format!("`{}`: {}", kind.facts().1, kind.facts().2));
        let said = said.chain(response["description"].as_str().map(str::to_owned));
        response["description"] = said.collect::<Vec<_>>().join("; ").into();
        let codes: Vec<_> = kinds.iter().map(|kind| kind.facts().1).collect();
        response["content"]["application/problem+json"] = json!({"schema": {
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": {"code": {"enum": codes}, "status": {"const": status}},
        }});
        if status == 401 {
            let header = json!({"schema": {"type": "string"}, "required": true});
            response["headers"]["WWW-Authenticate"] = header;
        }
    }
}

/// The problems that a request for an operation may meet.
fn problems(changes: bool, operation: &Value) -> BTreeSet<ProblemKind> {
    use ProblemKind::{
        Absent, ForeignHost, ForeignOrigin, Forwarded, Invalid, Late, ReadOnly, Starting,
        TokenUnreadable, TooLarge, Unauthorized,
    };
    let mut kinds = BTreeSet::from([Unauthorized, ForeignHost, Forwarded, TokenUnreadable]);
    if changes {
        kinds.extend([ForeignOrigin, ReadOnly]);
    }
    // Health checks are answered in plain text during the start, too.
    if !["livez", "readyz", "service_readyz"].map(Value::from).contains(&operation["operationId"]) {
        kinds.insert(Starting);
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        match parameter["in"].as_str() {
            Some("path") => kinds.extend([Absent, Invalid]),
            // Any value of it is accepted.
            Some("query") if parameter["name"] != "verbose" => kinds.extend([Invalid]),
            _ => {}
        }
    }
    if operation["requestBody"].is_object() {
        kinds.extend([Invalid, TooLarge, Late]);
    }
    let own = OWN.iter().filter(|(id, _)| operation["operationId"] == *id);
    kinds.extend(own.flat_map(|(_, kinds)| kinds.iter().copied()));
    kinds
}

/// Adds how parts of a body depend on others.
fn narrow(schemas: &mut Value) {
    schemas["ScaleBody"]["anyOf"] = ["warm", "max"]
        .map(|key| json!({"required": [key], "properties": {key: {"type": "integer"}}}))
        .into_iter()
        .collect();
    schemas["NewState"]["anyOf"] = json!([
        {"properties": {"state": {"const": "ready"}, "deadline_seconds": {"type": "null"}}},
        {"properties": {"state": {"enum": ["drain", "maint"]}}},
    ]);
}
