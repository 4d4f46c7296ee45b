//! The documents: that every link leads somewhere, every command that is shown exists, and the
//! README can be read at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::source::{assert_none, root};

/// The most lines of the README.
const README: usize = 200;

/// A document of the project.
struct Document {
    /// From the root of the repository.
    path: PathBuf,
    /// Its lines outside of fenced blocks.
    prose: Vec<String>,
    /// Its lines in fenced blocks.
    fenced: Vec<String>,
}

// === impl Document ===

impl Document {
    fn parse(path: PathBuf, text: &str) -> Self {
        let (mut prose, mut fenced, mut inside) = (Vec::new(), Vec::new(), false);
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if inside {
                fenced.push(line.to_owned());
            } else {
                prose.push(line.to_owned());
            }
        }
        Self { path, prose, fenced }
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }

    /// Where its links lead.
    fn links(&self) -> Vec<&str> {
        let lines = self.prose.iter();
        let parts = lines.flat_map(|line| line.split("](").skip(1));
        parts.filter_map(|part| part.split(')').next()).collect()
    }

    /// The commands that it shows: in blocks, and between backquotes.
    fn commands(&self) -> Vec<String> {
        // A code span may go on in the next line, but in no other paragraph.
        let prose = self.prose.join("\n");
        let spans = prose.split("\n\n").flat_map(|part| part.split('`').skip(1).step_by(2));
        let spans = spans.map(|span| span.replace('\n', " ")).collect::<Vec<_>>();
        let spans = spans.iter().map(String::as_str);
        let blocks = self.fenced.iter().map(|line| line.trim().trim_start_matches("$ "));
        let text = spans.chain(blocks);
        let parts = text.flat_map(|line| line.split(['#', ';', '|', '>', '(', ')']));
        let parts = parts.flat_map(|part| part.split("&&")).flat_map(|part| part.split(" -- "));
        parts.map(|part| part.trim().to_owned()).collect()
    }
}

/// The anchor of a heading: its words in lower case, joined by hyphens, without signs.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.chars().filter_map(kept).collect()
}

fn documents() -> Vec<Document> {
    let mut pending = ["", "docs", "docs/decisions", "pool"].map(PathBuf::from).to_vec();
    let mut documents = Vec::new();
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(root().join(&dir)).unwrap() {
            let name = entry.unwrap().file_name();
            let path = dir.join(&name);
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(root().join(&path)).unwrap();
                documents.push(Document::parse(path, &text));
            }
        }
    }
    assert!(documents.len() > 40, "only {} documents", documents.len());
    documents
}

/// A path without `..`, seen from the root.
fn resolved(from: &Path, link: &str) -> PathBuf {
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    path
}

/// The broken links of these documents.
fn broken(documents: &[Document], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let anchors: BTreeMap<_, _> =
        documents.iter().map(|document| (&document.path, document.anchors())).collect();
    let mut broken = Vec::new();
    for document in documents {
        for link in document.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.starts_with("http") || (file.is_empty() && anchor.is_empty()) {
                continue;
            }
            let path = match file {
                "" => document.path.clone(),
                file => resolved(&document.path, file),
            };
            let known = anchors.get(&path).is_some_and(|anchors| anchors.contains(anchor));
            if !exists(&path) || (!anchor.is_empty() && !known) {
                broken.push(format!("{}: {link}", document.path.display()));
            }
        }
    }
    broken
}

#[test]
fn every_link_leads_somewhere() {
    let broken = broken(&documents(), |path| root().join(path).exists());
    assert_none(&broken, "links to what is not there");
}

#[test]
fn the_link_check_sees_files_and_anchors() {
    let document = |path: &str, text: &str| Document::parse(path.into(), text);
    let found = |text: &str| {
        let other = document("docs/b.md", "# One, two: `three`\n```\n# not one\n```\n");
        let exists = |path: &Path| path == Path::new("docs/b.md") || path == Path::new("a.md");
        broken(&[document("a.md", text), other], exists).len()
    };
    assert_eq!(found("[x](docs/b.md) [y](docs/b.md#one-two-three) [z](https://example.org)"), 0);
    assert_eq!(found("# Here\n[x](#here)"), 0);
    assert_eq!(found("[x](b.md) [y](docs/b.md#four) [z](docs/b.md#not-one) [w](#there)"), 4);
}

/// The words of a command, without what a shell makes of it.
fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect()
}

/// The options among words, without their values.
fn options<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let options = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
    options.map(|word| word.split('=').next().unwrap_or(word)).collect()
}

/// The program's help on a verb.
fn help(verb: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ganger")).args([verb, "--help"]).output();
    let output = output.unwrap();
    if output.status.success() { String::from_utf8(output.stdout).unwrap() } else { String::new() }
}

#[test]
fn every_command_that_is_shown_exists() {
    let xtask = fs::read_to_string(root().join("xtask/src/main.rs")).unwrap();
    let (mut known, mut problems, mut seen) = (BTreeMap::new(), Vec::new(), 0);
    // Past decisions and changes may name commands that are gone.
    let current = |document: &Document| {
        !document.path.starts_with("docs/decisions") && document.path != Path::new("CHANGELOG.md")
    };
    for document in documents().iter().filter(|document| current(document)) {
        for command in document.commands() {
            let words = words(&command);
            let place = format!("{}: {command}", document.path.display());
            match words.as_slice() {
                ["ganger", verb, rest @ ..]
                    if verb.starts_with(|c: char| c.is_ascii_lowercase()) =>
                {
                    seen += 1;
                    let help = known.entry((*verb).to_owned()).or_insert_with(|| help(verb));
                    let shown = |option: &&str| {
                        help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|w| w == *option)
                    };
                    let lacks = options(rest).into_iter().find(|option| !shown(option));
                    problems.extend(lacks.map(|option| format!("{place}: no {option}")));
                    if help.is_empty() {
                        problems.push(place);
                    }
                }
                ["cargo", "xtask", verb, rest @ ..] if verb.starts_with(char::is_alphabetic) => {
                    seen += 1;
                    let mut name = (*verb).to_owned();
                    name[..1].make_ascii_uppercase();
                    let is_verb = [",", " {", "("].iter().any(|end| {
                        let variant = format!("\n    {name}{end}");
                        xtask.contains(&variant)
                    });
                    let field = |option: &&str| {
                        let field = option.trim_start_matches('-').replace('-', "_");
                        xtask.contains(&format!("    {field}: "))
                    };
                    if !is_verb || !options(rest).iter().all(field) {
                        problems.push(place);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(seen > 50, "only {seen} commands");
    assert_none(&problems, "commands that do not exist");
}

#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README, "{lines} lines, more than {README}: the reference is in docs/");
}

#[test]
fn every_decision_is_in_the_list() {
    let folder = root().join("docs/decisions");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap()).filter(|name| name != "README.md");
    let missing: Vec<_> = names.filter(|name| !list.contains(&format!("]({name})"))).collect();
    assert_none(&missing, "docs/decisions/README.md lists every decision");
}
