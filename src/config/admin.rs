//! `admin`: where a running Ganger is asked what it does, and told what to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::decode::{Cx, Decode, Fields, Flaw};
use super::keys::{Tell, keys, optional};
use super::report::Mistake;
use super::tree::Node;
use super::value::FilePath;
use crate::token::TokenFile;

/// The longest path of the socket, in bytes. The kernel takes 107, of which a take-over needs some
/// for the socket that it makes beside this one.
const LONGEST: usize = 107 - BESIDE.len();

/// The suffix of a socket's path until it replaces another process's socket.
pub(crate) const BESIDE: &str = ".next";

/// Where a running Ganger is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// The path of the unix socket. `None` is [`Admin::usual_socket`], where that can be made.
    pub socket: Option<PathBuf>,
    /// The address for HTTP requests, too.
    pub listen: Option<SocketAddr>,
    /// The token of those who may change something there.
    pub token_file: Option<TokenFile>,
    /// Host names for that address, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
}

/// Names of machines, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SiteNames(Vec<String>);

/// The name of a machine, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SiteName(String);

keys! {
    /// The keys of `admin`.
    ADMIN, AdminKeys, ADMIN_ROWS;
    socket: FilePath = optional(
        "/run/ganger/INSTANCE.sock, where it can be made",
        "\"/run/ganger/edge-1.sock\"",
        "A unix socket by which `ganger status` and others ask. Who may write to it may also cut connections.",
    );
    listen: SocketAddr = optional(
        "none",
        "\"127.0.0.1:5455\"",
        "An address for HTTP, too: the status page, metrics and the API, to be read by whoever is on this machine. On any \
         other address nothing is told without the token.",
    );
    token_file: TokenFile = optional(
        "none: nothing can be changed by `listen`",
        "\"admin.token\"",
        "A file that holds the token of those who may read and change by `listen`: sent as `Bearer`, or as the password of \
         any user. It is read for each request.",
    );
    hosts: SiteNames = optional(
        "`localhost` and IP addresses",
        "[\"ganger.example.com\"]",
        "More names that `listen` may be asked by, such as that of a proxy before it. Requests for another are refused, so that a \
         foreign page cannot ask in its reader's name. With such names nothing is told without the token.",
    );
}

// === impl Admin ===

impl Admin {
    /// The socket of an instance whose configuration names none.
    #[must_use]
    pub fn usual_socket(instance: &str) -> PathBuf {
        PathBuf::from(format!("/run/ganger/{instance}.sock"))
    }

    /// Whether its address is open beyond this machine: to other machines, or by a proxy.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.listen.is_some_and(|listen| !listen.ip().is_loopback() || !self.hosts.is_empty())
    }
}

impl Decode for Admin {
    const WHAT: &'static str = "settings in brackets";
    const TELL: Tell = Tell::Keys(&[("", ADMIN_ROWS)]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`admin`", |f| {
            let this = Self {
                socket: f.optional(ADMIN.socket).map(|path| path.0),
                listen: f.optional(ADMIN.listen),
                token_file: f.optional(ADMIN.token_file),
                hosts: f.optional(ADMIN.hosts).map_or_else(Vec::new, |hosts| hosts.0),
            };
            this.check(f);
            this
        })
    }
}

impl Admin {
    /// Checks the values of its keys.
    fn check(&self, f: &mut Fields<'_, '_, '_>) {
        let long = |path: &PathBuf| path.as_os_str().len() > LONGEST;
        if let (Some(place), true) = (f.place(ADMIN.socket), self.socket.as_ref().is_some_and(long))
        {
            let title = format!("the path of a socket has at most {LONGEST} bytes");
            let help =
                format!("name a shorter one: a take-over makes another with `{BESIDE}` at its end");
            f.cx.report(Mistake::new(&place, title).help(help));
        }
        if let (Some(place), true) =
            (f.place(ADMIN.listen), self.is_public() && self.token_file.is_none())
        {
            let title = "whoever reaches this address could see all clients and containers";
            let help = "add `token_file`, or listen on 127.0.0.1 without `hosts` and come by SSH";
            f.cx.report(Mistake::new(&place, title).help(help));
        }
        for place in [f.place(ADMIN.token_file), f.place(ADMIN.hosts)].into_iter().flatten() {
            if self.listen.is_none() {
                let title = "this is of use only with `listen`: the socket needs none";
                f.cx.report(Mistake::new(&place, title).help("add `listen`, or leave it out"));
            }
        }
    }
}

// === impl SiteNames ===

impl Decode for SiteNames {
    const WHAT: &'static str = "a list of names `[\"ganger.example.com\"]`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let names = cx.list::<SiteName>(node, Self::WHAT)?;
        Some(Self(names.into_iter().map(|name| name.value.0).collect()))
    }
}

// === impl SiteName ===

impl Decode for SiteName {
    const WHAT: &'static str = "the name of a machine such as \"ganger.example.com\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if text.is_empty() || !text.bytes().all(fits) {
                let flaw = Flaw::new(format!("{text:?} is not the name of a machine"));
                return Err(flaw.help("write it without `http://`, port and path"));
            }
            Ok(Self(text.to_ascii_lowercase()))
        })
    }
}
