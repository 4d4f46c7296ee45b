//! Asks for consent to orders that are hard to take back.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::super::{Exit, Failure};

/// That it may be done.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Consent {
    /// Do it without asking; needed where standard input is no terminal
    #[arg(long, short)]
    yes: bool,
}

// === impl Consent ===

impl Consent {
    /// Asks whether to do this, unless `--yes` was given.
    pub(in crate::cli) fn to(self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            let message = format!(
                "`--yes` is needed to {what}: standard input is no terminal, so nobody can be asked"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        let mut err = io::stderr().lock();
        // A question that cannot be printed gets no answer.
        _ = write!(err, "{}? [y/N] ", capitalised(what)).and_then(|()| err.flush());
        drop(err);
        let mut answer = String::new();
        let read = stdin.lock().read_line(&mut answer);
        read.map_err(|error| Failure::new(Exit::Failed, format!("no answer: {error}")))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "nothing was changed")),
        }
    }
}

/// The text with a capital letter at its start.
pub(in crate::cli) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
