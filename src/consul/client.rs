//! A Consul server or agent, and how it is asked: with a token, by a deadline.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::timeout;

use crate::aside::Aside;
use crate::endpoint::Endpoint;
use crate::http::{self, HttpError, Transport};
use crate::token::{TokenFile, TokenResult};

/// How often a request is sent again when the connection had ended before any of it was sent. A
/// server that does not take our certificate ends it as soon as it is made, now and then before
/// there is a request that could be told why.
const UNSENT: u32 = 3;

/// A server or agent.
#[derive(Debug)]
pub(crate) struct ConsulClient {
    transport: Transport,
    token: Option<TokenFile>,
    tokens: Aside<TokenResult>,
    /// The rights that the token has to have, for people.
    needs: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// The token cannot be read; nothing was asked.
    #[error("no ACL token: {0}")]
    Token(String),
    /// The token is not known, or lacks a right.
    #[error("{0}")]
    Denied(String),
    /// Anything else.
    #[error("{}", explain(.0))]
    Http(#[from] HttpError),
}

/// A right to a service, as Consul answers whether the token has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Right {
    segment: String,
    allow: bool,
}

// === impl ConsulClient ===

impl ConsulClient {
    /// Makes no connection yet. `needs` are the rights that its token has to have, for people.
    pub(crate) fn new(server: Endpoint, token: Option<TokenFile>, needs: String) -> Self {
        Self { transport: Transport::new(server), token, tokens: Aside::default(), needs }
    }

    /// Its URL, as the configuration has it.
    pub(crate) fn url(&self) -> String {
        let server = self.transport.endpoint();
        let scheme = if server.tls().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", server.authority())
    }

    /// Asks for `path`; returns the headers of the answer as well.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Duration,
    ) -> Result<(HeaderMap, T), AskError> {
        let (headers, body) = self.send(Method::GET, path, None, deadline).await?;
        Ok((headers, serde_json::from_slice(&body).map_err(HttpError::from)?))
    }

    /// Sends a PUT request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; what was sent may be carried
    /// out all the same.
    pub(crate) async fn put(
        &self,
        path: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<(), AskError> {
        self.send(Method::PUT, path, body, deadline).await.map(drop)
    }

    /// The services among these that the token may not `read` or `write`, as far as can be learned:
    /// a Consul without ACLs says nothing.
    ///
    /// Consul leaves out of its answers what a token may not read, and only newer versions say that
    /// they have: hence the request that Consul's own pages make.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn lacks(
        &self,
        access: &str,
        services: &[String],
        datacenter: Option<&str>,
        deadline: Duration,
    ) -> Result<Vec<String>, AskError> {
        let right =
            |name: &String| json!({"Resource": "service", "Access": access, "Segment": name});
        let rights: Value = services.iter().map(right).collect();
        let mut path = "/v1/internal/acl/authorize".to_owned();
        if let Some(datacenter) = datacenter {
            path.push_str(&format!("?dc={}", http::escape(datacenter)));
        }
        let rights: Vec<Right> = match self.send(Method::POST, &path, Some(&rights), deadline).await
        {
            Ok((_, body)) => serde_json::from_slice(&body).map_err(HttpError::from)?,
            // No ACLs, or a version that cannot be asked.
            Err(AskError::Http(HttpError::Status { .. })) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(rights.into_iter().filter(|right| !right.allow).map(|right| right.segment).collect())
    }

    /// The error of a refusal, with its reason.
    pub(crate) fn denied(&self, said: &str) -> AskError {
        let Self { token, needs, .. } = self;
        AskError::Denied(match token {
            Some(TokenFile(path)) => {
                format!("the ACL token in {} will not do: {said}; it needs {needs}", path.display())
            }
            None => {
                format!("an ACL token is wanted: {said}; add `token_file` with one for {needs}")
            }
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<(HeaderMap, Bytes), AskError> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        if let Some(token) = &self.token {
            let token = token.read_aside(&self.tokens).await.map_err(AskError::Token)?;
            request.headers_mut().insert("x-consul-token", token);
        }
        let asked = async {
            let mut left = UNSENT;
            loop {
                // A new connection for each: a kept one may be to an agent that is no more.
                self.transport.renew();
                match self.transport.fetch(path, request.clone()).await {
                    Err(HttpError::Connect(error))
                        if left > 0 && error.kind() == io::ErrorKind::ConnectionAborted =>
                    {
                        left -= 1;
                    }
                    answer => return answer,
                }
            }
        };
        match timeout(deadline, asked).await.unwrap_or(Err(HttpError::Late(deadline))) {
            Err(HttpError::Status { code: 403, message }) => Err(self.denied(&message)),
            answer => Ok(answer?),
        }
    }
}

// === impl AskError ===

impl AskError {
    /// Whether the token is the cause.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Denied(_))
    }
}

fn explain(error: &HttpError) -> String {
    match error {
        HttpError::Status { message, .. } if message.contains("to an HTTPS server") => {
            "it speaks TLS there: write https:// in place of http://, and name its authority"
                .to_owned()
        }
        HttpError::Status { message, .. } if message.contains("No path to datacenter") => {
            format!("{message}: it knows no such one; look at `datacenters`")
        }
        error => error.to_string(),
    }
}
