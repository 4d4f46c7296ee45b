//! Reads the configuration again, and does all that may fail before anything changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::ServiceName;
use tracing::error;

use super::{Changes, Frontend, Plan, Server};
use crate::admin::{NotOrdered, Ordered};
use crate::app::notify;
use crate::aside::Aside;
use crate::config::{Config, LogFormat, Remark, Report};
use crate::discovery::Subscription;
use crate::proxy::{self, AccessWriter, Listener, Settings};
use crate::shutdown::Stop;

/// How long a file system may take for the configuration and all that it includes: meanwhile no
/// order is carried out, and no process takes over.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the configuration again, or says why it cannot be used.
pub type LoadConfig = Arc<dyn Fn() -> Result<Config, NotLoaded> + Send + Sync>;

/// Why a configuration is not used. `Display` has a line for each mistake, without the text of the
/// file, in which there may be secrets.
#[derive(Debug, Clone)]
pub enum NotLoaded {
    /// The configuration has mistakes.
    Mistakes(Report),
    /// Anything else.
    Other(String),
}

/// Readings of the configuration.
pub(super) struct ConfigReading(Aside<Result<Arc<Config>, NotLoaded>>);

/// A configuration that can be used, with all that could fail done.
pub(super) struct PreparedReload {
    pub(super) config: Arc<Config>,
    pub(super) plan: Plan,
    pub(super) cap: usize,
    /// New listeners, for the services that need one.
    pub(super) listeners: BTreeMap<ServiceName, Listener>,
    /// The new fleet, if it is another one.
    pub(super) subscription: Option<Subscription>,
    /// The file for records of connections, opened anew.
    pub(super) access: Option<AccessWriter>,
}

// === impl NotLoaded ===

impl NotLoaded {
    /// All mistakes with the text of the file at each place, in lines, for the log and for the user
    /// who starts the process.
    #[must_use]
    pub fn render(&self) -> String {
        match self {
            Self::Mistakes(report) => report.render(false),
            Self::Other(why) => why.clone(),
        }
    }

