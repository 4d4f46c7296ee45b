//! Verbs that ask a running Ganger by its admin socket, or give it orders.

mod configuration;
mod confirm;
mod drain;
mod events;
mod explain;
mod failures;
#[cfg(test)]
mod fake;
mod health;
mod lists;
mod orders;
mod remote;
mod show;
mod status;
mod table;
mod top;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Exit, Failure};
use confirm::Consent;
use remote::Asking;
use show::Showing;

/// The verbs that a running Ganger answers.
#[derive(Debug, Subcommand)]
pub(super) enum AskVerb {
    /// Say how the services and daemons of a running Ganger are
    Status(Showing),
    /// Show a running Ganger on this terminal, as it goes; orders are given by keys
    Top(Asking),
    /// Say which containers a running Ganger has
    Containers(lists::Listing),
    /// Say how the daemons of a running Ganger are
    Daemons {
        #[command(flatten)]
        showing: Showing,
        /// Names only
        #[arg(long, short)]
        quiet: bool,
        /// Only this daemon
        #[arg(long, value_name = "NAME")]
        daemon: Option<String>,
        /// Only those that are so: up, degraded, down, drain, maint, joining, or leaving
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
    },
    /// Say who is connected to a running Ganger
    Sessions(lists::Listing),
    /// Say what became of one connection: of one that is there, or of the latest 256 that have ended
    Explain {
        /// Its number, as `ganger sessions` and `id` in the access log say it
        #[arg(value_name = "N")]
        id: u64,
        #[command(flatten)]
        showing: Showing,
    },
    /// Say which configuration a running Ganger uses: every key, and who says so; secrets are left out
    Config(configuration::Configuration),
    /// Say what happened lately in a running Ganger, or what happens
    Events(events::EventsArguments),
    /// Say what is known of the launches, containers in stock and leases that failed lately in a running
    /// Ganger
    Failures {
        /// All of one failure: its number, as the table says it
        #[arg(value_name = "N", conflicts_with_all = ["quiet", "service", "daemon", "state", "wide"])]
        id: Option<u64>,
        #[command(flatten)]
        listing: lists::Listing,
    },
    /// Use services or daemons of a running Ganger no more; leases go on until they end
    Drain(drain::Draining),
    /// Use services or daemons again that were drained
    Resume {
        #[command(flatten)]
        which: Drainable,
        #[command(flatten)]
        asking: Asking,
    },
    /// Set how many containers a service has, until the next reload
    Scale {
        /// The service
        service: String,
        /// Ready containers that are kept
        #[arg(long, value_name = "N", required_unless_present = "max")]
        warm: Option<u32>,
        /// All containers that it may have
        #[arg(long, value_name = "N")]
        max: Option<u32>,
        #[command(flatten)]
        asking: Asking,
        #[command(flatten)]
        consent: Consent,
    },
    /// Have a running Ganger read its configuration again, as SIGHUP does
    Reload {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Replace every container of a service by a new one, without a gap
    Roll {
        /// The service
        service: String,
        /// Wait until all are replaced; fail when the new ones do not work
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        asking: Asking,
        #[command(flatten)]
        consent: Consent,
    },
    /// Give the rollout of a service up
    Rollback {
        /// The service
        service: String,
        #[command(flatten)]
        asking: Asking,
        #[command(flatten)]
        consent: Consent,
    },
    /// Replace single containers; one that is leased goes when its lease ends
    Retire {
        /// Their numbers, as `ganger containers` says them
        #[arg(required = true, value_name = "N")]
        launches: Vec<u64>,
        #[command(flatten)]
        asking: Asking,
        #[command(flatten)]
        consent: Consent,
    },
    /// Cut connections of a running Ganger
    Cut {
        /// Their numbers, as `ganger sessions` says them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u64>,
        #[command(flatten)]
        asking: Asking,
        #[command(flatten)]
        consent: Consent,
    },
    /// Say whether clients are served: exit code 0 or 1
    Health {
        /// Only this service
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Services and daemons.
#[derive(Debug, Args)]
pub(super) struct Drainable {
    /// A service; may be repeated
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// A daemon; may be repeated
    #[arg(long = "daemon", value_name = "NAME")]
    daemons: Vec<String>,
}

/// The interval between two looks at what is waited for.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks, and prints the answer.
pub(super) async fn carry_out(verb: AskVerb, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let remote = |asking: Asking| asking.remote(config.clone());
    match verb {
        AskVerb::Status(showing) => status::status(&showing, config).await,
        AskVerb::Top(asking) => top::top(&asking, config).await,
        AskVerb::Containers(listing) => lists::containers(&listing, config).await,
        AskVerb::Daemons { showing, quiet, daemon, state } => {
            lists::daemons(&showing, quiet, [daemon, state], config).await
        }
        AskVerb::Sessions(listing) => lists::sessions(&listing, config).await,
        AskVerb::Explain { id, showing } => {
            let path = format!("/api/v1/sessions/{id}/timeline");
            showing.show(&path, config, explain::text).await
        }
        AskVerb::Config(asked) => configuration::configuration(&asked, config).await,
        AskVerb::Events(arguments) => events::events(&arguments, config).await,
        AskVerb::Failures { id: None, listing } => failures::all(&listing, config).await,
        AskVerb::Failures { id: Some(id), listing } => failures::one(&listing, id, config).await,
        AskVerb::Drain(draining) => drain::drain(draining, config).await,
        AskVerb::Resume { which, asking } => {
            let places = which.places();
            if places.is_empty() {
                let message = "name what is to be used again: --service NAME or --daemon NAME";
                return Err(Failure::new(Exit::Usage, message));
            }
            orders::resume(&remote(asking)?, &places).await
        }
        AskVerb::Scale { service, warm, max, asking, consent } => {
            orders::scale(&remote(asking)?, &service, (warm, max), consent).await
        }
        AskVerb::Reload { dry_run, asking } => orders::reload(&remote(asking)?, dry_run).await,
        AskVerb::Roll { service, wait, asking, consent } => {
            consent.to(&format!("replace every container of {service}"))?;
            orders::roll(&remote(asking)?, &service, wait).await
        }
        AskVerb::Rollback { service, asking, consent } => {
            consent.to(&format!("give the rollout of {service} up"))?;
            orders::roll_back(&remote(asking)?, &service).await
        }
        AskVerb::Retire { launches, asking, consent } => {
            consent.to(&format!("retire {}", words::counted(launches.len(), "container")))?;
            orders::retire(&remote(asking)?, &launches).await
        }
        AskVerb::Cut { ids, asking, consent } => {
            consent.to(&format!("cut {}", words::counted(ids.len(), "connection")))?;
            orders::cut(&remote(asking)?, &ids).await
        }
        AskVerb::Health { service, asking } => {
            health::health(&remote(asking)?, service.as_deref()).await
        }
    }
}

// === impl Drainable ===

impl Drainable {
    /// The paths of the services and daemons, and their names for people.
    fn places(&self) -> Vec<(String, String)> {
        let place = |kind: &str, name: &String| {
            let path = format!("/api/v1/{kind}s/{}", crate::http::escape(name));
            (path, format!("{kind} {name}"))
        };
        let services = self.services.iter().map(|name| place("service", name));
        services.chain(self.daemons.iter().map(|name| place("daemon", name))).collect()
    }
}
