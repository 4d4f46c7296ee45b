//! The client library's way to an engine's API.
//!
//! What leak safety rests on goes past it, by plain GETs: it must not depend on
//! generated models, where one unknown value fails a whole list.

use std::sync::{Arc, OnceLock};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest};

use crate::endpoint::Endpoint;
use crate::http::{open, send};

/// The client's own timeout, in seconds and for headers only: a backstop.
const BACKSTOP: u64 = 900;

/// Makes a client for the engine, that nothing is sent by yet. It asks for the
/// version of the API that `version` is set to, once it is set.
pub(super) fn client(
    endpoint: &Endpoint,
    version: &Arc<OnceLock<String>>,
) -> Result<bollard::Docker, Error> {
    let (endpoint, version) = (endpoint.clone(), Arc::clone(version));
    let transport = move |request: BollardRequest| {
        let (endpoint, version) = (endpoint.clone(), Arc::clone(&version));
        async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let path = match version.get() {
                // The client leaves it out, which engines mean to stop accepting.
                Some(version) if !path.starts_with("/v1.") => format!("/v{version}{path}"),
                _ => path.to_owned(),
            };
            // The one place where an io::Error comes from: nothing was sent.
            let (stream, _) = open(&endpoint).await?;
            Ok(send(stream, &endpoint, &path, request).await?)
        }
    };
    let name = Some("http://engine");
    bollard::Docker::connect_with_custom_transport(transport, name, BACKSTOP, API_DEFAULT_VERSION)
}
