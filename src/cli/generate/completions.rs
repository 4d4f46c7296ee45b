//! Completions of the command line, and the command line without what is hidden.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::super::Arguments;

/// The script by which a shell completes command lines of Ganger.
pub(super) fn completions(shell: Shell) -> String {
    let mut command = shown(&Arguments::command());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "ganger", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A command without hidden verbs and options, which completions would offer.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let plain = Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .args(arguments.cloned())
        .subcommands(verbs.map(shown));
    match command.get_version() {
        Some(version) => plain.version(version.to_owned()),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_verbs_and_no_hidden_ones() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = completions(shell);
            for word in ["simulate", "overdue", "generate"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            for hidden in ["guardian-quiet", "Guard the process"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
        }
    }
}
