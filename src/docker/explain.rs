//! Explains failures between us and an engine, in words that help.

use std::io;
use std::time::Duration;

use bollard::errors::Error;
use ganger_pool::runtime::CallError;

use super::calls::CallFailure;

use crate::endpoint::Endpoint;
use crate::http::HttpError;
use crate::tls;

/// Says what a failure of the engine's API means and, where it can be said, what to do.
#[must_use]
pub fn explain(endpoint: &Endpoint, error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { status_code, message } => status(*status_code, message),
        Error::DockerStreamError { error } => error.clone(),
        Error::RequestTimeoutError => format!("{endpoint} gave no answer"),
        other => match (tls::reason(other), io_cause(other)) {
            (Some(why), _) => format!("the connection to {endpoint} failed: {why}"),
            (None, Some(cause)) => explain_io(endpoint, cause),
            (None, None) if broke_off(other) => {
                format!("{endpoint} ended the connection before it had answered")
            }
            (None, None) => {
                format!("{endpoint} does not answer as an engine does: {}", chain(other))
            }
        },
    }
}

/// The same for an error of the connection itself.
fn explain_io(endpoint: &Endpoint, error: &io::Error) -> String {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, PermissionDenied};
    let unix = matches!(endpoint, Endpoint::Unix(_));
    let podman = unix && endpoint.to_string().contains("podman");
    match error.kind() {
        NotFound if podman => format!(
            "no container engine at {endpoint}: is Podman installed, and its socket there? \
             `systemctl enable --now podman.socket` makes it, with `--user` that of a user"
        ),
        NotFound if unix => {
            format!("no container engine at {endpoint}: is Docker installed and running?")
        }
        PermissionDenied if podman => format!(
            "permission denied at {endpoint}: run as root, or as the user whose Podman it is"
        ),
        PermissionDenied if unix => format!(
            "permission denied at {endpoint}: add the user to the group docker and log in again, \
             or run as root"
        ),
        ConnectionRefused if unix => format!(
            "nobody listens at {endpoint}: the container engine has stopped, start it again"
        ),
        ConnectionRefused => format!(
            "connection refused by {endpoint}: is the container engine running, and does it \
             listen on TCP?"
        ),
        ConnectionReset => format!("{endpoint} broke the connection"),
        _ => format!("the connection to {endpoint} failed: {error}"),
    }
}

/// Says that there was no answer in time.
pub(super) fn late(endpoint: &Endpoint, what: &str, deadline: Duration) -> String {
    format!("{endpoint} did not answer {what} within {deadline:?}")
}

/// The pool's view of a failed GET.
pub(super) fn wire(endpoint: &Endpoint, error: &HttpError) -> CallError {
    match error {
        HttpError::Connect(cause) => CallError::unreachable(explain_io(endpoint, cause)),
        HttpError::Status { code, message } => CallError::refused(status(*code, message)),
        HttpError::Broken(_) | HttpError::Late(_) | HttpError::Decode(_) => {
            CallError::unreachable(format!("{endpoint} does not answer as an engine does: {error}"))
        }
    }
}

/// The pool's view of a failed call.
pub(super) fn call(endpoint: &Endpoint, what: &str, failure: &CallFailure) -> CallError {
    match failure {
        CallFailure::Late(deadline) => CallError::unreachable(late(endpoint, what, *deadline)),
        CallFailure::Engine(error) => {
            let message = explain(endpoint, error);
            let answered = matches!(
                error,
                Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. }
            );
            CallError { unreachable: !answered, message }
        }
    }
}

fn status(code: u16, message: &str) -> String {
    let message = message.trim();
    if message.contains("HTTP request to an HTTPS server") {
        return "the engine speaks TLS there: add `tls: (ca: …, cert: …, key: …)` to the daemon, \
                and leave out `insecure`"
            .to_owned();
    }
    if message.is_empty() {
        return format!("the engine refused with status {code} and no reason");
    }
    format!("the engine says: {message} (status {code})")
}

fn io_cause(error: &Error) -> Option<&io::Error> {
    // The variant is transparent: as a cause, it would be skipped.
    if let Error::IOError { err } = error {
        return Some(err);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

/// Whether an engine went away in the middle of a call.
fn broke_off(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with all its causes, which the client library's own text leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_and_not_twice() {
        #[derive(Debug)]
        struct Outer(&'static str, io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.1)
            }
        }
        let told = |text| chain(&Outer(text, io::Error::other("reset by peer")));
        assert_eq!(told("cannot read"), "cannot read: reset by peer");
        assert_eq!(told("cannot read: reset by peer"), "cannot read: reset by peer");
    }

    #[test]
    fn the_first_failures_say_what_to_do() {
        let unix: Endpoint = "unix:///run/docker.sock".parse().unwrap();
        let tcp: Endpoint = "tcp://192.0.2.7:2375".parse().unwrap();
        let absent =
            explain(&unix, &Error::IOError { err: io::Error::from(io::ErrorKind::NotFound) });
        assert_eq!(
            absent,
            "no container engine at unix:///run/docker.sock: is Docker installed and running?"
        );
        let denied = explain(
            &unix,
            &Error::IOError { err: io::Error::from(io::ErrorKind::PermissionDenied) },
        );
        assert!(denied.contains("group docker"), "{denied}");
        let podman: Endpoint = "unix:///run/podman/podman.sock".parse().unwrap();
        let absent =
            explain(&podman, &Error::IOError { err: io::Error::from(io::ErrorKind::NotFound) });
        assert!(absent.contains("podman.socket") && !absent.contains("Docker"), "{absent}");
        let denied = explain(
            &podman,
            &Error::IOError { err: io::Error::from(io::ErrorKind::PermissionDenied) },
        );
        assert!(!denied.contains("group docker"), "{denied}");
        let refused = explain(
            &tcp,
            &Error::IOError { err: io::Error::from(io::ErrorKind::ConnectionRefused) },
        );
        assert!(refused.contains("listen on TCP"), "{refused}");
        let tls = status(400, "Client sent an HTTP request to an HTTPS server.\n");
        assert!(tls.contains("TLS"), "{tls}");
    }
}
