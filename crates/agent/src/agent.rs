//! The agent as a whole: takes over what an earlier one left, follows each
//! unit's Pods, ends as it was told to.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use client::Scope;
use k8s_openapi::jiff::Timestamp;
use rt::Drain;
use runtime::{Found, Runtime};
use rustix::fs::{FlockOperation, flock};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Config, Error,
    config::{DRAIN_GRACE, PODS_MAX},
    disk::{Manifests, Saved},
    events,
    metrics::Metrics,
    node::Reporter,
    pod::{Place, PodRef, SeenPod, Shared, Wish, Worker},
    probe::Checker,
    serve::{Pods, Server, State},
};

/// After their grace, Pods that are still there are left to the kernel.
const DRAIN_SLACK: Duration = Duration::from_secs(3);

pub struct Agent {
    config: Config,
    runtime: Arc<Runtime>,
    manifests: Manifests,
    found: Vec<Found>,
    metrics: Arc<Metrics>,
    pods: Pods,
    server: Server,
    /// Held for as long as the agent lives.
    _lock: File,
}

/// The Pods of one unit.
struct Follower {
    shared: Arc<Shared>,
    pods: Pods,
    workers: HashMap<String, Handle>,
    tasks: JoinSet<()>,
}

struct Handle {
    wishes: watch::Sender<Wish>,
    seen_version: Option<String>,
}

// === impl Agent ===

impl Agent {
    /// Takes the data folder and the address. Must be called within a runtime.
    pub async fn build(config: Config) -> Result<Agent, Error> {
        let unusable = |source| Error::Data { path: config.data.clone(), source };
        std::fs::create_dir_all(&config.data).map_err(unusable)?;
        let lock = config.data.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock)
            .map_err(unusable)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::InUse { path: config.data });
        }
        let metrics = Arc::new(Metrics::default());
        let pods = Pods::default();
        let manifests = Manifests::open(config.data.join("manifests")).map_err(unusable)?;
        let (runtime, found) = Runtime::open(runtime::Config {
            root: config.data.join("pods"),
            die_with_parent: config.pods_die_with_agent,
        })?;
        let runtime = Arc::new(runtime);
        let state = State {
            caller: config.caller.clone(),
            runtime: runtime.clone(),
            pods: pods.clone(),
            metrics: metrics.clone(),
            place: Place { node: config.center.to_string(), address: config.advertise },
        };
        let server = Server::bind(config.listen, config.tls.clone(), state).await?;
        Ok(Agent { config, runtime, manifests, found, metrics, pods, server, _lock: lock })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Until the drain; then Pods are stopped or left, as configured.
    pub async fn run(self, drain: Drain) -> Result<(), Error> {
        let Agent { config, runtime, manifests, mut found, metrics, pods, server, _lock } = self;
        let port = server.local_addr().port();
        let mut saved =
            manifests.load().map_err(|source| Error::Data { path: config.data.clone(), source })?;
        let checker = Checker::new();
        let mut background = JoinSet::new();
        let mut followers = JoinSet::new();
        background.spawn(server.run(drain.clone()));
        for unit in &config.units {
            let door = config.client.unit(unit);
            let node = config.center.to_string();
            let (events, postman) = events::channel(door.clone(), node.clone(), metrics.clone());
            background.spawn(postman.run());
            let reporter = Reporter {
                door: door.clone(),
                city: config.city.clone(),
                center: config.center.clone(),
                address: config.advertise,
                port,
                leaves: config.pods_die_with_agent,
                since: Timestamp::now(),
            };
            background.spawn(reporter.run(drain.clone()));
            let shared = Arc::new(Shared {
                unit: unit.clone(),
                door,
                place: Place { node, address: config.advertise },
                runtime: runtime.clone(),
                checker: checker.clone(),
                events,
                metrics: metrics.clone(),
                manifests: manifests.clone(),
            });
            let (workers, tasks) = (HashMap::new(), JoinSet::new());
            let mut follower = Follower { shared, pods: pods.clone(), workers, tasks };
            follower.take_over(&mut saved, &mut found);
            followers.spawn(follower.run(drain.clone(), config.pods_die_with_agent));
        }
        stop_strangers(found, &runtime, saved, &manifests).await;
        while let Some(ended) = followers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a unit's pods are no longer followed");
            }
        }
        Ok(())
    }
}

