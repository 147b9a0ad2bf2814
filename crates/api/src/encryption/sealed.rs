//! A store whose values are sealed on the way in and opened on the way out.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt as _;
use kv::{
    Error, KeyValue, Kv, LeaseGranted, LeaseId, LeaseInfo, Op, OpResponse, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchItem, WatchRequest, WatchStream,
};

use super::Encryption;

pub struct Sealed {
    kv: Arc<dyn Kv>,
    encryption: Arc<Encryption>,
}

// === impl Sealed ===

impl Sealed {
    #[must_use]
    pub fn over(kv: Arc<dyn Kv>, encryption: Encryption) -> Arc<dyn Kv> {
        Arc::new(Sealed { kv, encryption: Arc::new(encryption) })
    }
}

#[async_trait]
impl Kv for Sealed {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let mut found = self.kv.range(request).await?;
        self.encryption.open_all(&mut found.kvs)?;
        Ok(found)
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResponse, Error> {
        self.encryption.seal_txn(&mut txn)?;
        let mut answer = self.kv.txn(txn).await?;
        // It has happened: what cannot be read is no longer a refusal.
        self.encryption.open_txn(&mut answer)?;
        Ok(answer)
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.kv.compact(revision).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let encryption = self.encryption.clone();
        let items = self.kv.watch(request).await?.map(move |item| {
            let mut item = item?;
            if let WatchItem::Events(batch) = &mut item {
                for event in &mut batch.events {
                    encryption.open_kv(&mut event.kv)?;
                    event.prev_kv.iter_mut().try_for_each(|kv| encryption.open_kv(kv))?;
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
                    if let Some(sealed) = sealed.map_err(|why| failed(&put.key, &why))? {
                        put.value = sealed.into();
                    }
                }
                Op::Txn(txn) => self.seal_txn(txn)?,
                Op::Put(_) | Op::Range(_) | Op::Delete(_) => {}
            }
        }
        Ok(())
    }

    fn open_txn(&self, answer: &mut TxnResponse) -> Result<(), Error> {
        for response in &mut answer.responses {
            match response {
                OpResponse::Range(found) => self.open_all(&mut found.kvs)?,
                OpResponse::Put(put) => {
                    put.prev_kv.iter_mut().try_for_each(|kv| self.open_kv(kv))?;
                }
                OpResponse::Delete(delete) => self.open_all(&mut delete.prev_kvs)?,
                OpResponse::Txn(answer) => self.open_txn(answer)?,
            }
        }
        Ok(())
    }

    fn open_all(&self, kvs: &mut [KeyValue]) -> Result<(), Error> {
        kvs.iter_mut().try_for_each(|kv| self.open_kv(kv))
    }

    fn open_kv(&self, kv: &mut KeyValue) -> Result<(), Error> {
        // Only the key was asked for, or it is a deletion.
        if kv.value.is_empty() {
            return Ok(());
        }
        if let Some(opened) = self.open(&kv.key, &kv.value).map_err(|why| failed(&kv.key, &why))? {
            kv.value = opened.into();
        }
        Ok(())
    }
}

fn failed(key: &[u8], why: &str) -> Error {
    Error::Other(format!("unable to transform key {:?}: {why}", String::from_utf8_lossy(key)))
}
