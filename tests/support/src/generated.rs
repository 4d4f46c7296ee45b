//! Files of the tree that are made from the code.

use std::fs;
use std::path::Path;

/// Fails when a file of the tree at `root` is not as it has to be, and writes it: whoever changed
/// its `source` looks at the result and commits it.
///
/// # Panics
/// See above.
#[track_caller]
pub fn assert_generated(root: &str, path: &str, source: &str, expected: &str) {
    let file = Path::new(root).join(path);
    let text = fs::read_to_string(&file).unwrap_or_default();
    if text != expected {
        fs::write(file, expected).expect(path);
        panic!("{path} was not what {source} says. It is now: look at it, and commit it");
    }
}

/// The same for the part of a file between the lines `<!-- NAME -->` and `<!-- end of NAME -->`.
///
/// # Panics
/// Likewise, and where the lines are not there.
#[track_caller]
pub fn assert_generated_part(root: &str, path: &str, name: &str, source: &str, part: &str) {
    let text = fs::read_to_string(Path::new(root).join(path)).expect(path);
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).expect(name);
    let (_, after) = rest.split_once(&end).expect(name);
    assert_generated(root, path, source, &format!("{before}{begin}{part}{end}{after}"));
}
