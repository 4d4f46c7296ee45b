//! `ganger top`: a running Ganger on a terminal, as it goes.

mod dialog;
mod draw;
mod follow;
mod model;
mod rows;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;

use super::super::{Exit, Failure, environment};
use super::remote::{Asking, Remote};
use crate::telemetry;
use dialog::{KeyReply, TopOrder};
use follow::Update;
use model::TopState;

/// Shows it until somebody quits.
pub(super) async fn top(asking: &Asking, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let remote = Arc::new(asking.remote(config)?);
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let message = "`top` needs a terminal: `ganger status --watch` needs none";
        return Err(Failure::new(Exit::Usage, message));
    }
    // A Ganger that does not answer at the beginning is not waited for.
    let mut state = TopState::default();
    state.update(Update::Seen(Box::new(follow::look(&remote).await?)));
    let failed = |error: io::Error| Failure::new(Exit::Failed, format!("the terminal: {error}"));
    // The panic hook restores the terminal, too.
    let terminal = ratatui::try_init().map_err(failed)?;
    let ended = run(terminal, state, &remote).await;
    ratatui::restore();
    ended.map_err(failed)?;
    Ok(Exit::Ok)
}

async fn run(
    mut terminal: DefaultTerminal,
    mut state: TopState,
    remote: &Arc<Remote>,
) -> io::Result<()> {
    let coloured = telemetry::told_coloured().unwrap_or_else(|| environment("NO_COLOR").is_none());
    let (updates, mut news) = unbounded_channel();
    let _looks =
        AbortOnDropHandle::new(tokio::spawn(follow::looks(Arc::clone(remote), updates.clone())));
    let _events =
        AbortOnDropHandle::new(tokio::spawn(follow::events(Arc::clone(remote), updates.clone())));
    let mut typed = keys();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        terminal.draw(|frame| draw::draw(frame, &state, coloured))?;
        // Signals and keys are heard first.
        let event = tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            event = typed.recv() => event.ok_or(io::ErrorKind::UnexpectedEof)?,
            update = news.recv() => {
                update.into_iter().for_each(|update| state.update(update));
                continue;
            }
        };
        // Any event draws the screen anew.
        if let Event::Key(key) = event {
            match state.key(key) {
                KeyReply::Quit => return Ok(()),
                KeyReply::Order(order) => give(order, remote, &updates),
                KeyReply::Nothing => {}
            }
        }
    }
}

/// Gives an order, and sends its outcome as an update.
fn give(order: TopOrder, remote: &Arc<Remote>, updates: &UnboundedSender<Update>) {
    let (remote, updates) = (Arc::clone(remote), updates.clone());
    tokio::spawn(async move {
        let said = match order.give(&remote).await {
            Ok(said) => said,
            Err(Failure { message, .. }) => format!("{}: {message}", order.what),
        };
        // The receiver is gone once `top` has ended.
        _ = updates.send(Update::Said(said));
    });
}

/// The input of the terminal. The thread ends with the process.
fn keys() -> UnboundedReceiver<Event> {
    let (sender, keys) = unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    keys
}

#[cfg(test)]
mod tests;