    fn log(&self, format: LogFormat) {
        match self {
            Self::Mistakes(report) if format == LogFormat::Json => {
                for Remark { file, line, column, message, help } in report.shown() {
                    error!(file, line, column, help, "{message}");
                }
                if report.hidden() > 0 {
                    error!(mistakes = report.hidden(), "the configuration has more mistakes");
                }
            }
            // Line by line: what it shows is aligned.
            _ => self.render().lines().for_each(|line| error!("{line}")),
        }
        error!("the configuration is not reloaded: nothing has changed");
    }
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = match self {
            Self::Mistakes(report) => report,
            Self::Other(why) => return f.write_str(why),
        };
        for (number, remark) in report.shown().enumerate() {
            write!(f, "{}{remark}", if number > 0 { "\n" } else { "" })?;
        }
        match report.hidden() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl From<String> for NotLoaded {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

// === impl ConfigReading ===

impl ConfigReading {
    /// Reads the configuration, away from the runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a reading that has begun to its thread.
    async fn read(&self, load: &LoadConfig) -> Result<Arc<Config>, NotLoaded> {
        let load = Arc::clone(load);
        self.0.read(move || load().map(Arc::new)).await.unwrap_or_else(|| {
            let why = format!("the configuration could not be read within {PATIENCE:?}");
            Err(NotLoaded::Other(format!("{why}: its file system may be away")))
        })
    }
}

impl Default for ConfigReading {
    fn default() -> Self {
        Self(Aside::new(PATIENCE))
    }
}

// === impl Server ===

impl Server {
    /// Reads the configuration again and runs by it, all of it or nothing.
    pub(super) async fn reload(
        &mut self,
        load: &LoadConfig,
        stop: &Stop,
    ) -> Result<Ordered, NotOrdered> {
        notify::reloading();
        let prepared = async { self.prepare(self.reading.read(load).await?).await };
        let prepared = tokio::select! {
            // A process that stops waits neither for a file nor for discovery.
            biased;
            () = stop.drain.cancelled() => return Err(NotOrdered::Stopping),
            prepared = prepared => prepared,
        };
        let done = match prepared {
            Ok(next) => Ok(Ordered::changed(self.apply(next).await)),
            Err(why) => {
                why.log(self.config.log.format);
                self.in_use.refused();
                Err(NotOrdered::Refused(why.to_string()))
            }
        };
        notify::ready();
        done
    }

    /// Returns what the configuration would change, and changes nothing. Addresses, the file for
    /// records and discovery are not tried.
    pub(super) async fn compare(
        &self,
        load: &LoadConfig,
        stop: &Stop,
    ) -> Result<Ordered, NotOrdered> {
        let compared = async {
            let config = self.reading.read(load).await?;
            self.planned(&config)?;
            Ok(Changes::between(&self.config, &config))
        };
        let compared: Result<_, NotLoaded> = tokio::select! {
            biased;
            () = stop.drain.cancelled() => return Err(NotOrdered::Stopping),
            compared = compared => compared,
        };
        match compared {
            Ok(changes) => Ok(Ordered::unchanged(format!("would change: {changes}"))),
            Err(why) => Err(NotOrdered::Refused(why.to_string())),
        }
    }

    /// Whether a configuration can replace the one in use, as far as can be told without changes.
    fn check(&self, config: &Config) -> Result<(), String> {
        for (what, same) in [
            ("log", config.log == self.config.log),
            ("guardian", config.guardian == self.config.guardian),
            ("admin", config.admin == self.config.admin),
        ] {
            if !same {
                return Err(format!(
                    "`{what}` cannot be changed while it runs: change it back, or restart"
                ));
            }
        }
        for service in &config.services {
            // All versions that ran here before: containers of a generation that was not replaced,
            // or that are leased, may be as old.
            let before = self.dated.iter().chain(&self.config.services);
            let mut before = before.filter(|before| before.name == service.name);
            if before.any(|before| !service.keeps_deadlines_of(before)) {
                return Err(format!(
                    "service {}: with these settings containers that are there may be in use when \
                     their deadline passes: while it runs, `overdue_after` cannot become longer or \
                     be left out, nor the times longer that containers are in use; change them \
                     back, or restart",
                    service.name
                ));
            }
        }
        Ok(())
    }

    /// The plan of a configuration, and its limit of connections, if it can replace the one in use.
    fn planned(&self, config: &Config) -> Result<(Plan, usize), String> {
        self.check(config)?;
        let plan = Plan::new(config);
        let cap = proxy::connection_cap(self.ingress.files, plan.containers(), plan.daemons());
        Ok((plan, cap.map_err(|error| error.to_string())?))
    }

    /// Does all that may fail.
    async fn prepare(&self, config: Arc<Config>) -> Result<PreparedReload, NotLoaded> {
        let (plan, cap) = self.planned(&config)?;
        // Before anything listens: discovery may take a while.
        let subscription = self.followed.prepare(&plan.fleet).await?;
        let moved = |settings: &&Settings| {
            self.frontends
                .get(&settings.name)
                .is_none_or(|frontend| frontend.listen != settings.listen)
        };
        let bind = |settings: &Settings| {
            let listener = proxy::bind(settings);
            let listener = listener.map_err(|error| match self.holder_of(settings) {
                Some(ours) => format!(
                    "{error}. Service {ours} of this process listens there: move it away with one \
                     reload, and this one there with the next"
                ),
                None => error.to_string(),
            })?;
            Ok((settings.name.clone(), listener))
        };
        let listeners = plan.settings.iter().filter(moved).map(bind).collect::<Result<_, String>>();
        let listeners = listeners?;
        // Last: it may create the file.
        let access = self.ingress.opening.open(config.access_log.as_deref()).await;
        let access = access.map_err(|error| error.to_string())?;
        Ok(PreparedReload { listeners, config, plan, cap, subscription, access })
    }

    /// The service that listens on the port of these settings.
    fn holder_of(&self, settings: &Settings) -> Option<&ServiceName> {
        let same = |frontend: &Frontend| frontend.listen.port() == settings.listen.port();
        self.frontends.iter().find(|(_, frontend)| same(frontend)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(services: &str) -> NotLoaded {
        let text = format!("(daemons: Static([]), services: {{{services}}})");
        NotLoaded::Mistakes(Config::parse(&text, "ganger.ron").unwrap_err())
    }

    #[test]
    fn whoever_orders_a_reload_is_told_each_mistake_and_nothing_of_the_text() {
        for secret in ["\"hunter2\"", "hunter2", "2711", "hunter2(1)", "hun ter2", "\"${hunter2"] {
            let why = mistakes(&format!("\"echo\": (env: {{\"PASSWORD\": {secret}}}, warn: 2)"));
            let told = why.to_string();
            assert!(told.contains("ganger.ron:1:"), "{told}");
            for part in ["hunter2", "2711", "ter2"] {
                assert!(!told.contains(part), "{secret}: {told}");
            }
            assert!(why.render().contains(secret), "{}", why.render());
        }
        let told = mistakes("\"echo\": (env: {\"PASSWORD\": \"hunter2\"}, warn: 2)").to_string();
        assert!(told.contains("`warn`"), "{told}");
        let many: Vec<_> = (0..40).map(|n| format!("\"s{n}\": 1")).collect();
        let told = mistakes(&many.join(", ")).to_string();
        assert!(told.lines().count() == 31 && told.ends_with(" more"), "{told}");
    }

    #[tokio::test]
    async fn a_configuration_that_hangs_is_given_up_and_holds_up_nobody_else() {
        let reading = ConfigReading(Aside::new(Duration::from_millis(20)));
        let (go_on, gone_on) = std::sync::mpsc::sync_channel::<()>(0);
        let gone_on = parking_lot::Mutex::new(gone_on);
        let load: LoadConfig = Arc::new(move || {
            _ = gone_on.lock().recv();
            Config::parse(&Config::default_text(), "t").map_err(|it| it.to_string().into())
        });
        let late = reading.read(&load).await.unwrap_err();
        assert!(late.to_string().contains("file system may be away"), "{late}");
        drop(go_on);
        assert!(ConfigReading::default().read(&load).await.is_ok());
    }
}
