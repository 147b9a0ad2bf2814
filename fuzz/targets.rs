//! What must hold for any bytes: nothing panics, and what is understood is
//! understood the same again after it was written.
//!
//! libFuzzer runs these (`fuzz_targets`); on stable Rust the tests of
//! `crates/sim` run them over seeded random bytes and the corpus.

use bytes::{Bytes, BytesMut};
use http2::{Connection, Event, Limits};
use keyspace::{LeaseRow, NoteRow, Record, Row};
use pb_etcd::etcdserverpb as pb;
use prost::Message;
use rpc::hessian::{Dialect, Reader, Value};

type Target = fn(&[u8]);

pub const ALL: [(&str, Target); 30] = [
    ("record", record),
    ("request", request),
    ("bbolt", bbolt),
    ("http2", http2),
    ("http2_client", http2::fuzz::client),
    ("hpack", http2::fuzz::hpack),
    ("grpc_message", http2::fuzz::message),
    ("http1", mesh::fuzz::http1),
    ("key", mesh::fuzz::key),
    ("hello", mesh::fuzz::hello),
    ("passed_on", mesh::fuzz::passed_on),
    ("call", mesh::fuzz::call),
    ("proxy_config", mesh::fuzz::config),
    ("edge_key", proxy::fuzz::key),
    ("segment", engine::fuzz::segment),
    ("journal", engine::fuzz::journal),
    ("gateway", store::fuzz::gateway),
    ("schema", schema::fuzz::schema),
    ("patch", merge::fuzz::patch),
    ("fields", merge::fuzz::fields),
    ("cel", cel::fuzz::cel),
    ("selector", api::fuzz::selector),
    ("bearer", api::fuzz::bearer),
    ("spdy", spdy::fuzz::frames),
    ("token", store::fuzz::token),
    ("snapshot", store::fuzz::snapshot),
    ("bolt", bolt),
    ("dubbo", dubbo),
    ("hessian", hessian),
    ("first_bytes", first_bytes),
];

/// Records and rows of the log.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(Record::decode(&encoded), Ok(record));
    }
    if let Ok(row) = Row::decode(Bytes::from_static(b"key"), data) {
        let mut encoded = Vec::new();
        row.encode(&mut encoded);
        assert_eq!(Row::decode(Bytes::from_static(b"key"), &encoded), Ok(row));
    }
    if let Ok(lease) = LeaseRow::decode(data) {
        let mut encoded = Vec::new();
        lease.encode(&mut encoded);
        assert_eq!(LeaseRow::decode(&encoded), Ok(lease));
    }
    let _ = NoteRow::decode(Bytes::from_static(b"name"), data);
}

/// Requests of etcd clients. An empty range may be written as another one.
pub fn request(data: &[u8]) {
    if let Ok(wire) = pb::RangeRequest::decode(data)
        && let Ok(request) = kv_etcd::range::request_from_wire(&wire)
    {
        let again = kv_etcd::range::request_to_wire(&request);
        let request = kv_etcd::range::request_from_wire(&again).expect("we wrote it");
        assert_eq!(kv_etcd::range::request_to_wire(&request), again);
    }
    if let Ok(wire) = pb::TxnRequest::decode(data)
        && let Ok(txn) = kv_etcd::txn::request_from_wire(&wire)
    {
        let again = kv_etcd::txn::request_to_wire(&txn);
        let txn = kv_etcd::txn::request_from_wire(&again).expect("we wrote it");
        assert_eq!(kv_etcd::txn::request_to_wire(&txn), again);
    }
    if let Ok(wire) = pb::WatchCreateRequest::decode(data) {
        let _ = kv_etcd::watch::request_from_wire(&wire);
    }
}

/// Files in bbolt's format. A walk of one that is damaged ends, with an error.
pub fn bbolt(data: &[u8]) {
    const ITEMS_MAX: usize = 10_000;
    let Ok(file) = bbolt::Bolt::open(data) else { return };
    for item in file.root().iter().take(ITEMS_MAX) {
        if item.is_err() {
            return;
        }
    }
}

