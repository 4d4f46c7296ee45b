//! The manual, made from the command line.
//!
//! The page on standard output has everything, in a section for each verb: `man ganger` can be
//! searched at once. Packages have a page for each verb, as `man ganger-run`: those are written
//! into a directory.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::super::Arguments;

/// The sections that the options do not cover.
const AROUND: &str = r#".SH FILES
.TP
\fIganger.ron\fR, \fI/etc/ganger/ganger.ron\fR
The configuration, where none is named; \fBganger init\fR prints one to start from.
.TP
\fI/run/ganger/INSTANCE.sock\fR
Where a running Ganger is asked, unless the configuration has another \fBadmin.socket\fR.
.SH ENVIRONMENT
.TP
\fBGANGER_CONFIG_FILE\fR
The configuration, where \fB\-\-config\fR names none.
.TP
\fBGANGER_LOG\fR
What is logged, where \fB\-\-log\fR does not say.
.TP
\fBNO_COLOR\fR
There are no colours where it is set, unless \fB\-\-color\fR asks for them.
.TP
\fBDOCKER_CONFIG\fR
The directory of \fIconfig.json\fR, as \fBdocker login\fR leaves it, for images that are pulled.
.SH "SEE ALSO"
.BR docker (1),
.BR dockerd (8),
.BR systemd.service (5)
"#;

/// All of the manual as one page.
pub(super) fn page() -> io::Result<String> {
    let command = built();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.write_all(b".SH VERBS\n")?;
    verbs(&command, &mut page)?;
    page.write_all(AROUND.as_bytes())?;
    man.render_extra_section(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(named(&page))
}

/// Writes a page for each verb into a directory, which is made if it is absent.
pub(super) fn pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    write(&built(), dir)
}

fn write(command: &Command, dir: &Path) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    fs::write(dir.join(man.get_filename()), named(&page))?;
    shown(command).try_for_each(|verb| write(verb, dir))
}

/// The command line with all that clap makes of it, as the names of verbs in full.
fn built() -> Command {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    command
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

/// A section for each verb that ends in itself, one after the other.
fn verbs(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    for verb in shown(command) {
        if verb.has_subcommands() {
            verbs(verb, page)?;
            continue;
        }
        let own = without_globals(verb);
        let name = own.get_bin_name().unwrap_or_default();
        writeln!(page, ".SS {name}")?;
        let man = Man::new(own.clone());
        let (mut about, mut options) = (Vec::new(), Vec::new());
        man.render_synopsis_section(&mut about)?;
        man.render_description_section(&mut about)?;
        man.render_options_section(&mut options)?;
        page.extend(demoted(&about, false));
        page.extend(demoted(&options, true));
    }
    Ok(())
}

/// A verb with the options that it alone has.
fn without_globals(verb: &Command) -> Command {
    let own = verb.get_arguments().filter(|argument| !argument.is_global_set());
    let own = own.filter(|argument| argument.get_id() != "help");
    Command::new(verb.get_name().to_owned())
        .bin_name(verb.get_bin_name().unwrap_or_default())
        .about(verb.get_about().cloned().unwrap_or_default())
        .args(own.cloned())
        .disable_help_flag(true)
}

/// Sections as parts of one: their headings are paragraphs, with the names of groups of options.
fn demoted(sections: &[u8], with_names: bool) -> Vec<u8> {
    let mut parts = String::new();
    for line in String::from_utf8_lossy(sections).lines() {
        match line.strip_prefix(".SH ") {
            None => parts.push_str(line),
            Some(name) if !with_names || name == "OPTIONS" => parts.push_str(".PP"),
            Some(name) => parts.push_str(&format!(".PP\n\\fI{}\\fR", name.trim_matches('"'))),
        }
        parts.push('\n');
    }
    parts.into_bytes()
}

/// The page with NOTES as the heading of its last section.
fn named(page: &[u8]) -> String {
    String::from_utf8_lossy(page).replace("\n.SH EXTRA\n", "\n.SH NOTES\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_has_every_verb_and_what_it_takes_once() {
        let page = page().unwrap();
        for part in [".SS ganger run", ".SS ganger generate man", "overdue", "DOCKER_HOST"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("ganger guard") && !page.contains("guardian"), "{page}");
        let global = page.matches(r"\fB\-\-log\fR").count();
        // Among the options, in the synopsis, and in the environment.
        assert_eq!(global, 3, "{page}");
    }
}
