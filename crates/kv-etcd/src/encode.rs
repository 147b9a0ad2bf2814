//! The answer of a range as bytes, in one pass over what was found.
//!
//! A page of a thousand keys costs a server more to encode than to find. The
//! generated messages want every key and value moved into a shape of their own
//! first, and measure each several times.

use kv::{KeyValue, RangeResponse};
use pb_etcd::etcdserverpb as pb;
use prost::{Message as _, encoding::encoded_len_varint};

use crate::to_i64;

/// Wire types: <https://protobuf.dev/programming-guides/encoding/>.
const VARINT: u8 = 0;
const LENGTH: u8 = 2;

/// Fields of etcd's `RangeResponse`.
const HEADER: u8 = 1;
const KVS: u8 = 2;
const MORE: u8 = 3;
const COUNT: u8 = 4;

/// And of its `KeyValue`.
const KEY: u8 = 1;
const CREATE_REVISION: u8 = 2;
const MOD_REVISION: u8 = 3;
const VERSION: u8 = 4;
const VALUE: u8 = 5;
const LEASE: u8 = 6;

/// What a field takes beside its content, its length apart.
const TAG_BYTES: usize = 1;

/// As the message that [`crate::range::response_to_wire`] makes would be
/// encoded, behind `prefix_bytes` of zeros for what a transport puts before it.
#[must_use]
pub fn range_response(
    response: &RangeResponse,
    header: Option<&pb::ResponseHeader>,
    prefix_bytes: usize,
) -> Vec<u8> {
    let header_bytes = header.map_or(0, |header| framed(header.encoded_len()));
    let kvs_bytes: usize = response.kvs.iter().map(|kv| framed(key_value_bytes(kv))).sum();
    let rest_bytes = 2 * TAG_BYTES + 1 + MAX_VARINT_BYTES;
    let mut to = Vec::with_capacity(prefix_bytes + header_bytes + kvs_bytes + rest_bytes);
    to.resize(prefix_bytes, 0);
    if let Some(header) = header {
        tag(&mut to, HEADER, LENGTH);
        varint(&mut to, header.encoded_len() as u64);
        header.encode_raw(&mut to);
    }
    for kv in &response.kvs {
        tag(&mut to, KVS, LENGTH);
        varint(&mut to, key_value_bytes(kv) as u64);
        bytes(&mut to, KEY, &kv.key);
        number(&mut to, CREATE_REVISION, wire(kv.create_revision.0));
        number(&mut to, MOD_REVISION, wire(kv.mod_revision.0));
        number(&mut to, VERSION, wire(kv.version));
        bytes(&mut to, VALUE, &kv.value);
        number(&mut to, LEASE, lease(kv));
    }
    number(&mut to, MORE, response.more.into());
    number(&mut to, COUNT, wire(response.count as u64));
    to
}

const MAX_VARINT_BYTES: usize = 10;

fn key_value_bytes(kv: &KeyValue) -> usize {
    let bytes = |bytes: &[u8]| if bytes.is_empty() { 0 } else { framed(bytes.len()) };
    let number = |n| if n == 0 { 0 } else { TAG_BYTES + encoded_len_varint(n) };
    bytes(&kv.key)
        + number(wire(kv.create_revision.0))
        + number(wire(kv.mod_revision.0))
        + number(wire(kv.version))
        + bytes(&kv.value)
        + number(lease(kv))
}

/// With its tag and length.
fn framed(content_bytes: usize) -> usize {
    TAG_BYTES + encoded_len_varint(content_bytes as u64) + content_bytes
}

/// As the signed number that the wire has.
fn wire(number: u64) -> u64 {
    to_i64(number).cast_unsigned()
}

fn lease(kv: &KeyValue) -> u64 {
    kv.lease.map_or(0, |lease| lease.0.cast_unsigned())
}

fn bytes(to: &mut Vec<u8>, field: u8, content: &[u8]) {
    if !content.is_empty() {
        tag(to, field, LENGTH);
        varint(to, content.len() as u64);
        to.extend_from_slice(content);
    }
}

fn number(to: &mut Vec<u8>, field: u8, number: u64) {
    if number != 0 {
        tag(to, field, VARINT);
        varint(to, number);
    }
}

fn tag(to: &mut Vec<u8>, field: u8, wire_type: u8) {
    to.push(field << 3 | wire_type);
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits fit")]
fn varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use kv::{LeaseId, Revision};
    use proptest::prelude::*;

    use super::*;
    use crate::range::response_to_wire;

    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 1u64..300, any::<u32>().prop_map(u64::from), any::<u64>()]
    }

    fn any_key_value() -> impl Strategy<Value = KeyValue> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..200);
        let lease = prop::option::of(any::<i64>().prop_map(LeaseId));
        (bytes(), bytes(), any_number(), any_number(), any_number(), lease).prop_map(
            |(key, value, create, modified, version, lease)| KeyValue {
                key: key.into(),
                value: value.into(),
                create_revision: Revision(create),
                mod_revision: Revision(modified),
                version,
                lease,
            },
        )
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_generated_message(
            kvs in prop::collection::vec(any_key_value(), 0..5),
            more in any::<bool>(),
            count in any_number(),
            revision in any_number(),
            has_header in any::<bool>(),
        ) {
            let header = pb::ResponseHeader {
                cluster_id: revision ^ count,
                member_id: 7,
                revision: to_i64(revision),
                raft_term: 3,
            };
            let header = has_header.then_some(header);
            let count = usize::try_from(count).expect("64 bits");
            let response = RangeResponse { revision: Revision(revision), kvs, more, count };
            let encoded = range_response(&response, header.as_ref(), 5);
            prop_assert_eq!(&encoded[..5], &[0; 5]);
            let message = response_to_wire(response, header);
            prop_assert_eq!(&encoded[5..], &message.encode_to_vec()[..]);
        }
    }
}
