//! The state of the screen, and the effect of keys on it.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::Instant;

use super::dialog::{Dialog, KeyReply};
use super::follow::{Outlook, Update};
use super::rows::{Pane, TopRow, all_rows, heads};
use crate::admin::Happening;

/// The most events that are kept.
const KEPT: usize = 512;
/// How far the keys for pages go.
const PAGE: usize = 10;

/// All that is shown, and how.
#[derive(Debug)]
pub(super) struct TopState {
    pub(super) pane: Pane,
    pub(super) seen: Option<Outlook>,
    pub(super) happenings: BTreeMap<u64, Happening>,
    pub(super) views: [View; 5],
    pub(super) dialog: Option<Dialog>,
    /// A filter is being typed.
    pub(super) is_filtering: bool,
    pub(super) shows_help: bool,
    /// Since when there is no answer, and why.
    pub(super) lost: Option<(Instant, String)>,
    /// The outcome of the last order, or why there was none.
    pub(super) said: Option<String>,
}

/// How a pane is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Only lines that contain this.
    pub(super) filter: String,
    /// The column that lines are sorted by; `None`: the order they came in.
    pub(super) sorted: Option<usize>,
    pub(super) is_reversed: bool,
    /// The key of the selected line, and its place, for when that line is gone.
    pub(super) selected: Option<String>,
    pub(super) at: usize,
}

// === impl TopState ===

impl Default for TopState {
    fn default() -> Self {
        let mut views: [View; 5] = Default::default();
        // The latest event is the first.
        views[Pane::Events as usize] =
            View { sorted: Some(0), is_reversed: true, ..View::default() };
        Self {
            pane: Pane::default(),
            seen: None,
            happenings: BTreeMap::new(),
            views,
            dialog: None,
            is_filtering: false,
            shows_help: false,
            lost: None,
            said: None,
        }
    }
}

impl TopState {
    /// Takes in an update.
    pub(super) fn update(&mut self, update: Update) {
        match update {
            Update::Seen(seen) => {
                self.seen = Some(*seen);
                self.lost = None;
            }
            Update::Happened(happening) => {
                self.happenings.insert(happening.id, happening);
                while self.happenings.len() > KEPT {
                    self.happenings.pop_first();
                }
            }
            Update::Lost(why) => {
                let since = self.lost.take().map_or_else(Instant::now, |(since, _)| since);
                self.lost = Some((since, why));
            }
            Update::Said(said) => self.said = Some(said),
        }
    }

    /// The view of the current pane.
    pub(super) fn view(&self) -> &View {
        &self.views[self.pane as usize]
    }

    fn view_mut(&mut self) -> &mut View {
        &mut self.views[self.pane as usize]
    }

    /// The lines of the current pane: filtered and sorted.
    pub(super) fn rows(&self) -> Vec<TopRow> {
        let view = self.view();
        let filter = view.filter.to_lowercase();
        let mut rows = all_rows(self.pane, self.seen.as_ref(), &self.happenings);
        rows.retain(|row| {
            filter.is_empty() || row.cells.iter().any(|it| it.text.to_lowercase().contains(&filter))
        });
        if let Some(column) = view.sorted {
            rows.sort_by(|a, b| a.cells[column].compare(&b.cells[column]));
        }
        if view.is_reversed {
            rows.reverse();
        }
        rows
    }

    /// The index of the selected line among these; once it is gone, its old index or the last one.
    pub(super) fn place(&self, rows: &[TopRow]) -> usize {
        let view = self.view();
        let same = rows.iter().position(|row| Some(&row.key) == view.selected.as_ref());
        same.unwrap_or(view.at).min(rows.len().saturating_sub(1))
    }

    /// The selected line.
    pub(super) fn selected(&self) -> Option<TopRow> {
        let mut rows = self.rows();
        let place = self.place(&rows);
        (place < rows.len()).then(|| rows.swap_remove(place))
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> KeyReply {
        if key.kind == KeyEventKind::Release {
            return KeyReply::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return KeyReply::Quit;
        }
        if let Some(dialog) = self.dialog.take() {
            let (dialog, reply) = dialog.key(key.code);
            self.dialog = dialog;
            return reply;
        }
        if self.shows_help {
            self.shows_help = false;
            return KeyReply::Nothing;
        }
        if self.is_filtering {
            self.filter(key.code);
            return KeyReply::Nothing;
        }
        self.said = None;
        self.command(key.code)
    }

    fn filter(&mut self, key: KeyCode) {
        let filter = &mut self.view_mut().filter;
        match key {
            KeyCode::Char(c) => filter.push(c),
            KeyCode::Backspace => _ = filter.pop(),
            KeyCode::Esc => filter.clear(),
            _ => {}
        }
        self.is_filtering = !matches!(key, KeyCode::Esc | KeyCode::Enter);
    }

    fn command(&mut self, key: KeyCode) -> KeyReply {
        match key {
            KeyCode::Char('q') => return KeyReply::Quit,
            KeyCode::Char('?') => self.shows_help = true,
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Char(digit @ '1'..='5') => {
                self.pane = Pane::ALL[digit as usize - '1' as usize];
            }
            KeyCode::Tab => self.pane = self.pane.after(1),
            KeyCode::BackTab => self.pane = self.pane.after(Pane::ALL.len() - 1),
            KeyCode::Char('<') => self.sort(heads(self.pane).len() - 1),
            KeyCode::Char('>') => self.sort(1),
            KeyCode::Char('r') => {
                let view = self.view_mut();
                view.is_reversed = !view.is_reversed;
            }
            KeyCode::Esc => self.view_mut().filter.clear(),
            KeyCode::Char(key @ ('d' | 's' | 'c' | 'R' | 'x')) => self.begin(key),
            key => self.go(key),
        }
        KeyReply::Nothing
    }

    /// Asks about the selected line.
    fn begin(&mut self, key: char) {
        let selected = self.selected().map(|row| row.key);
        let status = self.seen.as_ref().map(|seen| &seen.status);
        match Dialog::begin(key, self.pane, selected, status) {
            Ok(dialog) => self.dialog = Some(dialog),
            Err(why) => self.said = Some(why.to_owned()),
        }
    }

    /// Sorts by the column this many steps to the right.
    fn sort(&mut self, steps: usize) {
        let count = heads(self.pane).len();
        let view = self.view_mut();
        view.sorted = Some(view.sorted.map_or(0, |column| (column + steps) % count));
    }

    /// Selects another line.
    fn go(&mut self, key: KeyCode) {
        let rows = self.rows();
        let now = self.place(&rows);
        let last = rows.len().saturating_sub(1);
        let then = match key {
            KeyCode::Up | KeyCode::Char('k') => now.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (now + 1).min(last),
            KeyCode::PageUp => now.saturating_sub(PAGE),
            KeyCode::PageDown => (now + PAGE).min(last),
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => return,
        };
        let selected = rows.get(then).map(|row| row.key.clone());
        let view = self.view_mut();
        view.at = then;
        view.selected = selected;
    }
}
