//! Reads what a service takes: words, texts, lists and maps.

use std::fs;

use super::tmpfs::TmpfsOptions;
use crate::config::decode::{Cx, Decode, Flaw, Spanned};
use crate::config::keys::{Tell, keys, or, required};
use crate::config::name::Name;
use crate::config::report::Mistake;
use crate::config::tree::Node;
use crate::config::value::{AbsolutePath, FilePath, Text};
use crate::spec::{Env, Mount, Network, Preconnect, Publish, Pull, Reach, Sandbox, StockedAs};

/// The name of an environment variable.
#[derive(Clone, PartialEq, Eq, Hash)]
struct EnvKey(String);

/// `USER[:GROUP]`.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct User(pub(super) String);

/// The arguments of a container, of which there is at least one.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct ProgramArguments(pub(super) Vec<String>);

/// Environment variables.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Variables(pub(super) Env);

/// Environment variables of a file.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct EnvFile(pub(super) Env);

/// A mount and the place of its target.
#[derive(Clone, PartialEq)]
pub(super) struct FoundMount {
    pub(super) mount: Mount,
    pub(super) target: Spanned<String>,
}

/// Mounts, each at a path of its own as far as this list says.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct Mounts(pub(super) Vec<FoundMount>);

/// File systems in memory.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct MemoryFiles {
    /// Their paths and options.
    pub(super) found: Vec<(Spanned<String>, String)>,
    /// How large they may get, where that is said in bytes.
    pub(super) sizes: Vec<Spanned<u64>>,
}

keys! {
    /// The keys of a mount.
    MOUNT, MountKeys, MOUNT_ROWS;
    source: AbsolutePath = required("\"/srv/data\"", "A path of the daemon's machine.");
    target: AbsolutePath = required("\"/data\"", "Where the container sees it.");
    read_only: bool = or("true", "The container cannot write to it.");
}

// === impl Decode for the parts ===

impl Decode for Pull {
    const WHAT: &'static str = "`IfMissing`, `Always` or `Never`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known =
            [("IfMissing", Self::IfMissing), ("Always", Self::Always), ("Never", Self::Never)];
        cx.choice(node, &known)
    }
}

impl Decode for Preconnect {
    const WHAT: &'static str = "`Off`, `Tcp` or `Banner`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = [("Off", Self::Off), ("Tcp", Self::Tcp), ("Banner", Self::Banner)];
        cx.choice(node, &known)
    }
}

impl Decode for Sandbox {
    const WHAT: &'static str = "`Fresh`, `Pooled` or `Cell`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(node, &[("Fresh", Self::Fresh), ("Pooled", Self::Pooled), ("Cell", Self::Cell)])
    }
}

impl Decode for StockedAs {
    const WHAT: &'static str = "`Started` or `Created`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(node, &[("Started", Self::Started), ("Created", Self::Created)])
    }
}

impl Decode for Reach {
    const WHAT: &'static str = "`Auto`, `Namespace` or `Published`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known =
            [("Auto", Self::Auto), ("Namespace", Self::Namespace), ("Published", Self::Published)];
        cx.choice(node, &known)
    }
}

impl Decode for Publish {
    const WHAT: &'static str = "`Own` or `Any`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.choice(node, &[("Own", Self::Own), ("Any", Self::Any)])
    }
}

impl Decode for Network {
    const WHAT: &'static str = "`Isolated`, `Bridge`, `Sealed` or `Named(\"net\")`";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if cx.variant(node, &["Isolated", "Bridge", "Sealed", "Named"])? != "Named" {
            let plain =
                [("Isolated", Self::Isolated), ("Bridge", Self::Bridge), ("Sealed", Self::Sealed)];
            return cx.choice(node, &plain);
        }
        let name = cx.payload::<Spanned<Name>>(node)?;
        let flaw = match name.value.as_str() {
            "bridge" | "default" => "this is Docker's default network: write `Bridge`",
            "none" => "this is no network: write `Sealed`",
            "host" => "the network of the daemon's machine keeps containers apart from nothing",
            _ => return Some(Self::Named(name.value.to_string())),
        };
        cx.report(Mistake::new(&name.span, flaw));
        None
    }
}

