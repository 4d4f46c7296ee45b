//! Events for the ledger, and the dispatch of its actions.

use std::time::Instant;

use super::outbox::Outbox;
use super::{Answer, Grant, Inner};
use crate::core::{Action, ContainerKey, Event, Refusal, WaiterId};
use crate::events::EventKind;
use crate::orders::{Order, RemovalOrder};
use crate::panics::catch_panic_at_once;
use crate::runtime::{ContainerRuntime, Target};

// === impl Inner ===

impl<R: ContainerRuntime> Inner<R> {
    /// Handles an event. Returns whether the timer must be woken.
    pub(super) fn handle(&mut self, event: Event, outbox: &mut Outbox<R>) -> bool {
        let now = tokio::time::Instant::now().into_std();
        // As an event of its own: a panic in it must not cost `event`.
        if self.ledger.next_deadline().is_some_and(|at| at <= now) {
            self.tell(now, Event::Tick, outbox);
        }
        if !self.tell(now, event, outbox)
            && let Some(waiter) = outbox.asker
        {
            self.answer(waiter, Err(Refusal::Draining), outbox);
            self.tell(now, Event::Abandoned { waiter }, outbox);
        }
        let next = self.ledger.next_deadline();
        let rearm = next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed));
        if rearm {
            self.armed = next;
        }
        rearm
    }

    /// Has the ledger handle an event, and carries out its actions. Returns false when the ledger
    /// panicked, which costs the subject of the event and not the pool. A debug build does not
    /// catch the panic.
    fn tell(&mut self, now: Instant, event: Event, outbox: &mut Outbox<R>) -> bool {
        let ordered = match cfg!(debug_assertions) {
            true => Ok(self.ledger.handle(now, event)),
            false => catch_panic_at_once("the ledger", || self.ledger.handle(now, event)),
        };
        let is_told = ordered.is_ok();
        for action in ordered.unwrap_or_else(|_| self.ledger.take_ordered()) {
            self.carry_out(action, outbox);
        }
        is_told
    }

    fn carry_out(&mut self, action: Action, outbox: &mut Outbox<R>) {
        match action {
            Action::Launch { launch, daemon, service, generation, max_containers } => {
                if self.events.is_observed() {
                    let (service, daemon) = (service.clone(), daemon.clone());
                    self.note(
                        outbox,
                        EventKind::LaunchOrdered { launch, service, generation, daemon },
                    );
                }
                let order = Order::Launch { launch, daemon, service, generation, max_containers };
                outbox.orders.push(order);
            }
            Action::Interrupt { launch } => outbox.orders.push(Order::Interrupt(launch)),
            Action::Check { launch } => outbox.orders.push(Order::Check(launch)),
            Action::Retire { daemon, key, reason, ended_in_stock } => {
                if let ContainerKey::Launch(launch) = &key {
                    outbox.dropped.extend(self.handles.remove(launch));
                }
                let target = Target { daemon, key };
                self.note(outbox, EventKind::Retiring { target: target.clone(), reason });
                outbox.removals.push(RemovalOrder { target, reason, ended_in_stock });
            }
            Action::Queued { place, .. } => outbox.place = Some(place),
            Action::Grant { waiter, launch, daemon, start, uses, ready } => {
                let answer = match self.handles.get(&launch).cloned() {
                    Some(handle) => Ok(Grant { launch, daemon, handle, start, uses, ready }),
                    // The ledger had a mistake.
                    None => Err(Refusal::Draining),
                };
                let is_granted = answer.is_ok();
                if self.answer(waiter, answer, outbox) && is_granted {
                    if outbox.detailed {
                        self.note(outbox, EventKind::Granted { launch, start, uses });
                    }
                } else {
                    self.note(outbox, EventKind::GrantedToNobody { launch });
                    outbox.undeliverable.push(launch);
                }
            }
            Action::Refuse { waiter, service, refusal } => {
                let told = outbox.detailed.then(|| refusal.clone());
                if self.answer(waiter, Err(refusal), outbox)
                    && let Some(refusal) = told
                {
                    self.note(outbox, EventKind::Refused { service, refusal });
                }
            }
            Action::Forget { daemon } => outbox.emptied.push(daemon),
            Action::Advanced { service, generation, stage } => {
                self.note(outbox, EventKind::RolloutAdvanced { service, generation, stage });
            }
            Action::SwitchedOver { service, generation } => {
                // Under the lock: a reload has to know the generations of the ledger.
                self.services.switched_over(&service, generation);
                outbox.services_changed = true;
                self.note(outbox, EventKind::SwitchedOver { service, generation });
            }
            Action::RolledBack { service, generation, why, reason } => {
                self.services.rolled_back(&service, generation);
                outbox.services_changed = true;
                self.note(outbox, EventKind::RolledBack { service, generation, why, reason });
            }
            Action::Degraded { daemon, reason } => {
                self.note(outbox, EventKind::Degraded { daemon, reason });
            }
            Action::Recovered { daemon } => self.note(outbox, EventKind::Recovered { daemon }),
            Action::Resized { service, warm } => {
                self.note(outbox, EventKind::StockResized { service, warm });
            }
            Action::Paced { service, generation, pause } => {
                self.note(outbox, EventKind::Paced { service, generation, pause });
            }
            Action::Moved { launch, from, to } => {
                if outbox.detailed {
                    self.note(outbox, EventKind::StateChanged { launch, from, to });
                }
            }
        }
    }

    /// Keeps an answer until the lock is released. Returns false when nobody waits for it.
    fn answer(&mut self, waiter: WaiterId, answer: Answer<R>, outbox: &mut Outbox<R>) -> bool {
        if outbox.asker.take_if(|asker| *asker == waiter).is_some() {
            outbox.answer = Some(answer);
            return true;
        }
        let sender = self.waiters.remove(&waiter);
        sender.map(|sender| outbox.answers.push((sender, answer))).is_some()
    }

    /// Has an event told after the lock is released.
    pub(super) fn note(&self, outbox: &mut Outbox<R>, kind: EventKind) {
        outbox.events.push((self.events.number(), kind));
    }
}
