//! The policy of one cluster, kept up to date with its objects.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use kv::KeyValue;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    defaults,
    policy::{Objects, Policy},
};
use crate::{cluster::Cluster, failure::Failure, limits, request::path::Door};

/// Where the objects of a policy are kept.
pub const ROLES: &str = "/registry/rbac.authorization.k8s.io/roles/";
pub const CLUSTER_ROLES: &str = "/registry/rbac.authorization.k8s.io/clusterroles/";
pub const ROLE_BINDINGS: &str = "/registry/rbac.authorization.k8s.io/rolebindings/";
pub const CLUSTER_ROLE_BINDINGS: &str = "/registry/rbac.authorization.k8s.io/clusterrolebindings/";

const PREFIXES: [&str; 4] = [ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS];

/// The last change of each collection.
type Versions = [u64; 4];

pub struct Rights {
    cluster: Arc<Cluster>,
    changes: [watch::Receiver<u64>; 4],
    current: RwLock<Option<(Versions, Arc<Policy>)>>,
    /// Held by whoever builds the next one; the others go on with the last.
    building: Mutex<()>,
}

// === impl Rights ===

impl Rights {
    /// Must be called within a runtime.
    pub fn new(cluster: Arc<Cluster>) -> Rights {
        let changes = PREFIXES.map(|prefix| cluster.mirror().changes(prefix));
        Rights { cluster, changes, current: RwLock::default(), building: Mutex::default() }
    }

    /// As of what the mirror holds now.
    pub async fn policy(&self) -> Result<Arc<Policy>, Failure> {
        if self.cluster.mirror().reached() == 0
            && !self.cluster.mirror().reach(1, limits::REQUEST_TIMEOUT / 6).await
        {
            return Err(unread());
        }
        let versions = self.changes.each_ref().map(|changes| *changes.borrow());
        let known = self.current();
        match known {
            Some((built, policy)) if built == versions => Ok(policy),
            // Someone else is at it; what holds for another moment does for us.
            Some((_, policy)) => match self.building.try_lock() {
                Ok(_building) => Ok(self.build(versions)),
                Err(_) => Ok(policy),
            },
            None => {
                let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
                match self.current() {
                    Some((built, policy)) if built == versions => Ok(policy),
                    _ => Ok(self.build(versions)),
                }
            }
        }
    }

    fn current(&self) -> Option<(Versions, Arc<Policy>)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn build(&self, versions: Versions) -> Arc<Policy> {
        let kept = PREFIXES.map(|prefix| {
            let list = self.cluster.mirror().list(prefix, prefix);
            list.iter().filter_map(read).collect::<Vec<Value>>()
        });
        let [roles, cluster_roles, role_bindings, cluster_role_bindings] = &kept;
        let mut objects = Objects {
            roles: roles.iter().collect(),
            cluster_roles: cluster_roles.iter().collect(),
            role_bindings: role_bindings.iter().collect(),
            cluster_role_bindings: cluster_role_bindings.iter().collect(),
        };
        // A plain cluster keeps the defaults as objects, where they can be
        // changed; the doors of an estate just have them.
        if self.cluster.door != Door::Cluster {
            objects.add_below(&defaults::OBJECTS);
        }
        let policy = Arc::new(Policy::build(&objects));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) =
            Some((versions, policy.clone()));
        policy
    }
}

/// The store does not tell what the roles are.
pub fn unread() -> Failure {
    let code = errors::API_STORE_UNAVAILABLE;
    Failure::unavailable(format!("{code}: roles cannot be read. {}", code.remedy()))
}

pub fn read(kv: &KeyValue) -> Option<Value> {
    let value = serde_json::from_slice::<Value>(&kv.value).ok();
    if value.is_none() {
        let key = String::from_utf8_lossy(&kv.key);
        tracing::error!(%key, code = %errors::API_OBJECT_UNREADABLE, "a role or binding cannot be read");
    }
    value
}
