//! Orders that are given from the screen, and the question before each.

use ratatui::crossterm::event::KeyCode;
use serde_json::{Value, json};

use super::super::super::Failure;
use super::super::remote::Remote;
use super::rows::Pane;
use crate::admin::{Condition, Status};
use crate::http::escape;

/// An order, and the words for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopOrder {
    pub(super) what: String,
    pub(super) path: String,
    /// `None`: the resource at the path is removed.
    pub(super) body: Option<Value>,
}

/// A question before an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dialog {
    /// Whether this is to be done.
    Sure(TopOrder),
    /// How many containers this service is to have, and what was typed so far.
    Scale { service: String, typed: String },
}

/// The reply to a key.
#[derive(Debug, PartialEq)]
pub(super) enum KeyReply {
    Nothing,
    Quit,
    Order(TopOrder),
}

// === impl TopOrder ===

impl TopOrder {
    fn post(what: String, path: String, body: Value) -> Self {
        Self { what, path, body: Some(body) }
    }

    /// Gives the order; returns its outcome.
    pub(super) async fn give(&self, remote: &Remote) -> Result<String, Failure> {
        match &self.body {
            Some(body) => {
                let detail = remote.order(&self.path, Some(body)).await?.detail;
                Ok(format!("{}: {detail}", self.what))
            }
            None => {
                remote.delete(&self.path).await?;
                Ok(format!("{}: done", self.what))
            }
        }
    }
}

// === impl Dialog ===

impl Dialog {
    /// The dialog for a key in the pane that is shown, about the line that is selected. `Err` says why
    /// there is none.
    pub(super) fn begin(
        key: char,
        pane: Pane,
        selected: Option<String>,
        status: Option<&Status>,
    ) -> Result<Self, &'static str> {
        let name = selected.ok_or("nothing is selected")?;
        match (key, pane) {
            ('d', Pane::Services | Pane::Daemons) => {
                Ok(Self::Sure(state_order(pane, &name, status)))
            }
            ('s', Pane::Services) => Ok(Self::Scale { service: name, typed: String::new() }),
            ('R', Pane::Services) => {
                let path = format!("/api/v1/services/{}/roll", escape(&name));
                Ok(Self::Sure(TopOrder::post(format!("roll service {name}"), path, json!({}))))
            }
            ('c', Pane::Sessions) => {
                let path = format!("/api/v1/sessions/{name}");
                Ok(Self::Sure(TopOrder { what: format!("cut session {name}"), path, body: None }))
            }
            ('x', Pane::Containers) => {
                let path = format!("/api/v1/containers/{name}/retire");
                Ok(Self::Sure(TopOrder::post(format!("retire container {name}"), path, json!({}))))
            }
            ('d', _) => Err("`d` is for services (1) and daemons (2)"),
            ('s' | 'R', _) => Err("`s` and `R` are for services (1)"),
            ('c', _) => Err("`c` is for sessions (3)"),
            _ => Err("`x` is for containers (4)"),
        }
    }

    /// Takes a key; returns the dialog, if it goes on, and the reply.
    pub(super) fn key(self, key: KeyCode) -> (Option<Self>, KeyReply) {
        match (self, key) {
            (_, KeyCode::Esc) => (None, KeyReply::Nothing),
            (Self::Sure(order), KeyCode::Char('y' | 'Y')) => (None, KeyReply::Order(order)),
            (Self::Sure(_), _) => (None, KeyReply::Nothing),
            (Self::Scale { service, typed }, KeyCode::Enter) => {
                match scale_order(&service, &typed) {
                    Some(order) => (None, KeyReply::Order(order)),
                    None => (Some(Self::Scale { service, typed }), KeyReply::Nothing),
                }
            }
            (Self::Scale { service, mut typed }, key) => {
                match key {
                    KeyCode::Char(c) if c.is_ascii_digit() || c == '/' => typed.push(c),
                    KeyCode::Backspace => _ = typed.pop(),
                    _ => {}
                }
                (Some(Self::Scale { service, typed }), KeyReply::Nothing)
            }
        }
    }

    /// The question, in words.
    pub(super) fn question(&self) -> String {
        match self {
            Self::Sure(order) => format!("{}? [y/N]", order.what),
            Self::Scale { service, typed } => {
                format!("scale service {service} to WARM, WARM/MAX or /MAX: {typed}_")
            }
        }
    }
}

/// Drains a subject in use, and resumes a drained one.
fn state_order(pane: Pane, name: &str, status: Option<&Status>) -> TopOrder {
    let (kind, now) = match pane {
        Pane::Services => {
            let mut services = status.into_iter().flat_map(|status| &status.services);
            ("service", services.find(|it| it.name == name).map(|it| it.state))
        }
        _ => {
            let mut daemons = status.into_iter().flat_map(|status| &status.daemons);
            ("daemon", daemons.find(|it| it.name == name).map(|it| it.state))
        }
    };
    let is_drained = matches!(now, Some(Condition::Drain | Condition::Maint));
    let (verb, word) = if is_drained { ("resume", "ready") } else { ("drain", "drain") };
    let path = format!("/api/v1/{kind}s/{}/state", escape(name));
    TopOrder::post(format!("{verb} {kind} {name}"), path, json!({"state": word}))
}

/// `4`, `4/16` or `/16`.
fn scale_order(service: &str, typed: &str) -> Option<TopOrder> {
    let (warm, max) = typed.split_once('/').unwrap_or((typed, ""));
    let mut body = json!({});
    for (name, text) in [("warm", warm), ("max", max)] {
        if !text.is_empty() {
            body[name] = json!(text.parse::<u32>().ok()?);
        }
    }
    let path = format!("/api/v1/services/{}/scale", escape(service));
    let order = TopOrder::post(format!("scale service {service}"), path, body);
    (!typed.trim_matches('/').is_empty()).then_some(order)
}
