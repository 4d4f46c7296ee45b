//! Services in files of their own: `include`.

use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};

use super::decode::{Cx, Decode, Spanned};
use super::keys::Tell;
use super::report::{Mistake, Span};
use super::source_text::SourceText;
use super::tree::{Item, Node, Shape, parse};
use super::value::Text;
use super::{ConfigError, text_of};

const INCLUDE: &str = "include";
const SERVICES: &str = "services";

/// The files that a file includes, as it names them.
#[derive(Clone, PartialEq)]
pub(super) struct Includes(Vec<Spanned<Text>>);

impl Decode for Includes {
    const WHAT: &'static str = "a list of files or patterns such as [\"services/*.ron\"]";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.list(node, Self::WHAT).map(Self)
    }
}

/// Reads the files that a file includes, and adds them to the sources. Keys missing in the file
/// may have been in one that cannot be read.
pub(super) fn include(
    sources: &mut SourceText,
    file: &mut Node,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Node> {
    let named = named(sources, file, mistakes);
    let (found, mut trees) = (mistakes.len(), Vec::new());
    for Spanned { value: Text(name), span } in named {
        let paths = match matching(&sources.main().dir, &name) {
            Ok(paths) => paths,
            Err(why) => {
                mistakes.push(Mistake::new(&span, why));
                continue;
            }
        };
        // A directory that was moved must not silently remove its services.
        if paths.is_empty() {
            let mistake = Mistake::new(&span, format!("{name:?} matches no file"));
            mistakes.push(mistake.help("leave it out as long as there is none"));
        }
        for path in paths {
            if let Some(start) = add(sources, &path, &span, mistakes) {
                let mut wrong = Vec::new();
                trees.extend(parse(sources.text(), start, &mut wrong));
                mistakes.extend(wrong);
            }
        }
    }
    file.whole &= mistakes.len() == found;
    trees
}

/// Gives the services of an included file to the file that includes it.
pub(super) fn merge(file: &mut Node, included: &Node, cx: &mut Cx<'_>) {
    cx.fields(included, "an included file", |f| f.names(&[SERVICES]));
    let text = cx.sources.text();
    let (Shape::Struct { items, .. }, Shape::Struct { items: more, .. }) =
        (&mut file.shape, &included.shape)
    else {
        return;
    };
    let is_services = |item: &Item| item.is_named(SERVICES, text);
    let Some(more) = more.iter().find(|item| is_services(item)) else { return };
    let Some(services) = items.iter_mut().find(|item| is_services(item)) else {
        return items.push(more.clone());
    };
    let Shape::Map(more) = &more.value.unwrapped(text).shape else {
        _ = cx.expected::<()>(&more.value, "a map of services");
        return;
    };
    // Mistakes in the file's own map are reported where it is read.
    if let Shape::Map(services) = services.value.shape_mut(text) {
        services.extend(more.iter().cloned());
    }
}

fn named(sources: &SourceText, file: &Node, mistakes: &mut Vec<Mistake>) -> Vec<Spanned<Text>> {
    let Shape::Struct { items, .. } = &file.shape else { return Vec::new() };
    let include = items.iter().find(|item| item.is_named(INCLUDE, sources.text()));
    let Some(Item { value, .. }) = include else { return Vec::new() };
    let mut cx = Cx { sources, mistakes: Vec::new(), warnings: Vec::new() };
    let read = cx.optional::<Includes>(value);
    mistakes.extend(cx.mistakes);
    read.map_or(Vec::new(), |Includes(named)| named)
}

/// The file of this name, or those that match a pattern, in alphabetical order. The error says why
/// they are not known.
fn matching(dir: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
    if !name.contains(['*', '?', '[']) {
        return Ok(vec![dir.join(name)]);
    }
    let pattern = Path::new(&Pattern::escape(&dir.to_string_lossy())).join(name);
    // As in a shell: what editors leave beside a file begins with a dot.
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let paths = glob_with(&pattern.to_string_lossy(), options)
        .map_err(|error| format!("{name:?} is not a pattern: {}", error.msg))?;
    let path = |entry: glob::GlobResult| {
        entry.map_err(|error| {
            format!("cannot look into {}: {}", error.path().display(), error.error())
        })
    };
    paths.map(path).collect()
}

/// Adds a file, which is named at `place`, to the sources; returns where its text begins. Reports
/// why it cannot be read.
fn add(
    sources: &mut SourceText,
    path: &Path,
    place: &Span,
    mistakes: &mut Vec<Mistake>,
) -> Option<usize> {
    let shown = path.display().to_string();
    let same = |origin: &str| match (fs::canonicalize(origin), fs::canonicalize(path)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    let mistake = if same(&sources.main().origin) {
        Mistake::new(place, format!("{shown} would include itself"))
            .help("give the files with services a directory, or an ending, of their own")
    } else if sources.files().iter().any(|file| same(&file.origin)) {
        Mistake::new(place, format!("{shown} is included already"))
    } else {
        match text_of(path) {
            Ok(text) => {
                return Some(sources.add(&shown, path.parent().unwrap_or(Path::new("")), &text));
            }
            Err(ConfigError::Unreadable { source, .. }) => {
                let mistake = Mistake::new(place, format!("cannot include {shown}: {source}"));
                match path.is_dir() {
                    true => mistake.help(format!("name the files in it: \"{shown}/*.ron\"")),
                    false => mistake,
                }
            }
            Err(error) => Mistake::new(place, error.to_string()),
        }
    };
    mistakes.push(mistake);
    None
}
