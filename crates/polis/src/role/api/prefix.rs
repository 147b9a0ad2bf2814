//! Keys of an etcd under another prefix than ours (`--etcd-prefix`).
//!
//! The API server writes below `/registry`, as kube-apiserver does unless told.
//! Told otherwise, that first part is replaced on the way out and put back on
//! the way in.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use kv::{
    Error, KeyRange, KeyValue, Kv, LeaseGranted, LeaseId, LeaseInfo, Op, OpResponse, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchItem, WatchRequest, WatchStream,
};

const OURS: &str = "/registry";

pub struct Prefixed {
    kv: Arc<dyn Kv>,
    names: Names,
}

/// Both ways.
#[derive(Clone)]
struct Names {
    theirs: Bytes,
}

// === impl Prefixed ===

impl Prefixed {
    /// `kv` itself where nothing is to be replaced.
    pub fn over(kv: Arc<dyn Kv>, prefix: &str) -> Arc<dyn Kv> {
        let theirs = format!("/{}", prefix.trim_matches('/'));
        match theirs == OURS {
            true => kv,
            false => Arc::new(Prefixed { kv, names: Names { theirs: theirs.into() } }),
        }
    }
}

#[async_trait]
impl Kv for Prefixed {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let request = RangeRequest { range: self.names.range_out(request.range), ..request };
        Ok(self.names.found_in(self.kv.range(request).await?))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        Ok(self.names.txn_in(self.kv.txn(self.names.txn_out(txn)).await?))
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.kv.compact(revision).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let request = WatchRequest { range: self.names.range_out(request.range), ..request };
        let names = self.names.clone();
        let items = self.kv.watch(request).await?.map(move |item| {
            let mut item = item?;
            if let WatchItem::Events(batch) = &mut item {
                for event in &mut batch.events {
                    names.kv_in(&mut event.kv);
                    event.prev_kv.iter_mut().for_each(|kv| names.kv_in(kv));
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

    fn is_near(&self) -> bool {
        self.kv.is_near()
    }
}

// === impl Names ===

impl Names {
    fn key_out(&self, key: &Bytes) -> Bytes {
        match key.strip_prefix(OURS.as_bytes()) {
            Some(rest) => [&self.theirs, rest].concat().into(),
            None => key.clone(),
        }
    }

    fn key_in(&self, key: &Bytes) -> Bytes {
        match key.strip_prefix(&self.theirs[..]) {
            Some(rest) => [OURS.as_bytes(), rest].concat().into(),
            None => key.clone(),
        }
    }

    fn range_out(&self, range: KeyRange) -> KeyRange {
        match range {
            KeyRange::Key(key) => KeyRange::Key(self.key_out(&key)),
            KeyRange::Span { from, to } => {
                KeyRange::Span { from: self.key_out(&from), to: self.key_out(&to) }
            }
            KeyRange::From(from) => KeyRange::From(self.key_out(&from)),
        }
    }

    fn kv_in(&self, kv: &mut KeyValue) {
        kv.key = self.key_in(&kv.key);
    }

    fn found_in(&self, mut found: RangeResponse) -> RangeResponse {
        found.kvs.iter_mut().for_each(|kv| self.kv_in(kv));
        found
    }

    fn txn_out(&self, mut txn: Txn) -> Txn {
        for compare in &mut txn.compares {
            compare.range = self.range_out(compare.range.clone());
        }
        let ops = |ops: Vec<Op>| ops.into_iter().map(|op| self.op_out(op)).collect();
        Txn { compares: txn.compares, success: ops(txn.success), failure: ops(txn.failure) }
    }

    fn op_out(&self, op: Op) -> Op {
        match op {
            Op::Range(mut request) => {
                request.range = self.range_out(request.range);
                Op::Range(request)
            }
            Op::Put(mut request) => {
                request.key = self.key_out(&request.key);
                Op::Put(request)
            }
            Op::Delete(mut request) => {
                request.range = self.range_out(request.range);
                Op::Delete(request)
            }
            Op::Txn(txn) => Op::Txn(self.txn_out(txn)),
        }
    }

    fn txn_in(&self, mut answer: TxnResponse) -> TxnResponse {
        answer.responses =
            answer.responses.into_iter().map(|response| self.response_in(response)).collect();
        answer
    }

    fn response_in(&self, response: OpResponse) -> OpResponse {
        match response {
            OpResponse::Range(found) => OpResponse::Range(self.found_in(found)),
            OpResponse::Put(mut put) => {
                put.prev_kv.iter_mut().for_each(|kv| self.kv_in(kv));
                OpResponse::Put(put)
            }
            OpResponse::Delete(mut delete) => {
                delete.prev_kvs.iter_mut().for_each(|kv| self.kv_in(kv));
                OpResponse::Delete(delete)
            }
            OpResponse::Txn(answer) => OpResponse::Txn(self.txn_in(answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_span_come_back_as_they_went() {
        let names = Names { theirs: "/other/place".into() };
        let key = Bytes::from("/registry/pods/default/a");
        assert_eq!(names.key_out(&key), "/other/place/pods/default/a");
        assert_eq!(names.key_in(&names.key_out(&key)), key);
        let KeyRange::Span { from, to } = names.range_out(KeyRange::prefix("/registry/pods/"))
        else {
            panic!("a prefix is a span");
        };
        assert_eq!((&from[..], &to[..]), (&b"/other/place/pods/"[..], &b"/other/place/pods0"[..]));
    }
}
