//! Which Pods are here, for those who ask by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use topology::UnitName;

use crate::pod::{PodRef, SeenPod};

/// By unit and uid: for a moment a name may stand for an old Pod and a new one.
#[derive(Clone, Default)]
pub(crate) struct Pods(Arc<Mutex<ByUid>>);

type ByUid = BTreeMap<(String, String), (PodRef, Arc<SeenPod>)>;

// === impl Pods ===

impl Pods {
    pub(crate) fn put(&self, unit: &UnitName, id: &PodRef, pod: Arc<SeenPod>) {
        self.lock().insert((unit.to_string(), id.uid.clone()), (id.clone(), pod));
    }

    /// Forgets those of `unit` whose uid is not kept.
    pub(crate) fn keep(&self, unit: &UnitName, keep: impl Fn(&str) -> bool) {
        let unit = unit.to_string();
        self.lock().retain(|(of, uid), _| *of != unit || keep(uid));
    }

    /// The Pod behind a name. Units may each have one of that name, and for a
    /// moment one of them two: whoever knows the uid gets that one, others the
    /// newest.
    pub(crate) fn find(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Option<(PodRef, Arc<SeenPod>)> {
        let pods = self.lock();
        let named = pods.values().filter(|(id, _)| {
            id.namespace == namespace && id.name == name && uid.is_none_or(|uid| id.uid == uid)
        });
        named.max_by_key(|(_, pod)| pod.metadata.creation_timestamp.clone()).cloned()
    }

    pub(crate) fn list(&self) -> Value {
        let items: Vec<_> = self.lock().values().map(|(_, pod)| json!(**pod)).collect();
        json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items })
    }

    fn lock(&self) -> MutexGuard<'_, ByUid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
