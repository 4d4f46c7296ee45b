//! Orders of the operator that the server carries out.

use ganger_pool::core::{ServiceName, ServiceView, Snapshot, State};
use tracing::info;

use super::super::orders::{self, ServerOrder, StockScale};
use super::super::plan::Plan;
use super::{LoadConfig, Server};
use crate::admin::{NotOrdered, Ordered};
use crate::shutdown::Stop;

// === impl Server ===

impl Server {
    /// Logs the state of services and daemons.
    pub(super) fn say_status(&self) {
        let Snapshot { services, daemons, .. } = self.pool.snapshot();
        for service in services {
            let ServiceView { name, counts, warm, waiting, refusing, .. } = service;
            let (ready, leased) = (counts[State::Idle], counts[State::Leased]);
            let refusing = refusing.as_deref();
            info!(service = %name, ready, target = warm, leased, waiting, refusing, "status");
        }
        for daemon in daemons {
            let (containers, capacity) = (daemon.held(), daemon.capacity);
            let down = daemon.down.as_deref();
            info!(daemon = %daemon.name, containers, capacity, down, "status");
        }
        info!(sessions = self.ingress.sessions.count(), "status");
    }

    /// Carries out an order of the operator.
    pub(super) async fn carry_out(
        &mut self,
        order: ServerOrder,
        load: Option<&LoadConfig>,
        stop: &Stop,
    ) -> Result<Ordered, NotOrdered> {
        let changes = !matches!(order, ServerOrder::Reload { dry_run: true });
        if changes && self.successor.is_coming() {
            return Err(NotOrdered::taken_over());
        }
        match (order, load) {
            (ServerOrder::Scale { service, scale }, _) => self.scale(&service, scale),
            (ServerOrder::Reload { dry_run: false }, Some(load)) => self.reload(load, stop).await,
            (ServerOrder::Reload { dry_run: true }, Some(load)) => self.compare(load, stop).await,
            (ServerOrder::Reload { .. }, None) => {
                Err(NotOrdered::Conflict("it runs without a file that could be read".to_owned()))
            }
        }
    }

    /// Has a service keep other numbers of containers until the next reload.
    fn scale(&self, service: &ServiceName, scale: StockScale) -> Result<Ordered, NotOrdered> {
        let absent = || NotOrdered::Absent(format!("there is no service {service}"));
        let mut plan = Plan::new(&self.config);
        let options = plan.services.iter().find(|options| options.name == *service);
        let options = options.ok_or_else(absent)?;
        let mut scales = self.in_use.scales();
        let before = scales.get(service).copied().unwrap_or_default();
        let scale = before.then(scale);
        let policy = scale.applied(&options.policy).map_err(NotOrdered::Conflict)?;
        let detail = format!("warm {}, max {}, until the next reload", policy.warm, policy.max);
        if scale == before {
            return Ok(Ordered::unchanged(detail));
        }
        scales.insert(service.clone(), scale);
        orders::scale(&mut plan.services, &scales);
        let cap = orders::fitting(&plan, self.ingress.files).map_err(NotOrdered::Conflict)?;
        self.ingress.admission.resize(cap);
        self.in_use.scaled(service.clone(), scale);
        self.run_services(Plan::new(&self.config).services);
        Ok(Ordered::changed(detail))
    }
}
