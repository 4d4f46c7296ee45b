//! A running Ganger, as its admin socket answers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
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
use crate::legible::{legible_lines, legible_value};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that an order may take: it may wait for another one, and a reload for discovery
/// and for the registry of services.
const ORDER_PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read whole, in bytes.
const LONGEST: usize = 64 << 20;

/// Whom to ask.
#[derive(Debug, Args)]
pub(in crate::cli) struct Asking {
    /// The admin socket [default: the configuration's, or /run/ganger/INSTANCE.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// The answer for a path.
#[derive(Debug)]
pub(super) enum Lookup<T> {
    There(T),
    /// There is no such thing.
    Absent(Failure),
    /// The process that answers is starting, and tells nothing yet.
    Starting(Failure),
}

/// A running Ganger.
#[derive(Debug)]
pub(in crate::cli) struct Remote {
    transport: Transport,
    socket: PathBuf,
    order_patience: Duration,
}

// === impl Asking ===

impl Asking {
    /// The Ganger behind the socket. Nobody is asked yet.
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
        Ok(Remote::new(socket, ORDER_PATIENCE))
    }
}

// === impl Lookup ===

impl<T> Lookup<T> {
    /// The value, or why there is none.
    pub(super) fn there(self) -> Result<T, Failure> {
        match self {
            Self::There(found) => Ok(found),
            Self::Absent(why) | Self::Starting(why) => Err(why),
        }
    }

    pub(super) fn map<U>(self, found: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::There(it) => Lookup::There(found(it)),
            Self::Absent(why) => Lookup::Absent(why),
            Self::Starting(why) => Lookup::Starting(why),
        }
    }
}

// === impl Remote ===

impl Remote {
    pub(super) fn new(socket: PathBuf, order_patience: Duration) -> Self {
        let transport = Transport::new(Endpoint::Unix(socket.clone()));
        Self { transport, socket, order_patience }
    }

    /// Whether a process listens on the socket.
    pub(in crate::cli) fn is_there(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }

    /// The value at a path, for people: escaped for terminals, and with every text in one line.
    pub(in crate::cli) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.find(path).await?.there()
    }

    /// The same, for callers that ask again.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Lookup<T>, Failure> {
        let answer = self.answer(path, Request::new(Full::default()), PATIENCE).await;
        let told = answer.and_then(|body| {
            Ok(serde_json::from_value(legible_value(serde_json::from_slice(&body)?))?)
        });
        let error = match told {
            Ok(told) => return Ok(Lookup::There(told)),
            Err(error) => error,
        };
        let failure = self.failure(&error);
        match &error {
            HttpError::Status { message, .. } if has_code(message, "not-found") => {
                Ok(Lookup::Absent(failure))
            }
            HttpError::Status { message, .. } if has_code(message, "starting") => {
                Ok(Lookup::Starting(failure))
            }
            _ => Err(failure),
        }
    }

    /// The value at a path, for programs.
    pub(super) async fn get_as_told<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.answer(path, Request::new(Full::default()), PATIENCE).await;
        let told = answer.and_then(|body| Ok(serde_json::from_slice(&body)?));
        told.map_err(|error| self.failure(&error))
    }

    /// Gives an order, with a body in JSON or none; returns its outcome, for people.
    pub(in crate::cli) async fn order(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Ordered, Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::post("/").header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::<Bytes>::from(body));
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let answer = self.answer(path, request, self.order_patience).await;
        let ordered = answer.and_then(|body| {
            Ok(serde_json::from_value(legible_value(serde_json::from_slice(&body)?))?)
        });
        ordered.map_err(|error| self.not_ordered(&error))
    }

    /// Removes what is at a path.
    pub(in crate::cli) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = Request::delete("/").body(Full::default());
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let answer = self.answer(path, request, self.order_patience).await;
        answer.map(drop).map_err(|error| self.not_ordered(&error))
    }

    /// The status and the text at a path, whatever they are, for people.
    pub(super) async fn text(&self, path: &str) -> Result<(StatusCode, String), Failure> {
        let answer = self.ask(path, Request::new(Full::default()), PATIENCE).await;
        let (status, body) = answer.map_err(|error| self.failure(&error))?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The stream of events, after the event of this number.
    pub(in crate::cli) async fn events(&self, after: Option<u64>) -> Result<Lines, Failure> {
        let mut request = Request::get("/").header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let request = request.body(Full::<Bytes>::default());
        let request = request.map_err(|error| Failure::new(Exit::Failed, error))?;
        let begun = timeout(PATIENCE, self.transport.exchange("/api/v1/events", request)).await;
        let begun = begun.unwrap_or(Err(HttpError::Late(PATIENCE)));
        begun.map(Lines::of).map_err(|error| self.failure(&error))
    }

    /// The body of a successful answer.
    async fn answer(
        &self,
        path: &str,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Bytes, HttpError> {
        let (status, body) = self.ask(path, request, patience).await?;
        if status.is_success() {
            return Ok(body);
        }
        let message = String::from_utf8_lossy(&body).into_owned();
        Err(HttpError::Status { code: status.as_u16(), message })
    }

    /// An answer, whatever its status.
    async fn ask(
        &self,
        path: &str,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let asked = async {
            let sent = self.transport.send(path, request).await;
            let (head, body) = sent
                .map_err(|error| match error {
                    SendError::Connect(error) => HttpError::Connect(error),
                    error @ SendError::Broken(_) => HttpError::Broken(error.to_string()),
                })?
                .into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| HttpError::Broken(error.to_string()))?;
            Ok((head.status, body.to_bytes()))
        };
        timeout(patience, asked).await.unwrap_or(Err(HttpError::Late(patience)))
    }

    /// Why there is no answer, or what its error says.
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

    /// The same of an order, which Ganger may still carry out although nobody waits any more.
    fn not_ordered(&self, error: &HttpError) -> Failure {
        let Failure { exit, message } = self.failure(error);
        let exit = match error {
            HttpError::Late(_) => Exit::Failed,
            HttpError::Broken(_) => exit,
            _ => return Failure { exit, message },
        };
        let message = format!(
            "{message}; the order may still be carried out: `ganger events` and `ganger status` \
             show whether it is"
        );
        Failure { exit, message }
    }
}