impl Decode for FoundMount {
    const WHAT: &'static str = "(source: \"/srv/data\", target: \"/data\", read_only: true)";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.fields(node, "the mount", |f| {
            let (source, target) = (f.required(MOUNT.source), f.required(MOUNT.target));
            let read_only = f.or(MOUNT.read_only);
            let (source, target, span) = (source?, target?, f.place(MOUNT.target)?);
            let mount = Mount { source: source.0, target: target.0.clone(), read_only };
            Some(Self { mount, target: Spanned { value: target.0, span } })
        })?
    }
}

impl Decode for ProgramArguments {
    const WHAT: &'static str = "a list such as [\"/echo\", \"--loud\"]";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let words = cx.list::<String>(node, Self::WHAT)?;
        if node.is_empty() {
            let title = "this command is empty";
            let help = "leave `command` out to run what the image runs";
            cx.report(Mistake::new(&node.span, title).help(help));
        }
        Some(Self(words.into_iter().map(|word| word.value).collect()))
    }
}

impl Decode for Variables {
    const WHAT: &'static str = "a map such as {\"KEY\": \"value\"}";
    const TELL: Tell = Tell::Names;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let all = cx.pairs::<EnvKey, String>(node, Self::WHAT)?;
        Some(Self(Env(all.into_iter().map(|(name, value)| (name.0, value)).collect())))
    }
}

impl Decode for EnvFile {
    const WHAT: &'static str = "the path of a file with lines KEY=value";
    const TELL: Tell = Tell::Path;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let path = cx.decode::<FilePath>(node)?.0;
        let read = match fs::read_to_string(&path) {
            Ok(text) => variables(&text),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(env) => Some(Self(env)),
            Err(why) => {
                let title = format!("cannot use {}: {why}", path.display());
                let help = "a line is KEY=value, empty, or a comment that begins with #";
                cx.report(Mistake::new(&node.span, title).help(help));
                None
            }
        }
    }
}

/// The variables of a file, as `docker run --env-file` reads it: what follows the first `=` is the
/// value as it stands. The error never shows a line: it may be secret.
fn variables(text: &str) -> Result<Env, String> {
    let mut env = Env::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                env.0.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(format!("line {} is not KEY=value", at + 1)),
        }
    }
    Ok(env)
}

impl Decode for Mounts {
    const WHAT: &'static str = "a list such as [(source: \"/srv/data\", target: \"/data\")]";
    const TELL: Tell = Tell::Each(MOUNT_ROWS);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let mounts = cx.list::<FoundMount>(node, Self::WHAT)?;
        Some(Self(mounts.into_iter().map(|mount| mount.value).collect()))
    }
}

impl Decode for MemoryFiles {
    const WHAT: &'static str = "a map such as {\"/tmp\": \"size=16m\"}";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let entries = cx.map::<AbsolutePath>(node, Self::WHAT)?;
        let (mut found, mut sizes) = (Vec::new(), Vec::new());
        for (path, options) in entries {
            let options = cx.decode::<Spanned<TmpfsOptions>>(options);
            sizes.extend(options.as_ref().and_then(|options| {
                Some(Spanned { value: options.value.size?, span: options.span.clone() })
            }));
            let Some(Spanned { value: path, span }) = path else { continue };
            let options = options.map_or_else(String::new, |options| options.value.text);
            found.push((Spanned { value: path.0, span }, options));
        }
        Some(Self { found, sizes })
    }
}

impl Decode for EnvKey {
    const WHAT: &'static str = "the name of a variable in quotes";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let key = cx.decode::<Spanned<Text>>(node)?;
        if key.value.0.contains('=') {
            let title = "the name of an environment variable cannot hold `=`";
            let mistake = Mistake::new(&key.span, title);
            cx.report(mistake.help("write `\"KEY\": \"value\"`"));
            return None;
        }
        Some(Self(key.value.0))
    }
}

impl Decode for User {
    const WHAT: &'static str = "a user such as \"65534:65534\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let part =
                |part: &str| !part.is_empty() && !part.contains(|c: char| !c.is_ascii_graphic());
            let well = text.split(':').all(part) && text.split(':').count() <= 2;
            if !well {
                return Err(
                    Flaw::new(format!("{text:?} is not a user")).help("write USER or USER:GROUP")
                );
            }
            Ok(Self(text))
        })
    }
}
