//! What must hold for any bytes of a peer; see `fuzz/`.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::{
    Asked, Connection, Event, Limits, grpc,
    hpack::{Decoder, Encoder},
};

/// What a server says to a client that has asked: each request is answered once
/// at most, and nothing is heard of one that is over.
pub fn client(data: &[u8]) {
    let limits = Limits { streams: 8, ..Limits::default() };
    let mut connection = Connection::client(limits);
    let asked = |method| Asked { method, scheme: b"http", authority: b"a", path: b"/" };
    let mut begun = BTreeMap::new();
    for (method, end) in [(&b"GET"[..], true), (b"POST", false), (b"HEAD", true), (b"GET", true)] {
        let stream = connection.ask(&asked(method), [(&b"a"[..], &b"b"[..])], end);
        begun.insert(stream.expect("there is room"), false);
    }
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut input = BytesMut::from(&[&settings, data].concat()[..]);
    let result = connection.receive(&mut input);
    while let Some(event) = connection.next_event() {
        match event {
            Event::Request { .. } => panic!("a client is not asked"),
            Event::Response { stream, .. } => {
                let before = begun.insert(stream, true);
                assert_eq!(before, Some(false), "answered twice, or never asked");
            }
            Event::Data { stream, credit, .. } => {
                assert_eq!(begun.get(&stream), Some(&true), "data of no answer");
                connection.release(stream, credit);
            }
            Event::Trailers { stream, .. } => assert_eq!(begun.get(&stream), Some(&true)),
            Event::Reset { stream, .. } => {
                assert!(begun.remove(&stream).is_some(), "ended twice");
            }
            Event::GoAway { .. } | Event::Pong => {}
        }
    }
    assert!(connection.streams() <= limits.streams as usize);
    assert!(connection.output().len() < limits.output_bytes + 1024);
    if result.is_ok() {
        // It is asked again only while it takes that.
        let more = connection.ask(&asked(b"GET"), [], true);
        assert!(more.is_none() || !connection.is_leaving());
    }
}

/// Blocks of compressed fields, each behind its length: what is understood is
/// the same again after it was written by us.
pub fn hpack(mut data: &[u8]) {
    let (mut decoder, mut again, mut encoder) = (Decoder::new(), Decoder::new(), Encoder::new());
    while let Some((length, rest)) = data.split_first() {
        let (block, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        let mut fields = Vec::new();
        let read = decoder.decode(block, |field| {
            fields.push((field.name.clone(), field.value.clone()));
        });
        if read.is_err() {
            return;
        }
        let mut written = Vec::new();
        encoder.begin(&mut written);
        fields.iter().for_each(|(name, value)| encoder.field(name, value, &mut written));
        let mut read = Vec::new();
        again
            .decode(&written, |field| read.push((field.name.clone(), field.value.clone())))
            .expect("we wrote it");
        assert_eq!(read, fields);
    }
}

/// A body that holds one message of gRPC.
pub fn message(data: &[u8]) {
    const BYTES_MAX: usize = 1 << 16;
    let body = Bytes::copy_from_slice(data);
    if let Ok(message) = grpc::message(&body, BYTES_MAX) {
        let mut room = vec![0; grpc::PREFIX_BYTES];
        room.extend_from_slice(&message);
        assert_eq!(grpc::message(&grpc::with_prefix(room), BYTES_MAX), Ok(message));
    }
}
