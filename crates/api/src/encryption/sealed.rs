//! A store whose values are sealed on the way in and opened on the way out.
//!
//! What cannot be opened is handed on as it is kept: it is no object to whoever
//! reads it, and all others are read as ever. Were it a failure of the store, one
//! lost key would keep the mirror of every kind from loading.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use kv::{
    Error, KeyValue, Kv, LeaseGranted, LeaseId, LeaseInfo, Op, OpResponse, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchItem, WatchRequest, WatchStream,
};

use super::Encryption;

/// Keys whose values were told not to open; of more, nothing new is said.
const TOLD_MAX: usize = 10_000;

pub struct Sealed {
    kv: Arc<dyn Kv>,
    opener: Arc<Opener>,
}

struct Opener {
    encryption: Encryption,
    /// The values that were told not to open.
    told: Mutex<HashMap<Bytes, Revision>>,
}

// === impl Sealed ===

impl Sealed {
    #[must_use]
    pub fn over(kv: Arc<dyn Kv>, encryption: Encryption) -> Arc<dyn Kv> {
        let opener = Opener { encryption, told: Mutex::default() };
        Arc::new(Sealed { kv, opener: Arc::new(opener) })
    }
}

#[async_trait]
impl Kv for Sealed {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let mut found = self.kv.range(request).await?;
        self.opener.open_all(&mut found.kvs);
        Ok(found)
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResponse, Error> {
        self.opener.encryption.seal_txn(&mut txn)?;
        let mut answer = self.kv.txn(txn).await?;
        self.opener.open_txn(&mut answer);
        Ok(answer)
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.kv.compact(revision).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let opener = self.opener.clone();
        let items = self.kv.watch(request).await?.map(move |item| {
            let mut item = item?;
            if let WatchItem::Events(batch) = &mut item {
                for event in &mut batch.events {
                    opener.open_kv(&mut event.kv);
                    event.prev_kv.iter_mut().for_each(|kv| opener.open_kv(kv));
                }
            }
            Ok(item)
        });
        Ok(Box::pin(items))
    }

    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error> {
        self.kv.lease_grant(id, ttl).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.kv.lease_revoke(id).await
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Duration, Error> {
        self.kv.lease_keep_alive(id).await
    }

    async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<LeaseInfo, Error> {
        self.kv.lease_info(id, keys).await
    }
}

// === impl Encryption ===

impl Encryption {
    fn seal_txn(&self, txn: &mut Txn) -> Result<(), Error> {
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            match op {
                Op::Put(put) if !put.ignore_value => {
                    let sealed = self.seal(&put.key, &put.value);
                    if let Some(sealed) = sealed.map_err(|why| unsealed(&put.key, &why))? {
                        put.value = sealed.into();
                    }
                }
                Op::Txn(txn) => self.seal_txn(txn)?,
                Op::Put(_) | Op::Range(_) | Op::Delete(_) => {}
            }
        }
        Ok(())
    }
}

fn unsealed(key: &[u8], why: &str) -> Error {
    Error::Other(format!("unable to transform key {:?}: {why}", String::from_utf8_lossy(key)))
}

// === impl Opener ===

impl Opener {
    fn open_txn(&self, answer: &mut TxnResponse) {
        for response in &mut answer.responses {
            match response {
                OpResponse::Range(found) => self.open_all(&mut found.kvs),
                OpResponse::Put(put) => put.prev_kv.iter_mut().for_each(|kv| self.open_kv(kv)),
                OpResponse::Delete(delete) => self.open_all(&mut delete.prev_kvs),
                OpResponse::Txn(answer) => self.open_txn(answer),
            }
        }
    }

    fn open_all(&self, kvs: &mut [KeyValue]) {
        kvs.iter_mut().for_each(|kv| self.open_kv(kv));
    }

    fn open_kv(&self, kv: &mut KeyValue) {
        // Only the key was asked for, or it is a deletion.
        if kv.value.is_empty() {
            return;
        }
        match self.encryption.open(&kv.key, &kv.value) {
            Ok(Some(opened)) => kv.value = opened.into(),
            Ok(None) => {}
            Err(why) => self.tell(kv, &why),
        }
    }

    /// Once for each value: it is read again and again.
    fn tell(&self, kv: &KeyValue, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX && !told.contains_key(&kv.key) {
            return;
        }
        if told.insert(kv.key.clone(), kv.mod_revision) != Some(kv.mod_revision) {
            let (key, revision) = (String::from_utf8_lossy(&kv.key), kv.mod_revision.0);
            let code = errors::API_OBJECT_UNREADABLE;
            tracing::error!(%key, revision, why, %code, "stored object cannot be opened");
        }
    }
}
