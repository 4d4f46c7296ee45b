//! Readiness by an answer to an HTTP request.

use std::io;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The user agent that the service sees.
const AGENT: &str = concat!("ganger/", env!("CARGO_PKG_VERSION"));

/// Succeeds when the service answers a GET of `path` with `status`. The body of the answer is not
/// read.
pub(super) async fn answers(stream: TcpStream, path: &str, status: u16) -> io::Result<()> {
    let request = Request::get(path)
        .header(HOST, "localhost")
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut asked = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut asked => answer,
        // `connection` carries both; once it is over, `asked` has an answer or an error.
        _ = connection => asked.await,
    };
    let found = match answer {
        Ok(answer) => answer.status().as_u16(),
        Err(error) if error.is_incomplete_message() => {
            let why = "it closes the connection before it has answered";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        Err(error) => return Err(io::Error::other(format!("it does not speak HTTP: {error}"))),
    };
    if found == status {
        return Ok(());
    }
    Err(io::Error::other(format!("it answers GET {path} with {found} instead of {status}")))
}
