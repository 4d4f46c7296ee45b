//! Orders by the page: each is confirmed, and answered, on a page of its own, so that it works
//! without a script.

use std::str::FromStr;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use ganger_pool::core::AdminState;
use serde::Deserialize;

use super::super::access::Actor;
use super::super::changes;
use super::super::order::AdminOrder;
use super::super::problem::Problem;
use super::super::query::Params;
use super::super::{AdminShared, ServerState};
use super::{assets, rendered};

/// An order, as links and forms write it.
#[derive(Debug, Clone, Default, Deserialize)]
struct FormOrder {
    order: String,
    service: Option<String>,
    daemon: Option<String>,
    session: Option<String>,
    deadline: Option<String>,
    warm: Option<String>,
    max: Option<String>,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    title: &'static str,
    what: String,
    style: &'static str,
    icon: &'static str,
    hidden: Vec<(&'static str, String)>,
    fields: Vec<NumberField>,
    answer: Option<String>,
}

/// A number that may be given with an order.
struct NumberField {
    name: &'static str,
    label: String,
}

pub(super) fn routes() -> Router<Arc<AdminShared>> {
    Router::new().route("/confirm", get(ask).post(carry_out))
}

async fn ask(
    State(admin): ServerState,
    _: Actor,
    Params(order): Params<FormOrder>,
) -> Result<Response, Problem> {
    let page = order.page(None)?;
    let fields = order.fields(&admin).await;
    Ok(rendered(&ConfirmPage { fields, ..page }))
}

async fn carry_out(
    State(admin): ServerState,
    actor: Actor,
    form: Result<Form<FormOrder>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(form) = form.map_err(|error| Problem::invalid(error.body_text()))?;
    let said = match form.session() {
        Some(session) => {
            changes::cut_connection(&admin, actor, &session).map(|()| "It is cut.".to_owned())
        }
        None => match form.order() {
            Ok(order) => admin.order(actor, order).await.map(|ordered| ordered.detail.clone()),
            Err(problem) => Err(problem),
        },
    };
    let (status, answer) = match said {
        Ok(said) => (StatusCode::OK, said),
        Err(no) => (no.status(), format!("Nothing was changed: {}", no.detail())),
    };
    let mut response = rendered(&form.page(Some(answer))?);
    if response.status().is_success() {
        *response.status_mut() = status;
    }
    Ok(response)
}

// === impl FormOrder ===

impl FormOrder {
    /// The title of its page, and its effect.
    fn words(&self) -> Result<(&'static str, String), Problem> {
        let subject = match (&self.service, &self.daemon) {
            (Some(service), _) => format!("service {service}"),
            (None, Some(daemon)) => format!("daemon {daemon}"),
            (None, None) => String::new(),
        };
        Ok(match self.order.as_str() {
            "drain" => (
                "Drain",
                format!(
                    "Nothing new is launched or leased on {subject}, and its stock is removed. Leases go \
                     on until they end, or the deadline has passed."
                ),
            ),
            "maint" => (
                "Maint",
                format!("As drain; that {subject} does not answer is expected meanwhile."),
            ),
            "ready" => {
                ("Use again", format!("Containers are launched and leased on {subject} again."))
            }
            "scale" => {
                ("Scale", format!("Until the next reload, {subject} keeps so many containers."))
            }
            "roll" => (
                "Roll",
                format!("Every container of {subject} is replaced by a new one, without a gap."),
            ),
            "rollback" => ("Roll back", format!("The rollout of {subject} is given up.")),
            "reload" => ("Read it again", "The configuration is read again.".to_owned()),
            "cut" => {
                let session = self.session.as_deref().unwrap_or_default();
                ("Cut", format!("Connection {session} is reset, and its container is removed."))
            }
            other => return Err(Problem::invalid(format!("there is no order {other:?}"))),
        })
    }

    fn page(&self, answer: Option<String>) -> Result<ConfirmPage, Problem> {
        let (title, what) = self.words()?;
        let [style, _, icon] = assets();
        let given = [
            ("order", Some(&self.order)),
            ("service", self.service.as_ref()),
            ("daemon", self.daemon.as_ref()),
            ("session", self.session.as_ref()),
        ];
        let hidden = given.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
        let (hidden, fields) = (hidden.collect(), Vec::new());
        Ok(ConfirmPage {
            title,
            what,
            style: &style.path,
            icon: &icon.path,
            hidden,
            fields,
            answer,
        })
    }

    /// The fields for it, with the values of now.
    async fn fields(&self, admin: &AdminShared) -> Vec<NumberField> {
        let field = |name, label| NumberField { name, label };
        match self.order.as_str() {
            "drain" | "maint" => {
                let label = "Deadline in seconds; none if left empty".to_owned();
                vec![field("deadline", label)]
            }
            "scale" => {
                let services = admin.services().await;
                let now = services.into_iter().find(|s| Some(&s.name) == self.service.as_ref());
                let (warm, max) = now.map_or((0, 0), |status| (status.target, status.max));
                // Empty fields change nothing: the target of now need not be the file's.
                vec![
                    field("warm", format!("Containers kept ready, now {warm}")),
                    field("max", format!("Containers at most, now {max}")),
                ]
            }
            _ => Vec::new(),
        }
    }

    fn session(&self) -> Option<String> {
        self.session.clone().filter(|_| self.order == "cut")
    }

    fn order(&self) -> Result<AdminOrder, Problem> {
        let state = match self.order.as_str() {
            "drain" => Some(AdminState::Drain),
            "maint" => Some(AdminState::Maint),
            "ready" => Some(AdminState::Ready),
            _ => None,
        };
        let deadline = number(self.deadline.as_deref(), "a number")?;
        let whole = |text| number(text, "a whole number");
        let (warm, max) = (whole(self.warm.as_deref())?, whole(self.max.as_deref())?);
        let service = self.service.as_deref().map(Into::into);
        Ok(match (self.order.as_str(), state, service, self.daemon.as_deref()) {
            (_, Some(state), Some(service), _) => {
                AdminOrder::service_state(service, state, deadline)?
            }
            (_, Some(state), None, Some(daemon)) => {
                AdminOrder::daemon_state(daemon.into(), state, deadline)?
            }
            ("scale", _, Some(service), _) => AdminOrder::scale(service, warm, max)?,
            ("roll", _, Some(service), _) => AdminOrder::Roll { service },
            ("rollback", _, Some(service), _) => AdminOrder::RollBack { service },
            ("reload", ..) => AdminOrder::Reload { dry_run: false },
            (other, ..) => {
                let detail = format!("{other:?} is for a service or a daemon: none is named");
                return Err(Problem::invalid(detail));
            }
        })
    }
}

/// The number in a field of a form; nothing where that is empty.
fn number<T: FromStr>(text: Option<&str>, what: &str) -> Result<Option<T>, Problem> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let number = text
        .map(|text| text.parse().map_err(|_| Problem::invalid(format!("{text:?} is not {what}"))));
    number.transpose()
}
