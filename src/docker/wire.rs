//! The client library's way to an engine's API.
//!
//! Calls on which leak safety rests go past the library, by plain GETs: they must not depend on
//! generated models, where one unknown value fails a whole list.

use std::sync::{Arc, OnceLock};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest};
use hyper::Request;
use hyper::header::HeaderValue;

use crate::http::{SendError, Transport};

/// The client's own timeout, in seconds and for headers only: a backstop.
const BACKSTOP: u64 = 900;

/// Makes a client for the engine, by which nothing is sent yet. The client asks for
/// the version of the API that `version` is set to, once it is set.
pub(super) fn client(
    transport: &Arc<Transport>,
    version: &Arc<OnceLock<String>>,
) -> Result<bollard::Docker, Error> {
    let (transport, version) = (Arc::clone(transport), Arc::clone(version));
    let transport = move |mut request: BollardRequest| {
        let (transport, version) = (Arc::clone(&transport), Arc::clone(&version));
        async move {
            mend_login(&mut request);
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let path = match version.get() {
                // The client leaves the version out, which engines mean to stop accepting.
                Some(version) if !path.starts_with("/v1.") => format!("/v{version}{path}"),
                _ => path.to_owned(),
            };
            transport.send(&path, request).await.map_err(|error| match error {
                // The only source of an io::Error: nothing was sent.
                SendError::Connect(err) => Error::IOError { err },
                SendError::Broken(err) => Error::HyperLegacyError { err },
            })
        }
    };
    let name = Some("http://engine");
    bollard::Docker::connect_with_custom_transport(transport, name, BACKSTOP, API_DEFAULT_VERSION)
}

/// The client writes a registry's login in the alphabet of base64 that has `+` and `/`.
/// Engines read the one for URLs, and ignore what they cannot read.
fn mend_login<B>(request: &mut Request<B>) {
    let Some(login) = request.headers_mut().get_mut("X-Registry-Auth") else { return };
    let mended = login.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
    if let Ok(mut mended) = HeaderValue::from_str(&mended) {
        mended.set_sensitive(true);
        *login = mended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_written_as_engines_read_it() {
        // `{"password":"a~~b??"}`, in both alphabets.
        let request = Request::builder().header("X-Registry-Auth", "eyJwYXNzd29yZCI6ImF+fmI/PyJ9");
        let mut request = request.body(()).unwrap();
        mend_login(&mut request);
        let mended = &request.headers()["X-Registry-Auth"];
        assert_eq!(mended.to_str().unwrap(), "eyJwYXNzd29yZCI6ImF-fmI_PyJ9");
        assert!(mended.is_sensitive());
    }
}