/// Whether a problem is of this kind.
fn has_code(problem: &str, code: &str) -> bool {
    serde_json::from_str::<Value>(problem).is_ok_and(|problem| problem["code"] == code)
}

/// The detail of a problem, for people.
pub(super) fn detail(problem: &str) -> String {
    let problem: Option<Value> = serde_json::from_str(problem).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    legible_lines(detail.unwrap_or("the answer is no, and does not say why"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::{FakeGanger, reply};
    use super::*;

    #[tokio::test]
    async fn a_terminal_obeys_nothing_that_is_answered() {
        let detail = format!("\x1b[2J{}\nline 2", "x".repeat(1000));
        let told = json!({"reason": "\x1b[2Jno\nb: yes"}).to_string();
        let ordered = json!({"changed": true, "detail": "\x1b[2Jdone\nb: done"}).to_string();
        let problem = json!({"code": "config-refused", "detail": detail}).to_string();
        let answers = [(200, &told), (200, &told), (200, &ordered), (422, &problem)];
        let fake = FakeGanger::start(answers.map(|(status, body)| reply(status, body)));
        let remote = fake.remote(PATIENCE);
        let told = remote.get::<Value>("/api/v1/a").await.unwrap();
        assert_eq!(told["reason"], "\\u{1b}[2Jno\\nb: yes");
        let told = remote.get_as_told::<Value>("/api/v1/a").await.unwrap();
        assert_eq!(told["reason"], "\x1b[2Jno\nb: yes", "programs are told what is so");
        let ordered = remote.order("/api/v1/a", None).await.unwrap();
        assert_eq!(ordered.detail, "\\u{1b}[2Jdone\\nb: done");
        let Failure { exit, message } = remote.order("/api/v1/a", None).await.unwrap_err();
        assert_eq!(exit, Exit::Failed);
        // A report has lines, however long it is.
        assert_eq!(message, format!("\\u{{1b}}[2J{}\nline 2", "x".repeat(1000)));
    }

    #[tokio::test]
    async fn an_order_that_is_not_answered_may_still_be_carried_out() {
        let fake = FakeGanger::start([String::new(), String::new()]);
        let remote = fake.remote(Duration::from_millis(50));
        let late = [
            remote.order("/api/v1/reload", None).await.map(drop),
            remote.delete("/api/v1/sessions/1").await,
        ];
        for late in late {
            let Failure { exit, message } = late.unwrap_err();
            assert_eq!(exit, Exit::Failed);
            assert!(message.contains("no answer within 50ms; the order may still be"), "{message}");
            assert!(message.contains("`ganger events` and `ganger status`"), "{message}");
        }
        drop(fake);
    }
}
