//! A running Ganger, as its admin socket answers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Request, StatusCode, body::Bytes};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::super::{Exit, Failure, loaded};
use crate::admin::Ordered;
use crate::config::Admin;
use crate::endpoint::Endpoint;
use crate::http::{HttpError, Lines, SendError, Transport};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read whole, in bytes.
const LONGEST: usize = 1 << 20;

/// Whom to ask.
#[derive(Debug, Args)]
pub(in crate::cli) struct Asking {
    /// The admin socket [default: the configuration's, or /run/ganger/INSTANCE.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// A running Ganger.
#[derive(Debug)]
pub(in crate::cli) struct Remote {
    transport: Transport,
    socket: PathBuf,
}

// === impl Asking ===

impl Asking {
    /// Who answers there. Nobody is asked yet.
    pub(in crate::cli) fn remote(&self, config: Option<PathBuf>) -> Result<Remote, Failure> {
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
    /// Whether anybody listens there.
    pub(in crate::cli) fn is_there(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }

    /// What a path tells.
    pub(in crate::cli) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = timeout(PATIENCE, self.transport.get(path)).await;
        answer.unwrap_or(Err(HttpError::Late(PATIENCE))).map_err(|error| self.failure(&error))
    }

    /// Gives an order, with a body in JSON or none.
    pub(in crate::cli) async fn order(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Ordered, Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::post("/").header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::<Bytes>::from(body));
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let answer = timeout(PATIENCE, self.transport.fetch(path, request)).await;
        let answer = answer.unwrap_or(Err(HttpError::Late(PATIENCE)));
        let (_, body) = answer.map_err(|error| self.failure(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.failure(&error.into()))
    }

    /// Removes what is at a path.
    pub(in crate::cli) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = Request::delete("/").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let answer = timeout(PATIENCE, self.transport.fetch(path, request)).await;
        let answer = answer.unwrap_or(Err(HttpError::Late(PATIENCE)));
        answer.map(drop).map_err(|error| self.failure(&error))
    }

    /// The status and the text at a path, whatever they are.
    pub(super) async fn text(&self, path: &str) -> Result<(StatusCode, String), Failure> {
        let asked = async {
            let sent = self.transport.send(path, Request::new(Empty::<Bytes>::new())).await;
            let response = sent.map_err(|error| match error {
                SendError::Connect(error) => HttpError::Connect(error),
                error @ SendError::Broken(_) => HttpError::Broken(error.to_string()),
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| HttpError::Broken(error.to_string()))?.to_bytes();
            Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
        };
        let answer = timeout(PATIENCE, asked).await.unwrap_or(Err(HttpError::Late(PATIENCE)));
        answer.map_err(|error| self.failure(&error))
    }

    /// The stream of events, after the event of this number.
    pub(in crate::cli) async fn events(&self, after: Option<u64>) -> Result<Lines, Failure> {
        let mut request = Request::get("/").header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let begun = timeout(PATIENCE, self.transport.exchange("/api/v1/events", request)).await;
        let begun = begun.unwrap_or(Err(HttpError::Late(PATIENCE)));
        begun.map(Lines::of).map_err(|error| self.failure(&error))
    }

    /// Why there is no answer, or none that says yes.
    pub(super) fn failure(&self, error: &HttpError) -> Failure {
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

/// What a problem says in detail, for people.
pub(super) fn detail(problem: &str) -> String {
    let problem: Option<Value> = serde_json::from_str(problem).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.unwrap_or("the answer is no, and does not say why").to_owned()
}
