//! Gets a daemon ready for a service: its image, and how its containers are reached.

use std::sync::Arc;

use ganger_pool::core::ServiceName;
use ganger_pool::runtime::CallError;

use super::daemon::Daemon;
use super::{Docker, Network, Reach, Spec};
use crate::spec::Sandbox;

// === impl Docker ===

impl Docker {
    pub(super) async fn prepare_service(
        &self,
        daemon: &Arc<Daemon>,
        service: &ServiceName,
        spec: &Arc<Spec>,
    ) -> Result<(), CallError> {
        let contact = daemon.contact()?;
        let reach = contact.reach(spec).map_err(|why| {
            CallError::refused(format!("service {service} on daemon {}: {why}", daemon.name))
        })?;
        let refused =
            |why| CallError::refused(format!("service {service} on daemon {}: {why}", daemon.name));
        contact.heeds(spec).map_err(refused)?;
        contact.find_sources(spec).await.map_err(refused)?;
        if let Some(doubt) = contact.doubts(spec) {
            daemon.warn(service, &doubt);
        }
        let builtin = self.builtin.iter().find(|builtin| builtin.reference == spec.image);
        // Pinned: a tag that moves meanwhile must not mix two images in one generation.
        let pinned = match daemon.prepared(service, spec) {
            Some(image) => daemon.image_id(&image).await?,
            None => None,
        };
        let image = match pinned {
            Some(image) => image,
            None => daemon.image(&spec.image, spec.pull, builtin).await?,
        };
        if spec.network == Network::Isolated && !contact.kind.isolates_networks() {
            self.run_network(daemon, &contact).await?;
        }
        if daemon.reach_of(service) != Some(reach) {
            let (daemon, why) = (&daemon.name, contact.why_published());
            match (reach, why.filter(|_| spec.reach == Reach::Auto)) {
                (Reach::Published, Some(why)) => {
                    tracing::info!(%daemon, %service, why, "containers are reached by published port");
                }
                (Reach::Published, None) => {
                    tracing::info!(%daemon, %service, "containers are reached by published port");
                }
                _ => tracing::info!(%daemon, %service, "containers are reached by namespace"),
            }
        }
        let made_of = image.clone();
        daemon.set_prepared(service, spec, image, reach);
        if spec.sandbox == Sandbox::Cell {
            // The first launch does not wait for it then. One that fails is told, and is no refusal.
            _ = self.carrier(daemon, &contact, service, (spec, &made_of)).await;
        }
        Ok(())
    }
}
