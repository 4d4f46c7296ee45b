//! Reads files that containers have in memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytesize::ByteSize;
use indexmap::IndexMap;

use crate::config::decode::{Cx, Decode};
use crate::config::keys::Tell;
use crate::config::name::Name;
use crate::config::report::Mistake;
use crate::config::tree::Node;
use crate::config::value::FilePath;
use crate::spec::Secrets;

/// The largest file, in bytes: as much as Docker takes for a secret of a swarm.
const LARGEST: u64 = 500 << 10;

impl Decode for Secrets {
    const WHAT: &'static str = "a map such as {\"db-password\": \"/etc/ganger/db-password\"}";
    const TELL: Tell = Tell::Path;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let mut files = IndexMap::new();
        for (name, node) in cx.map::<Name>(node, Self::WHAT)? {
            let Some(FilePath(path)) = cx.decode::<FilePath>(node) else { continue };
            match read(&path) {
                Ok(content) if content.len() as u64 <= LARGEST => {
                    if content.is_empty() {
                        let title = format!("{} is empty", path.display());
                        cx.warnings.push(Mistake::new(&node.span, title));
                    }
                    files.extend(name.map(|name| (name.value.to_string(), content)));
                }
                Ok(_) => {
                    let most = ByteSize(LARGEST);
                    let title = format!("{} is larger than {most}", path.display());
                    cx.report(Mistake::new(&node.span, title).help("use `mounts`, or an image"));
                }
                Err(error) => {
                    let title = format!("cannot use {}: {error}", path.display());
                    let help = "it is a file of this machine, not of the daemon's; its path is relative to the file \
                                that names it";
                    cx.report(Mistake::new(&node.span, title).help(help));
                }
            }
        }
        Some(Self(Arc::new(files)))
    }
}

/// A file, as far as is needed to see that it is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut content)?;
    Ok(content)
}
