//! One Pod from its manifest to its end: a task that follows what is wished,
//! gives its containers orders, and tells the API what is seen.
//!
//! The ends: deleted in the API (stop, then delete for good under the Pod's
//! uid), gone from the API (stop), or the agent ends (stop, or leave running).

mod container;
mod crash;
mod expand;
mod plan;
mod publish;
mod seen;
mod status;
mod view;

pub(crate) use plan::{Place, PodPlan};
pub(crate) use seen::{PodRef, SeenPod};

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use client::{DeleteOptions, Door};
use k8s_openapi::jiff::Timestamp;
use rt::{backoff::Backoff, random::Random};
use runtime::{Found, Runtime};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::DRAIN_GRACE,
    disk::Manifests,
    events::{self, Events},
    metrics::Metrics,
    probe::Checker,
};
use container::{Container, Order};
use plan::{ContainerPlan, Refusal};
use publish::Publisher;
use view::View;

/// The last status of a Pod that stops with its agent may take this long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Between tries to delete a Pod for good while the API is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What all Pods of one unit share.
pub(crate) struct Shared {
    pub unit: topology::UnitName,
    pub door: Door,
    pub place: Place,
    pub runtime: Arc<Runtime>,
    pub checker: Checker,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    pub manifests: Manifests,
}

/// What a Pod is to do; the newest counts.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Run(Arc<SeenPod>),
    /// The API no longer has it.
    Gone,
    /// The agent ends, and its Pods with it.
    Shutdown,
}

pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub id: PodRef,
    pub wishes: watch::Receiver<Wish>,
    /// Containers that an earlier agent started.
    pub found: Vec<Found>,
    /// Another reason than its manifest why the Pod cannot run.
    pub refusal: Option<&'static str>,
}

/// Why a Pod stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    Deleted,
    Gone,
    Shutdown,
}

/// The Pod's containers at work.
struct Crew {
    plan: PodPlan,
    orders: Vec<watch::Sender<Order>>,
    views: watch::Receiver<Vec<View>>,
    tasks: JoinSet<()>,
}

// === impl Worker ===

impl Worker {
    /// Dropping the future leaves the containers running.
    pub(crate) async fn run(mut self) {
        let wish = self.wishes.borrow_and_update().clone();
        let stopping = match wish {
            Wish::Gone => Stopping::Gone,
            Wish::Shutdown => Stopping::Shutdown,
            Wish::Run(pod) => self.live(pod).await,
        };
        self.stop_found().await;
        match stopping {
            Stopping::Shutdown => return,
            Stopping::Deleted => self.delete().await,
            Stopping::Gone => {}
        }
        self.forget().await;
    }

    /// Until the Pod has stopped.
    async fn live(&mut self, pod: Arc<SeenPod>) -> Stopping {
        let planned = match self.refusal {
            Some(reason) => Err(Refusal { reason, message: "the node has no room".into() }),
            None => PodPlan::of(&pod, &self.id, &self.shared.place),
        };
        let publisher = Publisher::start(&self.shared.door, self.id.clone(), &pod);
        let plan = match planned {
            Ok(plan) if !pod.is_terminal() => plan,
            planned => {
                if let Err(refusal) = planned
                    && !pod.is_terminal()
                {
                    tracing::info!(pod = %self.id, %refusal, "a pod is refused");
                    let status = status::of_refusal(&refusal, &pod.last_status(), Timestamp::now());
                    publisher.want(status);
                }
                return self.idle(publisher).await;
            }
        };
        if let Err(error) = self.shared.manifests.save(&self.shared.unit, &pod, &self.id.uid) {
            // It runs all the same; only a restart without an API misses it.
            tracing::warn!(pod = %self.id, %error, "could not save a manifest");
        }
        let crew = self.crew(plan, pod.is_deleting());
        self.lead(crew, pod, publisher).await
    }

    /// Nothing runs: waits for the end.
    async fn idle(&mut self, publisher: Publisher) -> Stopping {
        self.stop_found().await;
        loop {
            match &*self.wishes.borrow_and_update() {
                Wish::Run(pod) if pod.is_deleting() => return Stopping::Deleted,
                Wish::Run(pod) => publisher.seen(pod),
                Wish::Gone => return Stopping::Gone,
                Wish::Shutdown => return Stopping::Shutdown,
            }
            if self.wishes.changed().await.is_err() {
                return Stopping::Shutdown;
            }
        }
    }

    /// Those that no crew has taken over.
    async fn stop_found(&mut self) {
        for found in std::mem::take(&mut self.found) {
            if let Some(process) = found.process {
                process.stop(DRAIN_GRACE).await;
            }
        }
    }

    fn crew(&mut self, plan: PodPlan, stop: bool) -> Crew {
        let views = watch::Sender::new(vec![View::creating(); plan.containers.len()]);
        let mut tasks = JoinSet::new();
        let mut orders = Vec::with_capacity(plan.containers.len());
        for (index, container) in plan.containers.iter().enumerate() {
            let position =
                self.found.iter().position(|found| found.record.id.container == container.name);
            let found = position.map(|position| self.found.swap_remove(position));
            let order = if stop { Order::Stop(plan.grace) } else { run(container) };
            let (sender, receiver) = watch::channel(order);
            orders.push(sender);
            let (shared, pod, views) = (self.shared.clone(), self.id.clone(), views.clone());
            let container = Container { shared, pod, index, orders: receiver, views };
            tasks.spawn(container.run(found));
        }
        // What no longer belongs to the Pod.
        for process in self.found.drain(..).filter_map(|found| found.process) {
            tasks.spawn(async move {
                process.stop(DRAIN_GRACE).await;
            });
        }
        Crew { plan, orders, views: views.subscribe(), tasks }
    }