/// What a client says in HTTP/2 once it has greeted; every call is answered.
pub fn http2(data: &[u8]) {
    let limits = Limits { streams: 8, ..Limits::default() };
    let mut connection = Connection::new(limits);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut input = BytesMut::from(&[&http2::PREFACE[..], &settings, data].concat()[..]);
    let mut begun = std::collections::BTreeSet::new();
    let result = connection.receive(&mut input);
    while let Some(event) = connection.next_event() {
        match event {
            Event::Request { stream, .. } => assert!(begun.insert(stream), "begun twice"),
            Event::Data { stream, credit, .. } => {
                assert!(begun.contains(&stream), "data of no call");
                connection.release(stream, credit);
            }
            Event::Trailers { stream, .. } => assert!(begun.contains(&stream)),
            Event::Reset { stream, .. } => assert!(begun.remove(&stream), "ended twice"),
            Event::Response { .. } => panic!("a server is not answered"),
            Event::GoAway { .. } | Event::Pong => {}
        }
        assert!(connection.streams() <= limits.streams as usize);
    }
    assert!(connection.output().len() < limits.output_bytes + 1024);
    for stream in begun {
        connection.answer(stream, Bytes::from_static(b"\0\0\0\0\x01x"));
    }
    if result.is_ok() {
        let queued = connection.progress().0;
        assert!(queued <= 8 * 6, "{queued} bytes wait");
    }
}

/// What comes on a connection of SOFARPC: a frame, whatever it is, is passed on
/// as it came, and with one header more it is the same call.
pub fn bolt(data: &[u8]) {
    let mut input = BytesMut::from(data);
    while let Ok(Some(mut frame)) = rpc::bolt::next(&mut input, data.len()) {
        let before = frame.clone();
        if let Some(mut call) = rpc::bolt::sofa::Call::of(&frame) {
            let _ = (call.method(), call.argument(2, &["before", "user"]));
        }
        let whole = frame.clone().into_parts().into_bytes();
        assert!(data.windows(whole.len()).any(|part| part == whole));
        if frame.set_header("polis", "x").is_err() {
            continue;
        }
        let mut wider = BytesMut::from(&frame.into_parts().into_bytes()[..]);
        let after = rpc::bolt::next(&mut wider, usize::MAX).expect("we wrote it").expect("whole");
        assert_eq!((after.head(), after.content()), (before.head(), before.content()));
        assert_eq!(after.headers().get("polis"), Ok(Some(&b"x"[..])));
    }
}

/// What comes on a connection of Dubbo, as for Bolt.
pub fn dubbo(data: &[u8]) {
    let mut input = BytesMut::from(data);
    while let Ok(Some(mut frame)) = rpc::dubbo::next(&mut input, data.len()) {
        let user = user(&frame);
        let whole = frame.clone().into_parts().into_bytes();
        assert!(data.windows(whole.len()).any(|part| part == whole));
        if frame.set_attachment("polis", "x").is_err() {
            continue;
        }
        let mut wider = BytesMut::from(&frame.into_parts().into_bytes()[..]);
        let after = rpc::dubbo::next(&mut wider, usize::MAX).expect("we wrote it").expect("whole");
        assert_eq!(self::user(&after), user);
        let mut call = rpc::dubbo::Call::of(&after).expect("it was a call");
        assert_eq!(call.attachment("polis"), Ok(Some(Value::Text("x".into()))));
    }
}

fn user(frame: &rpc::dubbo::Frame) -> Option<String> {
    let mut call = rpc::dubbo::Call::of(frame).ok()?;
    Some(call.argument(0, &[]).ok()??.key()?.into_owned())
}

/// Values in both dialects: skipped and read they end at the same place.
pub fn hessian(data: &[u8]) {
    for dialect in [Dialect::Draft, Dialect::Final] {
        let (mut skipping, mut reading) = (Reader::new(data, dialect), Reader::new(data, dialect));
        while let (Ok(()), Ok(value)) = (skipping.skip(), reading.value()) {
            assert_eq!(skipping.position(), reading.position());
            let _ = reading.walk(value, &["0", "user", "1", "before"]);
            assert_eq!(skipping.position(), reading.position());
        }
    }
}

/// What a connection begins with.
pub fn first_bytes(data: &[u8]) {
    let detected = rpc::detect(data);
    if data.len() >= rpc::DETECT_BYTES_MAX {
        assert_eq!(detected, rpc::detect(&data[..rpc::DETECT_BYTES_MAX]));
    }
    if let Ok(Some((origin, bytes))) = rpc::proxy_protocol::read(data) {
        assert!(bytes <= data.len());
        let again = origin.bytes().expect("of one family");
        let read = rpc::proxy_protocol::read(&again).expect("we wrote it");
        assert_eq!(read, Some((origin, again.len())));
    }
}
