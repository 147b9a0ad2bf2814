//! The garbage collector: what belonged to an object that is gone goes too, in
//! the way that was asked for, and a namespace that is going is emptied.
//!
//! It reads from the mirror what to look at, and from the store what to do: an
//! owner is gone only when the store says so. One of the replicas does it at a
//! time; that two do it for a moment does no harm, since everything it does
//! names the object's uid.

mod act;
mod graph;
mod term;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

pub use graph::{FOREGROUND, ORPHAN};

use self::graph::{Graph, Head, Key};
use crate::{catalog, cluster::Cluster, mirror};

/// How long a look that failed waits, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How often everything is looked at anew, whatever happened: kinds come and
/// go, and with them what owners can be known.
const EVERYTHING_EVERY: Duration = Duration::from_secs(120);

/// Changes of one kind taken in one step.
const CHANGES_MAX: usize = 1024;

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// Whether it should go, by what became of its owners.
    Judge(Key),
    /// Whether it need not wait for its dependents any more.
    Release(Key),
    /// The same for an owner, of which only a reference is known.
    ReleaseOwner { owner: graph::Owner, namespace: Option<String> },
    /// A namespace that is going.
    Empty(String),
}

struct Collector {
    graph: Graph,
    /// Up to where each collection's changes were taken.
    taken: HashMap<String, u64>,
    tasks: BTreeSet<Task>,
    /// What failed, when it is tried again, and after which wait.
    later: BTreeMap<Task, (Instant, Duration)>,
}

/// Collects in the cluster for as long as it is there.
pub async fn run(cluster: Weak<Cluster>) {
    loop {
        let Some(kv) = cluster.upgrade().map(|cluster| cluster.kv.clone()) else { return };
        let Some(term) = term::begin(kv).await else { continue };
        tokio::select! {
            () = term.end() => {}
            () = collect(&cluster) => {}
        }
        if cluster.strong_count() == 0 {
            return;
        }
    }
}

