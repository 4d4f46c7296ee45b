//! The bodies of requests: they are read whole, and in time, before anybody looks at them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::access::Access;
use super::problem::Problem;

/// The largest body, in bytes.
pub(super) const LARGEST: usize = 64 << 10;
/// The longest that a body may take.
pub(super) const IN: Duration = Duration::from_secs(10);

/// Has a request answered once its body is there. The body is not waited for if the caller may
/// change nothing: nobody looks at it.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if !parts.extensions.get::<Access>().is_some_and(Access::may_act) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    match timeout(IN, to_bytes(body, LARGEST)).await {
        Ok(Ok(whole)) => next.run(Request::from_parts(parts, Body::from(whole))).await,
        Ok(Err(error)) => broken(error).into_response(),
        Err(_) => Problem::late(IN).into_response(),
    }
}

fn broken(error: axum::Error) -> Problem {
    let error = error.into_inner();
    match error.is::<LengthLimitError>() {
        true => Problem::too_large(),
        false => Problem::invalid(format!("the body cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use futures_util::stream;
    use tokio::time::{Instant, sleep};
    use tower_service::Service;

    use super::*;
    use crate::admin::access::Caller;
    use crate::admin::tests::bare_app;

    /// How a body that never ends is answered, and when.
    async fn answer(method: &str, caller: Caller) -> (u16, Option<String>, Duration) {
        // A byte a second: never silent for long.
        let bytes = stream::unfold((), async |()| {
            sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
        });
        let path = "/api/v1/services/echo/scale";
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let mut request = request.body(Body::from_stream(Box::pin(bytes))).unwrap();
        request.extensions_mut().insert(caller);
        let began = Instant::now();
        let answer = bare_app().call(request).await.unwrap();
        let connection = answer.headers().get("connection").map(|its| its.to_str().unwrap());
        (answer.status().as_u16(), connection.map(str::to_owned), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_ends_never_is_answered_in_time_and_its_connection_closed() {
        let (status, connection, after) =
            answer("POST", Caller::Socket { uid: None, pid: None }).await;
        assert_eq!((status, connection.as_deref()), (408, Some("close")));
        assert!((IN..IN * 2).contains(&after), "{after:?}");
        // A caller that may change nothing is told so at once.
        let (status, _, after) = answer("POST", Caller::Tcp(([127, 0, 0, 1], 9).into())).await;
        assert_eq!((status, after), (403, Duration::ZERO));
    }
}
