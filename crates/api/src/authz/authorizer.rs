//! Asks whoever may say yes, in order; the first yes decides.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde_json::Value;

use super::{
    Attributes, node,
    policy::Policy,
    processes,
    rights::{self, Rights},
};
use crate::{
    caller::{Caller, MASTERS},
    cluster::{Cluster, Clusters},
    failure::Failure,
    object,
    request::path::Door,
    resource::Resource,
    settings::AuthorizationMode,
};

/// How long a write of roles waits for those written before it to be seen.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Authorizer {
    clusters: Arc<Clusters>,
    modes: Vec<AuthorizationMode>,
    rights: RwLock<HashMap<Door, Arc<Rights>>>,
}

/// With why; Kubernetes' words, often none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed(String),
    Denied(String),
}

// === impl Decision ===

impl Decision {
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allowed(_))
    }

    pub fn reason(&self) -> &str {
        let (Decision::Allowed(reason) | Decision::Denied(reason)) = self;
        reason
    }
}

// === impl Authorizer ===

impl Authorizer {
    /// Without modes the estate's own groups decide, and roles.
    pub fn new(clusters: Arc<Clusters>, modes: &[AuthorizationMode]) -> Authorizer {
        let modes = match modes {
            [] => vec![AuthorizationMode::Rbac],
            modes => modes.to_vec(),
        };
        Authorizer { clusters, modes, rights: RwLock::default() }
    }

    pub fn keeps_roles(&self) -> bool {
        self.modes.contains(&AuthorizationMode::Rbac)
    }

    /// Whether what `caller` may is more than rules that can be listed.
    pub fn goes_beyond_rules(&self, caller: &Caller) -> bool {
        self.modes.iter().any(|mode| match mode {
            AuthorizationMode::Node => node::is_node(caller),
            AuthorizationMode::AlwaysAllow => true,
            AuthorizationMode::Rbac | AuthorizationMode::AlwaysDeny => false,
        })
    }

    /// Fails with a refusal unless `caller` may.
    pub async fn check(
        &self,
        caller: &Caller,
        door: &Door,
        what: &Attributes<'_>,
    ) -> Result<(), Failure> {
        if own(caller, door, what) {
            return Ok(());
        }
        match self.ask(caller, door, what, false).await? {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(reason) => Err(what.refuse(caller, &reason)),
        }
    }

    /// With the reason.
    pub async fn decide(
        &self,
        caller: &Caller,
        door: &Door,
        what: &Attributes<'_>,
    ) -> Result<Decision, Failure> {
        if own(caller, door, what) {
            return Ok(Decision::Allowed(String::new()));
        }
        self.ask(caller, door, what, true).await
    }

    async fn ask(
        &self,
        caller: &Caller,
        door: &Door,
        what: &Attributes<'_>,
        explain: bool,
    ) -> Result<Decision, Failure> {
        let cluster = match self.clusters.enter(door).await {
            Ok(cluster) => cluster,
            // Whoever may nothing is not told what there is.
            Err(failure) if failure.is_not_found() => return Ok(Decision::Denied(String::new())),
            Err(failure) => return Err(failure),
        };
        let mut doubt = String::new();
        for mode in &self.modes {
            match mode {
                AuthorizationMode::AlwaysAllow => return Ok(Decision::Allowed(String::new())),
                AuthorizationMode::AlwaysDeny => doubt = "Everything is forbidden.".into(),
                AuthorizationMode::Node => {
                    if node::may(caller, &cluster, what) {
                        return Ok(Decision::Allowed(String::new()));
                    }
                }
                AuthorizationMode::Rbac => {
                    let policy = self.rights(door, &cluster).policy().await?;
                    if let Some(grant) = policy.find(caller, what) {
                        let reason = if explain { grant.reason() } else { String::new() };
                        return Ok(Decision::Allowed(reason));
                    }
                    let doubts = policy.doubts(caller, what.namespace);
                    if !doubts.is_empty() {
                        doubt = format!("RBAC: {}", listed(&doubts));
                    }
                }
            }
        }
        Ok(Decision::Denied(doubt))
    }

    /// Fails when what is to be created shows that `caller` may not, though
    /// such objects may be created.
    pub fn judge_creation(
        &self,
        caller: &Caller,
        resource: &Resource,
        object: &Value,
    ) -> Result<(), Failure> {
        if !self.modes.contains(&AuthorizationMode::Node) {
            return Ok(());
        }
        match node::objection(caller, &resource.group, &resource.plural, object) {
            Some(why) => Err(Failure::forbidden_object(resource, object::name(object), &why)),
            None => Ok(()),
        }
    }

    /// The roles of what stands behind `door`.
    pub async fn policy(&self, door: &Door) -> Result<Arc<Policy>, Failure> {
        let cluster = self.clusters.enter(door).await?;
        self.rights(door, &cluster).policy().await
    }

    /// The same, with everything that was written until now.
    pub async fn policy_now(&self, door: &Door) -> Result<Arc<Policy>, Failure> {
        let cluster = self.clusters.enter(door).await?;
        let revision = cluster.revision().await?;
        let rights = self.rights(door, &cluster);
        if !cluster.mirror().reach(revision, PATIENCE).await {
            return Err(rights::unread());
        }
        rights.policy().await
    }

    /// What can be said without asking the store.
    pub fn allows(
        &self,
        policy: &Policy,
        caller: &Caller,
        door: &Door,
        what: &Attributes<'_>,
    ) -> bool {
        own(caller, door, what)
            || self.modes.iter().any(|mode| match mode {
                AuthorizationMode::AlwaysAllow => true,
                AuthorizationMode::Rbac => policy.find(caller, what).is_some(),
                AuthorizationMode::Node | AuthorizationMode::AlwaysDeny => false,
            })
    }

    fn rights(&self, door: &Door, cluster: &Arc<Cluster>) -> Arc<Rights> {
        let known = self.rights.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rights) = known.get(door) {
            return rights.clone();
        }
        drop(known);
        let mut known = self.rights.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(door.clone()).or_insert_with(|| Arc::new(Rights::new(cluster.clone()))).clone()
    }
}

/// Before any role: masters everywhere, and at the doors of an estate its own
/// processes and groups.
fn own(caller: &Caller, door: &Door, what: &Attributes<'_>) -> bool {
    match door {
        Door::Cluster => caller.is_in(MASTERS),
        _ => processes::may(caller, door, what),
    }
}

/// As Go writes several errors.
fn listed(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
