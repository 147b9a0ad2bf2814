//! What must hold for any bytes of a client; see `fuzz/`.

use bytes::BytesMut;
use hop::h1::{self, Bounds};
use topology::Layout;

use crate::key::{self, Aim, Zone};

const BOUNDS: Bounds = Bounds { bytes: 1 << 10, headers: 16 };

/// Whom a request of the edge is about: its shard is one that there is, and is
/// told back in a cookie that leads there again.
pub fn key(data: &[u8]) {
    let mut input = BytesMut::from(data);
    let Ok(Some(head)) = h1::request(&mut input, &mut 0, BOUNDS) else { return };
    let parts = &head.parts;
    let Ok(key) = key::extract(&parts.method, parts.uri.path(), &parts.headers) else { return };
    let layout = Layout::default();
    if let (Some(cookie), Aim::Bucket(bucket)) = (key.cookie(&layout), key.aim) {
        let again = Zone::parse(&cookie.to_string()).expect("we wrote it").aim();
        let shard = match again {
            Aim::Bucket(again) => layout.shard_of(again),
            Aim::Shard(shard) => shard,
        };
        assert_eq!(shard, layout.shard_of(bucket));
    }
}