async fn collect(cluster: &Weak<Cluster>) {
    let Some(held) = cluster.upgrade() else { return };
    held.mirror().reach(1, Duration::MAX).await;
    let mut moved = held.mirror().progress();
    drop(held);
    let mut collector = Collector::new();
    let mut everything_at = Instant::now();
    loop {
        let Some(held) = cluster.upgrade() else { return };
        if everything_at <= Instant::now() {
            collector.start_over(&held);
            everything_at = Instant::now() + EVERYTHING_EVERY;
        }
        collector.take(&held);
        collector.work(&held).await;
        drop(held);
        let next = collector.next_retry().unwrap_or(everything_at).min(everything_at);
        tokio::select! {
            changed = moved.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// `/registry/GROUP/PLURAL/NAMESPACE/NAME`; none of an object without one.
fn namespace_of(key: &str) -> Option<String> {
    let mut parts = key.strip_prefix(mirror::ROOT)?.splitn(4, '/').skip(2);
    let namespace = parts.next()?;
    parts.next().map(|_| namespace.to_owned())
}

// === impl Collector ===

impl Collector {
    fn new() -> Collector {
        Collector {
            graph: Graph::default(),
            taken: HashMap::new(),
            tasks: BTreeSet::new(),
            later: BTreeMap::new(),
        }
    }

    /// Looks at everything there is.
    fn start_over(&mut self, cluster: &Arc<Cluster>) {
        self.graph = Graph::default();
        self.taken.clear();
        for prefix in cluster.mirror().prefixes() {
            self.load(cluster, &prefix);
        }
    }

    fn load(&mut self, cluster: &Arc<Cluster>, prefix: &str) {
        let (entries, last) = cluster.mirror().look(prefix, |collection| {
            let entries: Vec<_> = collection.range(prefix.as_bytes()).cloned().collect();
            (entries, collection.last())
        });
        self.taken.insert(prefix.to_owned(), last);
        for kv in entries {
            self.seen(cluster, prefix, &kv);
        }
    }

    /// Takes what changed since.
    fn take(&mut self, cluster: &Arc<Cluster>) {
        for prefix in cluster.mirror().prefixes() {
            let Some(taken) = self.taken.get(&prefix).copied() else {
                self.load(cluster, &prefix);
                continue;
            };
            let changes =
                cluster.mirror().look(&prefix, |collection| match collection.last() > taken {
                    true => collection.since(taken, CHANGES_MAX),
                    false => Ok(Vec::new()),
                });
            let Ok(changes) = changes else {
                self.load(cluster, &prefix);
                continue;
            };
            for change in changes {
                self.taken.insert(prefix.clone(), change.revision);
                self.changed(cluster, &prefix, change);
            }
        }
    }

    fn changed(&mut self, cluster: &Arc<Cluster>, prefix: &str, change: mirror::Change) {
        match (change.now, change.before) {
            (Some(now), _) => self.seen(cluster, prefix, &now),
            (None, Some(before)) => {
                let key = String::from_utf8_lossy(&before.key).into_owned();
                let namespace = namespace_of(&key);
                if prefix == catalog::pods().prefix()
                    && let Some(namespace) = &namespace
                {
                    self.pod_gone(cluster, prefix, namespace);
                }
                for owner in self.graph.remove(&key) {
                    // It may have waited for this to be gone.
                    let namespace = namespace.clone();
                    self.tasks.insert(Task::ReleaseOwner { owner, namespace });
                }
                let uid = Head::read(&before.value).uid;
                self.tasks.extend(self.graph.dependents(&uid).into_iter().map(Task::Judge));
            }
            (None, None) => {}
        }
    }

    /// With the last Pod of a namespace that is going, all else in it may go.
    fn pod_gone(&mut self, cluster: &Arc<Cluster>, prefix: &str, namespace: &str) {
        let task = Task::Empty(namespace.to_owned());
        let within = format!("{prefix}{namespace}/");
        if self.later.contains_key(&task)
            && cluster.mirror().look(prefix, |pods| pods.range(within.as_bytes()).next().is_none())
        {
            self.later.remove(&task);
            self.tasks.insert(task);
        }
    }

    fn seen(&mut self, cluster: &Arc<Cluster>, prefix: &str, kv: &kv::KeyValue) {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        let concerns = |text: &[u8]| memchr::memmem::find(&kv.value, text).is_some();
        let owned = concerns(b"\"ownerReferences\"");
        let going = concerns(b"\"deletionTimestamp\"");
        if !owned {
            self.graph.remove(&key);
        }
        if !owned && !going {
            return;
        }
        let head = Head::read(&kv.value);
        if head.waits() {
            self.tasks.insert(Task::Release(key.clone()));
        }
        if head.deleting && prefix == catalog::namespaces().prefix() {
            let name = key.rsplit('/').next().unwrap_or_default();
            self.tasks.insert(Task::Empty(name.to_owned()));
        }
        // Nearly everything has all its owners: that costs no read of the store.
        if !act::is_settled(cluster, &head.owners, namespace_of(&key).as_deref()) {
            self.tasks.insert(Task::Judge(key.clone()));
        }
        self.graph.set(&key, head.owners);
    }

    /// Does what there is to do now.
    async fn work(&mut self, cluster: &Arc<Cluster>) {
        let now = Instant::now();
        let due: Vec<(Task, Duration)> = self
            .later
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(task, (_, wait))| (task.clone(), *wait))
            .collect();
        let mut waits: BTreeMap<Task, Duration> = BTreeMap::new();
        for (task, wait) in due {
            self.later.remove(&task);
            waits.insert(task.clone(), wait);
            self.tasks.insert(task);
        }
        for task in std::mem::take(&mut self.tasks) {
            match act::act(cluster, &self.graph, &task).await {
                Ok(next) => self.tasks.extend(next),
                Err(failure) => {
                    tracing::debug!(?task, failure = ?failure.code(), "collecting is tried again");
                    let wait = waits.get(&task).map_or(RETRY_FIRST, |wait| *wait * 2);
                    let wait = wait.min(RETRY_MAX);
                    self.later.insert(task, (Instant::now() + wait, wait));
                }
            }
        }
    }

    fn next_retry(&self) -> Option<Instant> {
        match self.tasks.is_empty() {
            true => self.later.values().map(|(at, _)| *at).min(),
            false => Some(Instant::now()),
        }
    }
}