/// Containers without a manifest, or of a unit that is no longer ours: nobody
/// would ever stop them.
async fn stop_strangers(
    found: Vec<Found>,
    runtime: &Runtime,
    saved: Vec<Saved>,
    manifests: &Manifests,
) {
    for Found { record, process } in found {
        tracing::warn!(container = %record.id, "stopping a container that belongs to no pod");
        if let Some(process) = process {
            process.stop(DRAIN_GRACE).await;
        }
        if let Err(error) = runtime.remove_pod(&record.id.uid) {
            tracing::warn!(container = %record.id, %error, "could not remove its files");
        }
    }
    for saved in saved {
        let _ = manifests.remove(saved.pod.metadata.uid.as_deref().unwrap_or_default());
    }
}

// === impl Follower ===

impl Follower {
    /// Pods that ran here before go on, whether or not the API can be reached.
    fn take_over(&mut self, saved: &mut Vec<Saved>, found: &mut Vec<Found>) {
        let unit = self.shared.unit.to_string();
        for Saved { pod, .. } in saved.extract_if(.., |saved| saved.unit == unit) {
            let Some(id) = pod.identity() else { continue };
            let containers = found.extract_if(.., |found| found.record.id.uid == id.uid).collect();
            self.start(id, Arc::new(pod), containers);
        }
    }

    async fn run(mut self, drain: Drain, stop_pods: bool) {
        let node = self.shared.place.node.clone();
        let bound_here = Scope::everything().with_fields(&format!("spec.nodeName={node}"));
        let mut cache = self.shared.door.watch::<SeenPod>(bound_here);
        loop {
            let current = cache.current();
            if current.synced {
                self.follow(current.iter().filter(|pod| pod.node_name() == Some(&node)));
            }
            tokio::select! {
                _ = cache.changed() => {}
                ended = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Some(Err(error)) = ended {
                        tracing::error!(%error, "a pod is no longer looked after");
                    }
                }
                () = drain.started() => break,
            }
        }
        if stop_pods {
            for handle in self.workers.values() {
                handle.wishes.send_replace(Wish::Shutdown);
            }
            let all = async { while self.tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(DRAIN_GRACE + DRAIN_SLACK, all).await.is_err() {
                tracing::warn!("pods are still stopping; the kernel ends them with the agent");
            }
        }
    }

    /// `pods` are all there are.
    fn follow<'a>(&mut self, pods: impl Iterator<Item = &'a Arc<SeenPod>>) {
        let mut present = Vec::new();
        for pod in pods {
            let Some(id) = pod.identity() else { continue };
            present.push(id.uid.clone());
            let version = pod.metadata.resource_version.clone();
            match self.workers.get_mut(&id.uid) {
                Some(handle) if handle.seen_version == version => {}
                Some(handle) => {
                    handle.seen_version = version;
                    handle.wishes.send_replace(Wish::Run(pod.clone()));
                }
                None => self.start(id, pod.clone(), Vec::new()),
            }
        }
        self.workers.retain(|uid, handle| {
            if present.contains(uid) {
                return true;
            }
            // A worker that has ended is only remembered while the Pod is seen,
            // so that an old picture does not start it again.
            handle.wishes.send_if_modified(|wish| {
                let news = !matches!(wish, Wish::Gone);
                *wish = Wish::Gone;
                news
            });
            !handle.wishes.is_closed()
        });
        let keep = |uid: &str| self.workers.contains_key(uid);
        self.pods.keep(&self.shared.unit, keep);
        self.shared.metrics.pods.set(self.workers.len() as u64);
    }

    fn start(&mut self, id: PodRef, pod: Arc<SeenPod>, found: Vec<Found>) {
        let full = self.workers.len() >= PODS_MAX;
        let (wishes, receiver) = watch::channel(Wish::Run(pod.clone()));
        let handle = Handle { wishes, seen_version: None };
        self.pods.put(&self.shared.unit, &id, pod);
        self.workers.insert(id.uid.clone(), handle);
        let shared = self.shared.clone();
        let refusal = full.then_some("OutOfpods");
        let worker = Worker { shared, id, wishes: receiver, found, refusal };
        self.tasks.spawn(worker.run());
    }
}
