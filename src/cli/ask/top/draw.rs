//! The screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, TableState};

use super::super::words::{age, counted};
use super::model::TopState;
use super::rows::{Pane, TopRow, heads};

const HELP: &str = "\
 1-5, Tab    services, daemons, sessions, containers, events
 up, down    select a line; also j, k, PageUp, PageDown, Home, End
 /           show only lines that contain a text; Esc: all again
 <  >        sort by the column to the left or right
 r           reverse the order
 d           drain the service or daemon, or use it again
 s  R        scale the service; roll it: replace all its containers
 c           cut the session
 x           retire the container
 q           quit; what runs goes on";

const KEYS: &str =
    "q quit  ? help  / filter  < > r sort  d drain  s scale  R roll  c cut  x retire";

/// Draws all.
pub(super) fn draw(frame: &mut Frame<'_>, state: &TopState, coloured: bool) {
    let parts =
        [Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)];
    let [head, tabs, list, foot] = Layout::vertical(parts).areas(frame.area());
    let paint = Paint(coloured);
    frame.render_widget(Paragraph::new(heading(state, paint)), head);
    frame.render_widget(Paragraph::new(panes(state)), tabs);
    draw_list(frame, state, paint, list);
    frame.render_widget(Paragraph::new(footing(state)), foot);
    if state.shows_help {
        draw_box(frame, "keys", HELP);
    } else if let Some(dialog) = &state.dialog {
        draw_box(frame, "sure?", &format!(" {} ", dialog.question()));
    }
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
struct Paint(bool);

// === impl Paint ===

impl Paint {
    fn of(self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }
}

/// The running Ganger, or since when nobody answers.
fn heading(state: &TopState, paint: Paint) -> Line<'static> {
    if let Some((since, why)) = &state.lost {
        let ago = age(since.elapsed().as_secs_f64());
        let style = paint.of(Color::Red).add_modifier(Modifier::BOLD);
        return Line::styled(format!("no contact for {ago}, trying again: {why}"), style);
    }
    let Some(seen) = &state.seen else { return Line::raw("ganger") };
    let about = &seen.status.about;
    let stopping = if about.stopping { ", stopping" } else { "" };
    Line::raw(format!(
        "ganger {}, {}, pid {}, up {}, {}{stopping}",
        about.version,
        about.instance,
        about.pid,
        age(about.uptime_seconds),
        counted(seen.sessions.len(), "session")
    ))
}

/// The names of the panes; the current one is marked.
fn panes(state: &TopState) -> Line<'static> {
    let mut spans = Vec::new();
    for (at, pane) in Pane::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", at + 1, pane.name());
        spans.push(match pane == state.pane {
            true => Span::styled(text, Modifier::REVERSED),
            false => Span::raw(text),
        });
    }
    let view = state.view();
    if state.is_filtering || !view.filter.is_empty() {
        let cursor = if state.is_filtering { "_" } else { "" };
        spans.push(Span::raw(format!("  /{}{cursor}", view.filter)));
    }
    Line::from(spans)
}

fn footing(state: &TopState) -> Line<'static> {
    match &state.said {
        Some(said) => Line::styled(said.replace('\n', " "), Modifier::BOLD),
        None => Line::styled(KEYS, Modifier::DIM),
    }
}

fn draw_list(frame: &mut Frame<'_>, state: &TopState, paint: Paint, area: Rect) {
    let (rows, view) = (state.rows(), state.view());
    let heads: Vec<_> = heads(state.pane)
        .iter()
        .enumerate()
        .map(|(at, head)| match view.sorted == Some(at) {
            true if view.is_reversed => format!("{head}▼"),
            true => format!("{head}▲"),
            false => (*head).to_owned(),
        })
        .collect();
    let widths = widths(&heads, &rows);
    let mut selected = TableState::default();
    selected.select((!rows.is_empty()).then(|| state.place(&rows)));
    let lines = rows.into_iter().map(|row| {
        let style = if row.is_bad { paint.of(Color::Red) } else { Style::new() };
        Row::new(row.cells.into_iter().map(|cell| cell.text)).style(style)
    });
    let table = Table::new(lines, widths)
        .header(Row::new(heads).style(Modifier::BOLD))
        .column_spacing(2)
        .row_highlight_style(Modifier::REVERSED);
    frame.render_stateful_widget(table, area, &mut selected);
}

/// Columns as wide as their content; the last one has the rest.
fn widths(heads: &[String], rows: &[TopRow]) -> Vec<Constraint> {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row.cells[at].text.chars().count());
        cells.max().unwrap_or_default().max(heads[at].chars().count())
    };
    let mut widths: Vec<_> = (0..heads.len())
        .map(|at| Constraint::Length(u16::try_from(width(at)).unwrap_or(u16::MAX).min(40)))
        .collect();
    if let Some(last) = widths.last_mut() {
        *last = Constraint::Fill(1);
    }
    widths
}

/// A text in the middle of the screen.
fn draw_box(frame: &mut Frame<'_>, title: &'static str, text: &str) {
    let area = frame.area();
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    let fit = |size: usize, most: u16| u16::try_from(size + 2).unwrap_or(most).min(most);
    let (width, height) = (fit(widest, area.width), fit(text.lines().count(), area.height));
    let (x, y) = ((area.width - width) / 2, (area.height - height) / 2);
    let area = Rect { x, y, width, height };
    frame.render_widget(Clear, area);
    frame
        .render_widget(Paragraph::new(text.to_owned()).block(Block::bordered().title(title)), area);
}
