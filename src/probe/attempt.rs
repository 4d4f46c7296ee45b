//! One attempt at finding out whether a container can serve.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::answers;
use crate::docker::{Address, Container, Executed, Ready};

/// The outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The container can serve.
    Ready,
    /// Not yet, and why.
    NotYet(String),
    /// Never, and why.
    Never(String),
}

/// Makes one attempt, by the strategy of the container's service.
pub(super) async fn attempt(container: &Container) -> Verdict {
    match &container.spec().ready {
        Ready::Healthcheck(_) => healthy(container).await,
        Ready::Started | Ready::Log { .. } => runs(container).await,
        Ready::Exec(command) => succeeds(container, command).await,
        Ready::Http { path, status } => {
            judge(dial(container, |stream| answers(stream, path, *status)).await)
        }
        Ready::Tcp { linger } => match container.listens().await {
            Some(Ok(listens)) => {
                let why_not = listens.why_not(container.spec().port);
                why_not.map_or(Verdict::Ready, Verdict::NotYet)
            }
            Some(Err(error)) => Verdict::NotYet(error.to_string()),
            None => judge(dial(container, |stream| stays(stream, *linger)).await),
        },
        Ready::Banner(banner) => judge(dial(container, |stream| says(stream, banner)).await),
        Ready::Exchange { send, expect } => {
            let talk = async |mut stream: TcpStream| {
                stream.write_all(send).await?;
                says(stream, expect).await
            };
            judge(dial(container, talk).await)
        }
    }
}

async fn dial<F>(container: &Container, talk: impl FnOnce(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    talk(container.connect().await?).await
}

fn judge(outcome: io::Result<()>) -> Verdict {
    outcome.map_or_else(|error| Verdict::NotYet(error.to_string()), |()| Verdict::Ready)
}

/// Succeeds when the connection is kept for `linger`, or the service sends something.
async fn stays(stream: TcpStream, linger: Duration) -> io::Result<()> {
    if linger.is_zero() {
        return Ok(());
    }
    match timeout(linger, stream.peek(&mut [0])).await {
        Err(_) => Ok(()),
        Ok(Ok(0)) => Err(closed("it accepts a connection and closes it")),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

/// Succeeds when the service's first bytes are `expected`.
async fn says(mut stream: TcpStream, expected: &[u8]) -> io::Result<()> {
    let mut said = vec![0; expected.len()];
    let mut length = 0;
    while length < said.len() {
        match stream.read(&mut said[length..]).await? {
            0 => {
                return Err(closed("it closes the connection before it has said what is expected"));
            }
            more => length += more,
        }
        if said[..length] != expected[..length] {
            return Err(io::Error::other(format!(
                "it says \"{}\" instead of \"{}\"",
                said[..length].escape_ascii(),
                expected.escape_ascii()
            )));
        }
    }
    Ok(())
}

fn closed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

async fn healthy(container: &Container) -> Verdict {
    let state = match container.inspect().await {
        Ok(Some(seen)) => seen.state,
        Ok(None) => return Verdict::Never("it was removed".to_owned()),
        Err(error) => return Verdict::NotYet(error.message),
    };
    let Some(health) = state.health else {
        return Verdict::Never(
            "its image has no HEALTHCHECK: give it one, or `Healthcheck` a `test`".to_owned(),
        );
    };
    match health.status.as_str() {
        "healthy" => Verdict::Ready,
        "none" => Verdict::Never("its image has no HEALTHCHECK".to_owned()),
        // A container that takes long to get ready is unhealthy until then.
        "unhealthy" => {
            let last = health.log.as_deref().and_then(<[_]>::last);
            let output = last.map_or("", |last| last.output.trim());
            Verdict::NotYet(format!("its HEALTHCHECK fails: {}", output.escape_debug()))
        }
        status => Verdict::NotYet(format!("its HEALTHCHECK says {status}")),
    }
}

/// Runs a program in the container: exit code 0 means ready.
async fn succeeds(container: &Container, command: &[String]) -> Verdict {
    match container.exec(command).await {
        Ok(Executed { code: 0, .. }) => Verdict::Ready,
        Ok(Executed { code, said }) => {
            let said = said.map_or_else(String::new, |said| format!(": {said}"));
            Verdict::NotYet(format!("`{}` exits with code {code}{said}", command.join(" ")))
        }
        Err(error) => Verdict::NotYet(error.message),
    }
}

/// Whether its process runs.
pub(super) async fn runs(container: &Container) -> Verdict {
    if let Address::Namespace { process, .. } = container.address() {
        return if process.is_ending() {
            Verdict::Never("its process ended".to_owned())
        } else {
            Verdict::Ready
        };
    }
    match container.inspect().await {
        Ok(Some(seen)) if seen.state.paused => Verdict::NotYet("it is paused".to_owned()),
        Ok(Some(seen)) => {
            seen.state.end().map_or(Verdict::Ready, |end| Verdict::Never(end.to_string()))
        }
        Ok(None) => Verdict::Never("it was removed".to_owned()),
        Err(error) => Verdict::NotYet(error.message),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A connection whose other end does what `server` says.
    async fn with<F>(server: impl FnOnce(TcpStream) -> F) -> TcpStream
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(server(listener.accept().await.unwrap().0));
        client
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn an_accept_that_is_taken_back_proves_nothing() {
        let stream = with(async |stream| drop(stream)).await;
        let error = stays(stream, LONG).await.unwrap_err();
        assert!(error.to_string().contains("closes it"), "{error}");

        let reset = with(async |stream| {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        });
        assert!(stays(reset.await, LONG).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_or_used_is_proof() {
        let silent = with(async |stream| {
            std::future::pending::<()>().await;
            drop(stream);
        });
        stays(silent.await, Duration::from_millis(1)).await.unwrap();
        let talking = with(async |mut stream: TcpStream| {
            stream.write_all(b"hi").await.unwrap();
            std::future::pending::<()>().await;
        });
        stays(talking.await, LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_banner_may_come_in_pieces_and_is_compared() {
        let banner = |text: &'static [&'static [u8]]| {
            with(async move |mut stream: TcpStream| {
                for piece in text {
                    stream.write_all(piece).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        };
        says(banner(&[b"SS", b"H-", b"2.0"]).await, b"SSH-").await.unwrap();
        let wrong = says(banner(&[b"-LOADING"]).await, b"+PONG").await.unwrap_err();
        assert!(wrong.to_string().contains("instead of \"+PONG\""), "{wrong}");
        let short = says(banner(&[b"SS"]).await, b"SSH-").await.unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }
}
