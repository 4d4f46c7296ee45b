//! `ganger health`: only whether clients are served.

use hyper::StatusCode;

use super::super::out::say;
use super::super::{Exit, Failure};
use super::remote::{Remote, detail};
use crate::http::escape;
use crate::legible::legible_lines;

/// Prints the readiness of all services, or of one. Any fault, also that nobody answers, is exit
/// code 1: engines know no other.
pub(super) async fn health(remote: &Remote, service: Option<&str>) -> Result<Exit, Failure> {
    let path = match service {
        Some(service) => format!("/readyz/{}", escape(service)),
        None => "/readyz?verbose".to_owned(),
    };
    let asked = remote.text(&path).await;
    let (status, text) = asked.map_err(|error| Failure { exit: Exit::Failed, ..error })?;
    match status {
        StatusCode::OK => {
            say(&legible_lines(&text));
            Ok(Exit::Ok)
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            say(&legible_lines(&text));
            Ok(Exit::Failed)
        }
        _ => Err(Failure::new(Exit::Failed, detail(&text))),
    }
}
