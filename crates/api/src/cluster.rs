//! The clusters behind the doors: the federation's keyspace and one for each
//! unit that exists.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use kv::{KeyRange, Kv, LeaseId, RangeRequest};
use tokio::{
    sync::{Mutex as AsyncMutex, OnceCell},
    time::Instant,
};
use topology::UnitName;

use crate::{
    admission::Admission,
    catalog::{self, Catalog},
    collect,
    custom::{self, Tended},
    failure::Failure,
    mirror::{self, Mirror},
    registry::{self, Turns, provision_namespaces},
    request::path::Door,
    webhook::Callers,
};

/// Gives the store's handle for a keyspace. Called once for each.
pub type Keyspaces = Arc<dyn Fn(&str) -> Arc<dyn Kv> + Send + Sync>;

/// How long a unit is believed to exist after it was seen.
const UNIT_BELIEVED: Duration = Duration::from_secs(5);

/// One cluster's storage.
pub struct Cluster {
    pub door: Door,
    pub kv: Arc<dyn Kv>,
    pub expiry: Expiry,
    /// What is served now.
    catalog: RwLock<Arc<Catalog>>,
    mirror: OnceLock<Mirror>,
    /// Who else is asked before something is written.
    pub admission: Admission,
    /// How they are asked, and who converts custom kinds.
    pub callers: Callers,
    /// Who may book on quotas.
    pub turns: Turns,
    /// Custom kinds were read, and are followed.
    tended: OnceCell<Tended>,
    /// The namespaces that every cluster has were made.
    provisioned: OnceCell<()>,
    seen: Mutex<Option<Instant>>,
}

/// Leases for objects that go by themselves, shared by those that are written
/// within a short time of each other.
#[derive(Default)]
pub struct Expiry {
    current: AsyncMutex<Option<(LeaseId, Instant)>>,
}

pub struct Clusters {
    root: Door,
    keyspaces: Keyspaces,
    open: Mutex<HashMap<Door, Arc<Cluster>>>,
}

// === impl Clusters ===

impl Clusters {
    /// `root` is what stands at `/`.
    pub fn new(keyspaces: Keyspaces, root: Door) -> Clusters {
        Clusters { root, keyspaces, open: Mutex::default() }
    }

    pub fn root(&self) -> &Door {
        &self.root
    }

    pub fn federation(&self) -> Arc<Cluster> {
        self.handle(&Door::Federation)
    }

    /// The unit's storage, whether it exists or not.
    pub fn unit(&self, unit: &UnitName) -> Arc<Cluster> {
        self.handle(&Door::Unit(unit.clone()))
    }

    /// Fails when `door` leads nowhere.
    pub async fn check(&self, door: &Door) -> Result<(), Failure> {
        match door {
            Door::Federation | Door::Cluster => Ok(()),
            Door::Unit(unit) => self.check_unit(unit).await,
        }
    }

    /// Whether the store answers a linearizable read in time.
    pub async fn probe(&self, timeout: Duration) -> Result<(), String> {
        let mut request = RangeRequest::new(KeyRange::key("/registry"));
        request.count_only = true;
        let cluster = self.handle(&self.root);
        match tokio::time::timeout(timeout, cluster.kv.range(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", timeout.as_secs())),
        }
    }

    /// What stands behind `door`, ready for use.
    pub async fn enter(&self, door: &Door) -> Result<Arc<Cluster>, Failure> {
        self.check(door).await?;
        let cluster = self.handle(door);
        let provision = || async {
            provision_namespaces(&*cluster.kv).await?;
            tokio::spawn(collect::run(Arc::downgrade(&cluster)));
            Ok::<_, kv::Error>(())
        };
        cluster.provisioned.get_or_try_init(provision).await?;
        cluster.tended.get_or_try_init(|| custom::tend(&cluster)).await?;
        Ok(cluster)
    }

    /// The same, if somebody has entered before.
    pub fn entered(&self, door: &Door) -> Option<Arc<Cluster>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(door).filter(|cluster| cluster.tended.initialized()).cloned()
    }

    fn handle(&self, door: &Door) -> Arc<Cluster> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Cluster {
                door: door.clone(),
                kv: (self.keyspaces)(&door.keyspace()),
                expiry: Expiry::default(),
                catalog: RwLock::new(Catalog::builtin().clone()),
                mirror: OnceLock::new(),
                admission: Admission::default(),
                callers: Callers::default(),
                turns: Turns::default(),
                tended: OnceCell::new(),
                provisioned: OnceCell::new(),
                seen: Mutex::new(None),
            })
        };
        open.entry(door.clone()).or_insert_with(new).clone()
    }

    async fn check_unit(&self, unit: &UnitName) -> Result<(), Failure> {
        let door = Door::Unit(unit.clone());
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&door).cloned();
        if known.is_some_and(|cluster| cluster.was_seen()) {
            return Ok(());
        }
        let units = catalog::units();
        let key = units.key(None, unit.as_str());
        match registry::read(&*self.federation().kv, units, key).await? {
            None => Err(Failure::not_found(units, unit.as_str())),
            Some(_) => {
                *self.handle(&door).seen.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Instant::now());
                Ok(())
            }
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// The objects in memory; followed from the first call on.
    pub fn mirror(&self) -> &Mirror {
        self.mirror.get_or_init(|| Mirror::start(self.kv.clone()))
    }

    /// Whether the store is in this process.
    pub fn is_near(&self) -> bool {
        self.kv.is_near()
    }

    /// How far the store is, by a linearizable read.
    pub async fn revision(&self) -> Result<u64, Failure> {
        let mut request = RangeRequest::new(KeyRange::key(mirror::ROOT));
        request.count_only = true;
        Ok(self.kv.range(request).await?.revision.0)
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_catalog(&self, catalog: Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }

    fn was_seen(&self) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|seen| seen.elapsed() < UNIT_BELIEVED)
    }
}

// === impl Expiry ===

impl Expiry {
    /// A lease that lives `ttl_s` or a little longer.
    pub async fn lease(&self, kv: &dyn Kv, ttl_s: u64) -> Result<LeaseId, Failure> {
        // Up to this much longer, so that a burst of events takes one lease.
        let shared_s = (ttl_s / 20).max(1);
        let mut current = self.current.lock().await;
        if let Some((lease, granted)) = *current
            && granted.elapsed().as_secs() < shared_s
        {
            return Ok(lease);
        }
        let granted = Instant::now();
        let lease = kv.lease_grant(None, Duration::from_secs(ttl_s + shared_s)).await?;
        *current = Some((lease.id, granted));
        Ok(lease.id)
    }

    /// The store does not know `lease` any more: the next write takes another.
    pub async fn forget(&self, lease: LeaseId) {
        let mut current = self.current.lock().await;
        if current.is_some_and(|(known, _)| known == lease) {
            *current = None;
        }
    }
}
