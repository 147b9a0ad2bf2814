//! What a write takes from the quotas of its namespace.
//!
//! kube-apiserver books first and writes afterwards; what fails in between
//! stays booked until a controller counts anew. Here both are one transaction.

use std::sync::Arc;

use kv::{Compare, KeyRange, Op, RangeRequest};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Part, Registry, decode, encode};
use crate::{
    catalog::Catalog,
    failure::Failure,
    mirror::Collection,
    object,
    quota::{self, Occasion},
    resource::Resource,
};

/// Namespaces whose writes can be booked at the same time. More than requests
/// are served at once by a small machine; two that share one wait, no more.
const TURNS: usize = 64;

/// Writers of one namespace book one after the other: of those who computed
/// from the same quota all but one would have computed for nothing.
pub struct Turns([Arc<Mutex<()>>; TURNS]);

/// What goes into the transaction that writes the object, and whose turn it is
/// meanwhile.
#[derive(Default)]
pub(super) struct Charge {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
    _turn: Option<OwnedMutexGuard<()>>,
}

// === impl Turns ===

impl Default for Turns {
    fn default() -> Turns {
        Turns(std::array::from_fn(|_| Arc::default()))
    }
}

impl Turns {
    async fn take(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let sum = namespace
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.0[sum % TURNS].clone().lock_owned().await
    }
}

// === impl Registry ===

impl Registry {
    /// `part` is what an update writes; none for a creation.
    pub(super) async fn charge(
        &self,
        part: Option<Part>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<Charge, Failure> {
        let occasion = match part {
            None => Occasion::Create,
            Some(Part::Main) => Occasion::Update,
            Some(Part::Resources) => Occasion::Resize,
            Some(_) => return Ok(Charge::default()),
        };
        let Some(namespace) = self.place.namespace.as_deref() else {
            return Ok(Charge::default());
        };
        let quotas = quotas();
        let start = format!("{}{namespace}/", quotas.prefix());
        let none = |known: &Collection| known.range(start.as_bytes()).next().is_none();
        if self.cluster.mirror().look(&quotas.prefix(), none) {
            return Ok(Charge::default());
        }
        let turn = self.cluster.turns.take(namespace).await;
        let kept = self.kv().range(RangeRequest::new(KeyRange::prefix(start))).await?.kvs;
        let objects: Result<Vec<Value>, Failure> =
            kept.iter().map(|kv| decode(quotas, kv)).collect();
        let booked = quota::book(self.resource(), occasion, new, old, &objects?);
        let booked = booked
            .map_err(|why| Failure::forbidden_object(self.resource(), object::name(new), &why))?;
        let mut charge = Charge { _turn: Some(turn), ..Charge::default() };
        for (index, object) in booked {
            let kv = &kept[index];
            charge.compares.push(Compare::modified_at(kv.key.clone(), kv.mod_revision));
            charge.ops.push(Op::put(kv.key.clone(), encode(quotas, &object)));
        }
        Ok(charge)
    }
}

fn quotas() -> &'static Arc<Resource> {
    Catalog::builtin().find("", "v1", "resourcequotas").expect("the catalog names it")
}
