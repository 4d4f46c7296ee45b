//! The options of a file system in memory.

use crate::config::decode::{Cx, Decode, Flaw};
use crate::config::tree::Node;

/// Options of a mount, as the engine takes them.
#[derive(Clone, PartialEq)]
pub(super) struct TmpfsOptions {
    pub(super) text: String,
    /// How large it may get, in bytes, where that is said in bytes.
    pub(super) size: Option<u64>,
}

// === impl TmpfsOptions ===

impl Decode for TmpfsOptions {
    const WHAT: &'static str = "options of a mount such as \"size=16m\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            let mut size = None;
            for option in text.split(',').map(str::trim) {
                match option.split_once('=') {
                    Some(("size", value)) => size = bytes(value)?,
                    None if option == "size" => return Err(no_size(option)),
                    _ => {}
                }
            }
            Ok(Self { text, size })
        })
    }
}

/// A size as the kernel reads it: a number, with a unit of which each is 1024 of the one before,
/// or a share of the machine's memory.
fn bytes(text: &str) -> Result<Option<u64>, Flaw> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "%" => 0,
        _ => return Err(no_size(text)),
    };
    let number: u64 = number.parse().map_err(|_| no_size(text))?;
    if number == 0 {
        let title = "a size of 0 sets no limit for a file system in memory";
        return Err(Flaw::new(title).help("write how large it may get, as in \"size=16m\""));
    }
    match number.checked_mul(1 << shift) {
        Some(share) if unit == "%" && share <= 100 => Ok(None),
        Some(bytes) if unit != "%" => Ok(Some(bytes)),
        _ => Err(Flaw::new(format!("{text:?} is more than any machine has"))),
    }
}

fn no_size(text: &str) -> Flaw {
    Flaw::new(format!("{text:?} is not a size of a file system in memory"))
        .help("write a whole number with k, m or g, which are 1024 apart, as in \"size=16m\"")
}
