//! Who asks, and what they may.
//!
//! Clients that may write to the socket may ask and change. By TCP the client may be a browser,
//! which sends requests for any page that is open: requests have to name this server as their host,
//! so that no name of another site leads here (DNS rebinding), and changes have to come from a page
//! of this server. They need the token.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::aside::Aside;
use crate::token::{TokenFile, TokenResult};

/// The headers of every answer, for browsers.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];
/// The header that says whose page asks.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The headers that proxies add to requests.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"];
/// The paths for everybody: load balancers have no token.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

/// The rules for requests by TCP.
#[derive(Debug, Clone, Default)]
pub struct AccessRules {
    /// The token of those who may change something.
    pub token: Option<TokenFile>,
    /// The names of this server, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// Nothing is told without the token: other machines may ask.
    pub is_public: bool,
}

/// Checks requests against the rules.
#[derive(Debug)]
pub(super) struct Gate {
    rules: AccessRules,
    tokens: Aside<TokenResult>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller {
    /// A process of this machine, by the socket; as far as the kernel knows it.
    Socket { uid: Option<u32>, pid: Option<i32> },
    /// Somebody at this address.
    Tcp(SocketAddr),
}

/// Who asks; whether they may change something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub(super) caller: Caller,
    /// Why not; `None` if they may.
    refused: Option<Refused>,
}

/// Somebody who may change something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor(Caller);

/// Why somebody may not change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// There is no token, so that nobody may.
    ReadOnly,
    /// The token was not shown.
    NoToken,
    /// The token was not shown at a public address: the caller learns only whether clients can be
    /// sent here.
    Stranger,
}

// === impl Caller ===

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Socket { uid, pid } => {
                let known = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
                let (uid, pid) = (uid.map(|n| n.to_string()), pid.map(|n| n.to_string()));
                write!(f, "uid {} pid {}", known(uid), known(pid))
            }
        }
    }
}

// === impl Actor ===

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // An unchecked caller may do nothing.
        let access = parts.extensions.get::<Access>().ok_or_else(Problem::read_only)?;
        match access.refused {
            None => Ok(Self(access.caller)),
            Some(Refused::ReadOnly) => Err(Problem::read_only()),
            Some(Refused::NoToken | Refused::Stranger) => Err(Problem::unauthorized()),
        }
    }
}

// === impl Access ===

impl Access {
    /// Whether its caller may change something.
    pub(super) fn may_act(&self) -> bool {
        self.refused.is_none()
    }

    /// Whether its caller may learn what there is.
    pub(super) fn may_look(&self) -> bool {
        self.refused != Some(Refused::Stranger)
    }
}

// === impl Gate ===

impl Gate {
    /// A gate that applies these rules.
    pub(super) fn of(rules: AccessRules) -> Self {
        Self { rules, tokens: Aside::default() }
    }

    async fn judge(&self, caller: Caller, request: &Parts) -> Result<Access, Problem> {
        if let Caller::Socket { .. } = caller {
            return Ok(Access { caller, refused: None });
        }
        let Self { rules, .. } = self;
        let (headers, path) = (&request.headers, request.uri.path());
        let host = rules.host(headers)?;
        if !matches!(request.method, Method::GET | Method::HEAD) {
            from_here(headers, host)?;
        }
        // A proxy asks from this machine, and for anybody.
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let refused = match (&rules.token, shown(headers)) {
            (Some(file), Some(shown)) => match file.read_aside(&self.tokens).await {
                Ok(token) if is_same(token.as_bytes(), &shown) => None,
                Ok(_) => return Err(Problem::unauthorized()),
                Err(why) => {
                    tracing::error!(why, "the admin server cannot read its token");
                    return Err(Problem::no_token_file());
                }
            },
            (token, _) if rules.is_public || is_forwarded => match token {
                _ if OPEN.contains(&path) => Some(Refused::Stranger),
                Some(_) => return Err(Problem::unauthorized()),
                None => return Err(Problem::forwarded()),
            },
            (Some(_), None) => Some(Refused::NoToken),
            (None, _) => Some(Refused::ReadOnly),
        };
        Ok(Access { caller, refused })
    }
}

// === impl AccessRules ===

impl AccessRules {
    /// The host that a request is for, which has to be this server.
    fn host<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((v6, _)) => v6,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // No name of another site is an address.
        let ours = name == "localhost" || name.parse::<IpAddr>().is_ok();
        match ours || self.hosts.contains(&name) {
            true => Ok(host),
            false => Err(Problem::foreign_host(host)),
        }
    }
}

/// Whether a change is asked for by a page of this server, or by no page.
fn from_here(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let word = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = word(&ORIGIN).is_none_or(|origin| {
        let origin = origin.split_once("://").map_or(origin, |(_, origin)| origin);
        origin.eq_ignore_ascii_case(host)
    });
    let site = word(&FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none"));
    if origin && site { Ok(()) } else { Err(Problem::foreign_origin()) }
}

/// The token that a request shows: as `Bearer`, or as the password of any user.
fn shown(headers: &HeaderMap) -> Option<Vec<u8>> {
    let shown = headers.get(AUTHORIZATION)?.to_str().unwrap_or("?");
    let (scheme, rest) = shown.split_once(' ').unwrap_or((shown, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    let decoded = STANDARD.decode(rest.trim()).unwrap_or_default();
    let colon = decoded.iter().position(|byte| *byte == b':');
    // A token that cannot be decoded is wrong.
    Some(colon.map_or_else(Vec::new, |colon| decoded[colon + 1..].to_vec()))
}

/// Takes the same time wherever they differ.
fn is_same(token: &[u8], shown: &[u8]) -> bool {
    Sha256::digest(token) == Sha256::digest(shown)
}

/// Lets a request pass, or not, and tells browsers what pages of this server may do.
pub(super) async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let access = match parts.extensions.get::<Caller>().copied() {
        Some(caller) => gate.judge(caller, &parts).await,
        None => Err(Problem::read_only()),
    };
    let mut response = match access {
        Ok(access) => {
            parts.extensions.insert(access);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