    async fn lead(
        &mut self,
        mut crew: Crew,
        mut pod: Arc<SeenPod>,
        publisher: Publisher,
    ) -> Stopping {
        let mut stopping = None;
        let mut last = pod.last_status();
        loop {
            let wish = self.wishes.borrow_and_update().clone();
            let stop = match &wish {
                Wish::Run(pod) if pod.is_deleting() => Some(Stopping::Deleted),
                Wish::Run(_) => None,
                Wish::Gone => Some(Stopping::Gone),
                Wish::Shutdown => Some(Stopping::Shutdown),
            };
            let mut changed = false;
            if let Wish::Run(newer) = wish
                && !Arc::ptr_eq(&newer, &pod)
            {
                publisher.seen(&newer);
                status::keep_others(&mut last, newer.last_status());
                (pod, changed) = (newer, true);
            }
            if let Some(stop) = stop.filter(|stop| stopping != Some(*stop)) {
                stopping = Some(stop);
                crew.stop(grace(&pod, crew.plan.grace, stop));
            } else if changed && stopping.is_none() {
                let planned = PodPlan::of(&pod, &self.id, &self.shared.place);
                if let Err(Refusal { reason, message }) = &planned {
                    // It goes on as it is; whoever changed it learns why.
                    let warning = events::Kind::Warning;
                    self.shared.events.tell(&self.id, None, warning, reason, message);
                }
                crew.follow(planned);
            }
            let views = crew.views.borrow_and_update().clone();
            if views.iter().all(|view| view.known) {
                let (place, now) = (&self.shared.place, Timestamp::now());
                let seen = stopping.is_some();
                last = status::of_views(&crew.plan, &views, seen, place, &last, now);
                publisher.want(last.clone());
            }
            tokio::select! {
                _ = crew.views.changed() => {}
                changed = self.wishes.changed() => if changed.is_err() {
                    // The agent ends and leaves its Pods running.
                    return std::future::pending().await;
                },
                ended = crew.tasks.join_next(), if stopping.is_some() => match ended {
                    Some(Err(error)) => tracing::error!(pod = %self.id, %error, "a container's task failed"),
                    Some(Ok(())) => {}
                    None => break,
                }
            }
        }
        // Views of the very end.
        let views = crew.views.borrow().clone();
        let (place, now) = (&self.shared.place, Timestamp::now());
        publisher.want(status::of_views(&crew.plan, &views, true, place, &last, now));
        let _ = tokio::time::timeout(LAST_WORDS, publisher.settled()).await;
        stopping.expect("the loop ends only when stopping")
    }

    /// Removes the object, this incarnation only.
    async fn delete(&mut self) {
        let pods = self.shared.door.namespaced::<SeenPod>(&self.id.namespace);
        let options = DeleteOptions { uid: Some(&self.id.uid), grace_seconds: Some(0) };
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            match pods.delete(&self.id.name, &options).await {
                Ok(_) => return,
                // Another Pod has the name by now.
                Err(error) if error.is_conflict() => return,
                Err(error) => {
                    tracing::debug!(pod = %self.id, %error, "could not delete, trying again");
                }
            }
            let gone = self.wishes.wait_for(|wish| !matches!(wish, Wish::Run(_)));
            match tokio::time::timeout(backoff.step(), gone).await {
                Ok(_) => return,
                Err(_) => continue,
            }
        }
    }

    async fn forget(&self) {
        let (runtime, manifests) = (self.shared.runtime.clone(), self.shared.manifests.clone());
        let uid = self.id.uid.clone();
        let forget = move || {
            manifests.remove(&uid)?;
            runtime.remove_pod(&uid).map_err(std::io::Error::other)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(forget).await {
            tracing::warn!(pod = %self.id, %error, "could not remove the files of a pod");
        }
        tracing::info!(pod = %self.id, "removed");
    }
}

// === impl Crew ===

impl Crew {
    fn stop(&mut self, grace: Duration) {
        for orders in &self.orders {
            orders.send_replace(Order::Stop(grace));
        }
    }

    /// A changed container starts anew; any other change of a Pod waits for its
    /// replacement, as does one that cannot be planned.
    fn follow(&mut self, newer: Result<PodPlan, Refusal>) {
        let Ok(newer) = newer else { return };
        for (index, container) in self.plan.containers.iter_mut().enumerate() {
            let newer = newer.containers.iter().find(|newer| newer.name == container.name);
            if let Some(newer) = newer.filter(|newer| newer.spec.digest != container.spec.digest) {
                *container = newer.clone();
                self.orders[index].send_replace(run(newer));
            }
        }
    }
}

fn run(container: &ContainerPlan) -> Order {
    Order::Run(Arc::new(container.clone()))
}

fn grace(pod: &SeenPod, planned: Duration, stopping: Stopping) -> Duration {
    match stopping {
        Stopping::Deleted => {
            let asked = pod.metadata.deletion_grace_period_seconds;
            asked.and_then(|seconds| u64::try_from(seconds).ok()).map_or(planned, |seconds| {
                Duration::from_secs(seconds).min(planned.max(DRAIN_GRACE))
            })
        }
        Stopping::Gone => planned,
        Stopping::Shutdown => planned.min(DRAIN_GRACE),
    }
}

/// For statuses, which people read.
#[allow(clippy::disallowed_methods)]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
