//! Watch responses on the wire: the usual ones, and those whose events were
//! encoded before, for another watch of the same.

use std::sync::Arc;

use pb_etcd::etcdserverpb as pb;
use prost::Message as _;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::news::Changes;

pub(super) enum Told {
    Whole(pb::WatchResponse),
    /// All but the events, which come last on the wire too.
    Changes(pb::WatchResponse, Arc<Changes>),
}

pub(super) struct WatchCodec;

pub(super) struct TellWatches;

pub(super) struct HearWatches;

// === impl WatchCodec ===

impl Codec for WatchCodec {
    type Encode = Told;
    type Decode = pb::WatchRequest;
    type Encoder = TellWatches;
    type Decoder = HearWatches;

    fn encoder(&mut self) -> TellWatches {
        TellWatches
    }

    fn decoder(&mut self) -> HearWatches {
        HearWatches
    }
}

impl Encoder for TellWatches {
    type Item = Told;
    type Error = Status;

    fn encode(&mut self, told: Told, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use bytes::BufMut as _;
        match told {
            Told::Whole(response) => response.encode_raw(to),
            Told::Changes(head, changes) => {
                let events = changes.wire();
                to.reserve(head.encoded_len() + events.len());
                head.encode_raw(to);
                to.put_slice(events);
            }
        }
        Ok(())
    }
}

impl Decoder for HearWatches {
    type Item = pb::WatchRequest;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<pb::WatchRequest>, Status> {
        let request = pb::WatchRequest::decode(from);
        request.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
