//! Verbs that ask a running Ganger by its admin socket: `status`, `sessions`, `cut`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::out::say;
use super::{Exit, Failure, loaded};
use crate::admin::{ContainerCounts, SessionStatus, Status};
use crate::config::Admin;
use crate::endpoint::Endpoint;
use crate::http::{HttpError, Transport};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to ask, and how the answer is printed.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// The admin socket [default: the configuration's, or /run/ganger/INSTANCE.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A running Ganger.
struct Remote {
    transport: Transport,
    socket: PathBuf,
}

// === impl Asking ===

impl Asking {
    fn remote(&self, config: Option<PathBuf>) -> Result<Remote, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => {
                let (config, path) = loaded(config)?;
                match config.admin.socket.clone() {
                    Some(socket) => socket,
                    None => {
                        let instance = config.instance(&path);
                        let named = instance.map_err(|error| Failure::new(Exit::Config, error))?;
                        Admin::usual_socket(&named)
                    }
                }
            }
        };
        let transport = Transport::new(Endpoint::Unix(socket.clone()));
        Ok(Remote { transport, socket })
    }
}

// === impl Remote ===

impl Remote {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = timeout(PATIENCE, self.transport.get(path)).await;
        answer.unwrap_or(Err(HttpError::Late(PATIENCE))).map_err(|error| self.failure(&error))
    }

    async fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = Request::delete("/").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let answer = timeout(PATIENCE, self.transport.fetch(path, request)).await;
        let answer = answer.unwrap_or(Err(HttpError::Late(PATIENCE)));
        answer.map(drop).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &HttpError) -> Failure {
        let socket = self.socket.display();
        match error {
            HttpError::Status { message, .. } => Failure::new(Exit::Failed, detail(message)),
            HttpError::Connect(error) => {
                let message = format!(
                    "no Ganger answers at {socket}: {error}; is one running with this \
                     configuration? `--socket` names another"
                );
                Failure::new(Exit::Unreachable, message)
            }
            error => Failure::new(Exit::Unreachable, format!("{socket}: {error}")),
        }
    }
}

/// Says how services and daemons are.
pub(super) async fn status(asking: &Asking, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let status: Status = asking.remote(config)?.get("/api/v1/status").await?;
    if asking.json {
        return json(&status);
    }
    let about = &status.about;
    let up = Duration::from_secs(about.uptime_seconds as u64);
    say(&format!(
        "ganger {}, instance {}, pid {}, up {}, sessions {}{}",
        about.version,
        about.instance,
        about.pid,
        humantime::format_duration(up),
        status.sessions,
        if about.stopping { ", stopping" } else { "" }
    ));
    let mut services = table(&[
        "SERVICE", "STATE", "READY", "LEASED", "STARTING", "STOPPING", "WAITING", "WARM", "REUSED",
        "COLD", "REFUSED",
    ]);
    for service in &status.services {
        let ContainerCounts { ready, leased, starting, stopping, .. } = service.containers;
        services.add_row([
            service.name.clone(),
            service.state.to_string(),
            format!("{ready}/{}", service.target),
            leased.to_string(),
            starting.to_string(),
            stopping.to_string(),
            service.waiting.to_string(),
            service.leases.warm.to_string(),
            service.leases.reused.to_string(),
            service.leases.cold.to_string(),
            service.refused.values().sum::<u64>().to_string(),
        ]);
    }
    let mut daemons = table(&["DAEMON", "STATE", "CONTAINERS", "OTHERS", "CAPACITY"]);
    for daemon in &status.daemons {
        let own = daemon.containers;
        let own = own.ready + own.leased + own.starting + own.checking + own.unknown + own.stopping;
        daemons.add_row([
            daemon.name.clone(),
            daemon.state.to_string(),
            own.to_string(),
            daemon.others.to_string(),
            daemon.capacity.to_string(),
        ]);
    }
    say(&format!("\n{}\n\n{}", trimmed(&services), trimmed(&daemons)));
    let of_services = status.services.iter().map(|service| (&service.name, &service.reason));
    let of_daemons = status.daemons.iter().map(|daemon| (&daemon.name, &daemon.reason));
    for (name, reason) in of_services.chain(of_daemons) {
        if let Some(reason) = reason {
            say(&format!("\n{name}: {reason}"));
        }
    }
    Ok(Exit::Ok)
}

/// Says who is connected.
pub(super) async fn sessions(
    asking: &Asking,
    quiet: bool,
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let sessions: Vec<SessionStatus> = asking.remote(config)?.get("/api/v1/sessions").await?;
    if asking.json {
        return json(&sessions);
    }
    if quiet {
        sessions.iter().for_each(|session| say(&session.id.to_string()));
        return Ok(Exit::Ok);
    }
    let mut shown = table(&["ID", "SERVICE", "CLIENT", "CONTAINER", "DAEMON", "AGE", "IN", "OUT"]);
    for session in &sessions {
        let none = || "-".to_owned();
        let container = session.container.as_deref().map(ganger_pool::core::short_id);
        shown.add_row([
            session.id.to_string(),
            session.service.clone(),
            session.client.to_string(),
            container.map_or_else(none, ToString::to_string),
            session.daemon.clone().unwrap_or_else(none),
            humantime::format_duration(Duration::from_secs(session.age_seconds as u64)).to_string(),
            session.in_bytes.to_string(),
            session.out_bytes.to_string(),
        ]);
    }
    say(&trimmed(&shown));
    Ok(Exit::Ok)
}

/// Cuts connections, and tells of each that is not there.
pub(super) async fn cut(
    asking: &Asking,
    ids: &[u64],
    config: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let remote = asking.remote(config)?;
    let mut missing = Vec::new();
    for id in ids {
        match remote.delete(&format!("/api/v1/sessions/{id}")).await {
            Ok(()) => {}
            Err(Failure { exit: Exit::Failed, message }) => missing.push(message),
            Err(error) => return Err(error),
        }
    }
    if missing.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(Exit::Failed, missing.join("\n")))
}

/// What a problem says in detail, for people.
fn detail(problem: &str) -> String {
    let problem: Option<Value> = serde_json::from_str(problem).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.unwrap_or("the answer is no, and does not say why").to_owned()
}

fn json(answer: &impl Serialize) -> Result<Exit, Failure> {
    let text = serde_json::to_string_pretty(answer);
    say(&text.map_err(|error| Failure::new(Exit::Failed, error))?);
    Ok(Exit::Ok)
}

/// A table like that of `docker ps`: no lines, and a heading in capitals.
fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table
}

/// Its lines, from the left margin on and without spaces at their ends.
fn trimmed(table: &Table) -> String {
    let lines = table.lines().map(|line| {
        let line = line.trim_end();
        line.strip_prefix(' ').unwrap_or(line).to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
