//! Keeps one container running: starts it, asks it how it is, starts it again.
//!
//! It owns the process and one entry of the Pod's views; everything else it
//! learns through its orders. Being dropped leaves the process alone.

use std::{sync::Arc, time::Duration};

use runtime::{Exit, Finished, Found, Process, Record};
use tokio::{sync::watch, time::Instant};

use super::{
    Shared,
    crash::CrashLoop,
    plan::{ContainerPlan, RestartPolicy},
    seen::PodRef,
    view::{State, View},
};
use crate::{
    events::Kind,
    probe::{Haste, Probe},
};

/// What Kubernetes shows for a container that could not be started.
const START_ERROR: i32 = 128;

/// What a container is to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Run(Arc<ContainerPlan>),
    /// Within the given grace.
    Stop(Duration),
}

pub(crate) struct Container {
    pub shared: Arc<Shared>,
    pub pod: PodRef,
    pub index: usize,
    pub orders: watch::Receiver<Order>,
    pub views: watch::Sender<Vec<View>>,
}

/// How a watch over a process ended.
enum Ended {
    /// By itself, or because it did not answer.
    Alone(Exit),
    /// There is another order.
    Ordered(Exit),
}

// === impl Container ===

impl Container {
    /// Ends when the container is stopped or finished for good.
    pub(crate) async fn run(mut self, found: Option<Found>) {
        let mut crash = CrashLoop::default();
        let mut next_attempt = 0;
        let mut last = None;
        let mut adopted = None;
        let mut replaced = false;
        if let Some(Found { record, process }) = found {
            next_attempt = record.attempt.saturating_add(1);
            last = record.finished.or(record.previous);
            self.update(|view| (view.restarts, view.last) = (record.attempt, record.previous));
            adopted = process.map(|process| (process, record));
        }
        loop {
            let order = self.orders.borrow_and_update().clone();
            let plan = match (order, &adopted) {
                (Order::Run(plan), _) => plan,
                (Order::Stop(grace), Some(_)) => {
                    let (process, record) = adopted.take().expect("just matched");
                    let exit = process.stop(grace).await;
                    self.finish(record, exit).await;
                    return;
                }
                (Order::Stop(_), None) => return,
            };
            let over = last.is_some_and(|last: Finished| !plan.restart.restarts(last.exit));
            if adopted.is_none() && over && !std::mem::take(&mut replaced) {
                self.show_end(last);
                return;
            }
            let known = adopted.is_none();
            let (process, record) = match adopted.take() {
                Some(adopted) => adopted,
                None => match self.start(&plan, next_attempt, last).await {
                    Ok(started) => started,
                    Err(error) if plan.restart == RestartPolicy::Never => {
                        tracing::info!(container = %plan.spec.id, %error, "could not start");
                        let now = super::since_epoch();
                        let exit = Exit::Code(START_ERROR);
                        self.show_end(Some(Finished { exit, started_at: now, finished_at: now }));
                        return;
                    }
                    Err(error) => {
                        next_attempt = next_attempt.saturating_add(1);
                        let wait = crash.ended(Duration::ZERO).max(Duration::from_secs(1));
                        self.wait("RunContainerError", error.to_string(), wait).await;
                        continue;
                    }
                },
            };
            let attempt = record.attempt;
            next_attempt = attempt.saturating_add(1);
            let ended = self.watch(&plan, &process, &record, known).await;
            let (Ended::Alone(exit) | Ended::Ordered(exit)) = ended;
            let finished = self.finish(record, exit).await;
            last = Some(finished);
            if matches!(ended, Ended::Ordered(_)) {
                self.show_end(last);
                replaced = true;
                continue;
            }
            if !plan.restart.restarts(exit) {
                self.show_end(last);
                return;
            }
            self.shared.metrics.restarts.add(1);
            let ran = finished.finished_at.saturating_sub(finished.started_at);
            let wait = crash.ended(ran);
            if !wait.is_zero() {
                let why = format!("back-off {}s restarting failed container", wait.as_secs());
                self.event(&plan, Kind::Warning, "BackOff", &why);
                self.update(|view| view.last = last);
                self.wait("CrashLoopBackOff", why, wait).await;
            }
        }
    }

    async fn start(
        &self,
        plan: &ContainerPlan,
        attempt: u32,
        last: Option<Finished>,
    ) -> Result<(Process, Record), runtime::Error> {
        let started = self.shared.runtime.start(plan.spec.clone(), attempt, last).await;
        match &started {
            Ok((process, _)) => {
                let text = format!("Started container {} (pid {})", plan.name, process.pid());
                self.event(plan, Kind::Normal, "Started", &text);
                tracing::info!(container = %plan.spec.id, attempt, pid = process.pid(), "started");
            }
            Err(error) => self.event(plan, Kind::Warning, "Failed", &error.to_string()),
        }
        started
    }

