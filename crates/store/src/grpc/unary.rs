//! KV's calls without tonic: from a message's bytes to an answer's.
//!
//! These are what a store does all day. Everything that is decided is decided
//! where the services decide it (`kv.rs`); only the way there is shorter.

use bytes::Bytes;
use http2::{Head, grpc};
use kv::{Error, KeyspaceName};
use kv_etcd::encode::range_response;
use prost::Message;
use tonic::Status;

use super::{Face, credential, named, refusal};
use crate::{Handle, access::Grant, credential::Credential};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
}

/// What a head says about who asks, and of which keyspace. Holds for every
/// request with the same head on the same connection.
pub(crate) struct Caller {
    keyspace: Result<KeyspaceName, Error>,
    is_open: bool,
    credential: Credential,
}

// === impl Call ===

impl Call {
    pub fn of(path: &[u8]) -> Option<Call> {
        match path.strip_prefix(b"/etcdserverpb.KV/")? {
            b"Range" => Some(Call::Range),
            b"Put" => Some(Call::Put),
            b"DeleteRange" => Some(Call::DeleteRange),
            b"Txn" => Some(Call::Txn),
            b"Compact" => Some(Call::Compact),
            _ => None,
        }
    }
}

// === impl Caller ===

impl Caller {
    pub fn of(head: &Head, grant: &Grant) -> Caller {
        let shown = |name: &str| head.get(name).map(|value| &value[..]);
        let keyspace = named(shown).map(Option::unwrap_or_default);
        Caller {
            is_open: keyspace.as_ref().is_ok_and(|name| grant.covers(name)),
            keyspace,
            credential: credential(shown, Some(grant)),
        }
    }
}

// === impl Face ===

impl Face {
    /// Refuses before it looks, since looking makes a keyspace.
    pub fn handle_of(&self, caller: &Caller) -> Result<Handle, Status> {
        let name = caller.keyspace.as_ref().map_err(|error| refusal(error.clone()))?;
        if !caller.is_open {
            return Err(refusal(Error::PermissionDenied));
        }
        let handle = self.keyspaces.get(name).map_err(refusal)?;
        Ok(handle.on_behalf_of(caller.credential.afresh()))
    }

    /// The answer with its prefix.
    pub async fn unary(
        &self,
        call: Call,
        caller: &Caller,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        let open = || self.handle_of(caller);
        match call {
            Call::Range => {
                let request = decode(&message)?;
                let (response, header) = self.answer_range(&request, open).await?;
                let prefix_bytes = grpc::PREFIX_BYTES;
                let answer = range_response(&response, header.as_ref(), prefix_bytes);
                Ok(grpc::with_prefix(answer))
            }
            Call::Put => {
                let request = decode(&message)?;
                drop(message);
                self.answer_put(&request, open).await.map(|answer| encode(&answer))
            }
            Call::DeleteRange => {
                let request = decode(&message)?;
                drop(message);
                self.answer_delete_range(&request, open).await.map(|answer| encode(&answer))
            }
            Call::Txn => {
                let request = decode(&message)?;
                drop(message);
                self.answer_txn(&request, open).await.map(|answer| encode(&answer))
            }
            Call::Compact => {
                let request = decode(&message)?;
                self.answer_compact(&request, open).await.map(|answer| encode(&answer))
            }
        }
    }
}

/// Keys and values are copied out one by one: a key that is kept for years must
/// keep alive neither its first value nor what else was read with it.
fn decode<M: Message + Default>(message: &Bytes) -> Result<M, Status> {
    M::decode(&message[..]).map_err(|error| Status::internal(error.to_string()))
}

fn encode(answer: &impl Message) -> Bytes {
    let mut out = grpc::prefixed(answer.encoded_len());
    answer.encode_raw(&mut out);
    out.freeze()
}
