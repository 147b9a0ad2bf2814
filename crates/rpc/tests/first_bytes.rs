//! What the first bytes of a connection say: its protocol, and whom it is from.

use proptest::prelude::*;
use rpc::{
    DETECT_BYTES_MAX, Detected, Protocol, detect,
    proxy_protocol::{self, Error, LINE_BYTES_MAX, Origin, SIGNATURE_V2},
};

#[test]
fn protocols_are_told_apart_as_soon_as_they_differ() {
    for (bytes, protocol, enough) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], Protocol::Tls, 6),
        (b"PROXY TCP4 ", Protocol::ProxyV1, 6),
        (&SIGNATURE_V2, Protocol::ProxyV2, 12),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http2, 24),
        (b"GET / HTTP/1.1\r\n", Protocol::Http1, 4),
        (b"PROPFIND / HTTP/1.1\r\n", Protocol::Http1, 9),
        (b"VERSION-CONTROL / HTTP/1.1\r\n", Protocol::Http1, 16),
        (b"\xda\xbb\xc2\x00", Protocol::Dubbo, 2),
        (b"\x01\x01\x00\x01\x01", Protocol::Bolt, 4),
        (b"\x01\x02\x00\x00\x01", Protocol::Bolt, 4),
        (b"\x02\x02\x01\x00\x01\x01", Protocol::Bolt, 5),
        (b"\x16\x03\x01\x02\x00\x02", Protocol::Unknown, 6),
        (b"\x16\x02", Protocol::Unknown, 2),
        (b"\x01\x00\x00\x02", Protocol::Unknown, 2),
        (b"\x00", Protocol::Unknown, 1),
        (b"\r\n\r\n\0\r\nQUIX", Protocol::Unknown, 11),
        (b"SSH-2.0-OpenSSH\r\n", Protocol::Unknown, 16),
        (b" / HTTP/1.1", Protocol::Unknown, 1),
        (&[b'A'; 30], Protocol::Unknown, 24),
    ] {
        for length in 0..=bytes.len() {
            let expected =
                if length < enough { Detected::NeedMore } else { Detected::Is(protocol) };
            assert_eq!(detect(&bytes[..length]), expected, "{length} of {}", bytes.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn there_is_an_answer_in_time_and_it_stays(bytes in prop::collection::vec(any::<u8>(), DETECT_BYTES_MAX..64)) {
        let answer = detect(&bytes[..DETECT_BYTES_MAX]);
        prop_assert_ne!(answer, Detected::NeedMore);
        prop_assert_eq!(detect(&bytes), answer);
    }

    #[test]
    fn origins_read_back_as_written(
        v4 in any::<([u8; 4], [u8; 4], u16, u16)>(),
        v6 in any::<([u8; 16], [u8; 16], u16, u16)>(),
        notes in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..4),
    ) {
        let v4 = ((v4.0, v4.2).into(), (v4.1, v4.3).into());
        let v6 = ((v6.0, v6.2).into(), (v6.1, v6.3).into());
        for addresses in [Some(v4), Some(v6), None] {
            let notes = if addresses.is_some() { notes.clone() } else { Vec::new() };
            let origin = Origin { addresses, notes };
            let mut bytes = origin.bytes().expect("of one family");
            let length = bytes.len();
            bytes.extend_from_slice(b"GET");
            for cut in 0..length {
                prop_assert_eq!(proxy_protocol::read(&bytes[..cut]), Ok(None));
            }
            prop_assert_eq!(proxy_protocol::read(&bytes), Ok(Some((origin, length))));
            let origin = Origin { addresses, notes: Vec::new() };
            let line = origin.line().expect("of one family");
            prop_assert!(line.len() <= LINE_BYTES_MAX);
            prop_assert_eq!(proxy_protocol::read(line.as_bytes()), Ok(Some((origin, line.len()))));
        }
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = proxy_protocol::read(&bytes);
        let _ = proxy_protocol::read(&[&SIGNATURE_V2[..], &bytes].concat());
        let _ = proxy_protocol::read(&[b"PROXY ", &bytes[..]].concat());
    }
}

#[test]
fn a_line_is_understood_or_refused() {
    let read = |line: &str| proxy_protocol::read(line.as_bytes());
    let longest = "PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535";
    assert_eq!(read(&format!("{longest}\r\n")), Err(Error::BadLine));
    let unknown = Origin::default();
    assert_eq!(read("PROXY UNKNOWN\r\n"), Ok(Some((unknown.clone(), 15))));
    assert_eq!(read("PROXY UNKNOWN ff::1 x 1 2\r\nGET"), Ok(Some((unknown, 27))));
    for bad in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(read(bad), Err(Error::BadLine), "{bad}");
    }
    assert_eq!(read(&format!("PROXY TCP4{}", " ".repeat(100))), Err(Error::LineTooLong));
    assert_eq!(read("PROXY TCP4 1.2.3.4"), Ok(None));
    assert_eq!(read("GET / HTTP/1.1"), Err(Error::NotProxy));
}

#[test]
fn version_2_is_bounded_and_a_health_check_is_from_nobody() {
    let v2 = |rest: &[u8]| [&SIGNATURE_V2[..], rest].concat();
    let local = v2(b"\x20\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02");
    assert_eq!(proxy_protocol::read(&local), Ok(Some((Origin::default(), 28))));
    let file = v2(&[&b"\x21\x31\x00\xd8"[..], &[0; 216]].concat());
    assert_eq!(proxy_protocol::read(&file), Ok(Some((Origin::default(), 232))));
    for (rest, error) in [
        (&b"\x11"[..], Error::Unknown(0x11)),
        (b"\x22", Error::Unknown(0x22)),
        (b"\x21\x11\xff\xff", Error::TooLong(0xffff)),
        (b"\x21\x11\x00\x01\x01", Error::Short),
        (b"\x21\x21\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02", Error::Short),
        (
            b"\x21\x11\x00\x0f\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02\x01\x00\x01",
            Error::Short,
        ),
    ] {
        assert_eq!(proxy_protocol::read(&v2(rest)), Err(error), "{rest:x?}");
    }
}
