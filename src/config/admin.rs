//! `admin`: where a running Ganger is asked what it does, and told what to do.

use std::path::PathBuf;

use super::decode::{Cx, Decode};
use super::keys::{keys, optional};
use super::report::Mistake;
use super::tree::Node;
use super::value::FilePath;

/// The longest path of a unix socket, in bytes, that the kernel takes.
const LONGEST: usize = 107;

/// Where a running Ganger is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// The path of the unix socket. `None` is [`Admin::usual_socket`], where that can be made.
    pub socket: Option<PathBuf>,
}

keys! {
    /// The keys of `admin`.
    ADMIN, AdminKeys, ADMIN_ROWS;
    socket: FilePath = optional(
        "/run/ganger/INSTANCE.sock, where it can be made",
        "\"/run/ganger/edge-1.sock\"",
        "A unix socket by which `ganger status` and others ask. Who may write to it may also cut connections.",
    );
}

// === impl Admin ===

impl Admin {
    /// The socket of an instance whose configuration names none.
    #[must_use]
    pub fn usual_socket(instance: &str) -> PathBuf {
        PathBuf::from(format!("/run/ganger/{instance}.sock"))
    }
}

impl Decode for Admin {
    const WHAT: &'static str = "settings in brackets";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "`admin`", |f| {
            let socket = f.optional(ADMIN.socket).map(|path| path.0);
            f.not_yet("listen", "leave it out: the socket alone is served");
            f.not_yet("token_file", "leave it out: the socket alone is served");
            let place = f.place(ADMIN.socket);
            if let (Some(path), Some(place)) = (&socket, place)
                && path.as_os_str().len() > LONGEST
            {
                let title = format!("the path of a socket has at most {LONGEST} bytes");
                f.cx.report(Mistake::new(&place, title).help("name a shorter one"));
            }
            Self { socket }
        })
    }
}