    /// Shows the process as running, probes it, and waits for its end.
    async fn watch(
        &mut self,
        plan: &ContainerPlan,
        process: &Process,
        record: &Record,
        known: bool,
    ) -> Ended {
        // Without a record of its start it ended before it could be looked at.
        let running = record.running.as_ref();
        let started_at = running.map_or_else(super::since_epoch, |running| running.started_at);
        self.update(|view| {
            *view = View {
                state: State::Running { started_at },
                last: record.previous,
                restarts: record.attempt,
                ready: plan.readiness.is_none(),
                known: known || plan.readiness.is_none(),
            };
        });
        let mut orders = self.orders.clone();
        let digest = plan.spec.digest;
        let other_order = orders.wait_for(|order| match order {
            Order::Run(plan) => plan.spec.digest != digest || record.digest != digest,
            Order::Stop(_) => true,
        });
        let sick = tokio::select! {
            exit = process.exited() => {
                self.update(|view| view.ready = false);
                return Ended::Alone(exit);
            }
            never = self.keep_readiness(plan, known) => match never {},
            why = self.liveness_lost(plan) => Some(why),
            _ = other_order => None,
        };
        self.update(|view| view.ready = false);
        if let Some(why) = sick {
            let text = format!("Container {} failed liveness probe: {why}", plan.name);
            self.event(plan, Kind::Warning, "Killing", &text);
            let grace = plan.liveness.as_ref().and_then(|probe| probe.grace);
            return Ended::Alone(process.stop(grace.unwrap_or(plan.grace)).await);
        }
        let text = format!("Stopping container {}", plan.name);
        self.event(plan, Kind::Normal, "Killing", &text);
        let grace = match *self.orders.borrow() {
            Order::Stop(grace) => grace,
            Order::Run(_) => plan.grace,
        };
        let exit = process.stop(grace).await;
        tracing::info!(container = %plan.spec.id, ?exit, "stopped");
        Ended::Ordered(exit)
    }

    async fn keep_readiness(&self, plan: &ContainerPlan, fresh: bool) -> std::convert::Infallible {
        if let Some(probe) = &plan.readiness {
            let mut was_ready = false;
            let delay = if fresh { probe.initial_delay } else { Duration::ZERO };
            self.ask(probe, delay, Haste::Eager, |verdict, answer| {
                if let (Err(why), true) = (answer, was_ready) {
                    let text = format!("Readiness probe failed: {why}");
                    self.event(plan, Kind::Warning, "Unhealthy", &text);
                }
                if let Some(ready) = verdict {
                    was_ready |= ready;
                    self.update(|view| view.ready = ready);
                }
                self.update(|view| view.known = true);
                false
            })
            .await;
        }
        std::future::pending().await
    }

    async fn liveness_lost(&self, plan: &ContainerPlan) -> String {
        let Some(probe) = &plan.liveness else { return std::future::pending().await };
        let mut why_lost = String::new();
        self.ask(probe, probe.initial_delay, Haste::Steady, |verdict, answer| {
            if let Err(why) = answer {
                let text = format!("Liveness probe failed: {why}");
                self.event(plan, Kind::Warning, "Unhealthy", &text);
                why_lost.clone_from(why);
            }
            verdict == Some(false)
        })
        .await;
        why_lost
    }

    /// Asks again and again until `heard` says that it is enough.
    async fn ask(
        &self,
        probe: &Probe,
        delay: Duration,
        haste: Haste,
        mut heard: impl FnMut(Option<bool>, &Result<(), String>) -> bool,
    ) {
        tokio::time::sleep(delay).await;
        let first = Instant::now();
        let mut tally = probe.tally();
        loop {
            let answer = self.shared.checker.check(probe).await;
            if answer.is_err() {
                self.shared.metrics.probe_failures.add(1);
            }
            if heard(tally.count(answer.is_ok()), &answer) {
                return;
            }
            tokio::time::sleep(probe.wait(haste, &tally, first.elapsed())).await;
        }
    }

    /// The log and the record are files: they are closed beside the tasks.
    async fn finish(&self, mut record: Record, exit: Exit) -> Finished {
        let runtime = self.shared.runtime.clone();
        let id = record.id.clone();
        let finish = move || runtime.finish(&mut record, exit);
        match tokio::task::spawn_blocking(finish).await {
            Ok(Ok(finished)) => return finished,
            Ok(Err(error)) => tracing::warn!(container = %id, %error, "could not record an end"),
            Err(error) => tracing::warn!(container = %id, %error, "could not record an end"),
        }
        let now = super::since_epoch();
        Finished { exit, started_at: now, finished_at: now }
    }

    /// Until `wait` is over or there is another order.
    async fn wait(&mut self, reason: &'static str, message: String, wait: Duration) {
        self.update(|view| {
            view.state = State::Waiting { reason, message };
            view.ready = false;
            view.known = true;
        });
        let _ = tokio::time::timeout(wait, self.orders.changed()).await;
    }

    fn show_end(&self, last: Option<Finished>) {
        self.update(|view| {
            if let Some(finished) = last {
                view.state = State::Ended(finished);
            }
            view.ready = false;
            view.known = true;
        });
    }

    fn update(&self, change: impl FnOnce(&mut View)) {
        self.views.send_if_modified(|views| {
            let view = &mut views[self.index];
            let before = view.clone();
            change(view);
            *view != before
        });
    }

    fn event(&self, plan: &ContainerPlan, kind: Kind, reason: &'static str, text: &str) {
        self.shared.events.tell(&self.pod, Some(&plan.name), kind, reason, text);
    }
}
