//! Frames as a client of Kubernetes sends them, and as they come: in any cut.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use spdy::{Decoder, Encoder, Error, Frame, Headers, RESET_CANCEL};

/// Two streams opened by a compressor that was given the dictionary.
const OPENED: [&str; 2] = [
    "800300010000003d0000000100000000000078f9e3c6a7c202253a48f95b044eea16061606409ab308125f99a0\
     74cc68004e892545a989b9d0c2863515141500000000ffff",
    "800300010000001600000003000000000000225333a8a44a04000000ffff",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| std::str::from_utf8(pair).expect("digits").to_owned();
    digits.chunks(2).map(|two| u8::from_str_radix(&pair(two), 16).expect("hex")).collect()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// All frames of `input`, given in pieces of `step` bytes; data joined again.
fn read(input: &[u8], step: usize) -> Result<Vec<Frame>, Error> {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    let mut frames: Vec<Frame> = Vec::new();
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        while let Some(frame) = decoder.next(&mut buffer)? {
            match (frames.last_mut(), frame) {
                (
                    Some(Frame::Data { id, fin: fin @ false, bytes }),
                    Frame::Data { id: next, fin: last, bytes: more },
                ) if *id == next => {
                    *bytes = [bytes.as_ref(), more.as_ref()].concat().into();
                    *fin = last;
                }
                (_, frame) => frames.push(frame),
            }
        }
    }
    Ok(frames)
}

#[test]
fn streams_opened_with_the_dictionary_are_read_in_any_cut() {
    let input = OPENED.map(bytes).concat();
    for step in [1, 7, 64, 4096] {
        let frames = read(&input, step).expect("frames");
        let opened = |id, kind| Frame::Open {
            id,
            fin: false,
            headers: headers(&[("port", "8080"), ("requestid", "0"), ("streamtype", kind)]),
        };
        assert_eq!(frames, [opened(1, "error"), opened(3, "data")]);
    }
}

#[test]
fn what_is_no_spdy_is_refused() {
    let check = |hex: &str, expected: &str| {
        let error = read(&bytes(hex), 4096).expect_err(hex);
        assert!(error.to_string().contains(expected), "{hex}: {error}");
    };
    check("8002000100000000", "version 2");
    check("80030001007fffff", "control frame of");
    check("0000000000000000", "no stream");
    check("8003000300000000", "type 3");
    check("8003000100000000", "type 1");
    check("80030001 0000000c 00000001 00000000 0000 0000", "no zlib head");
    check("80030001 00000012 00000001 00000000 0000 78f9 00000000 0000", "another dictionary");
    check("80030001 0000000e 00000001 00000000 0000 7801 ffff", "not deflated");
    let all = OPENED.map(bytes).concat();
    let second_first = [bytes(OPENED[1]), all].concat();
    assert!(read(&second_first, 4096).is_err(), "a stream's middle is not its start");
}

#[test]
fn a_block_that_grows_beyond_its_bound_is_refused() {
    // 8 MiB of zeros in a few KiB.
    let mut packed = vec![0x78, 0x01];
    let mut zeros = flate2::Compress::new(flate2::Compression::best(), false);
    let mut out = vec![0; 64 << 10];
    let flush = flate2::FlushCompress::Sync;
    zeros.compress(&vec![0; 8 << 20], &mut out, flush).expect("compress");
    packed.extend_from_slice(&out[..usize::try_from(zeros.total_out()).expect("fits")]);
    let len = u32::try_from(packed.len() + 10).expect("fits");
    let mut frame = vec![0x80, 3, 0, 1, 0];
    frame.extend_from_slice(&len.to_be_bytes()[1..]);
    frame.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&packed);
    assert_eq!(read(&frame, 4096), Err(Error::Block("it is too long")));
}

#[test]
fn unknown_control_frames_are_passed_over() {
    // SETTINGS, WINDOW_UPDATE, then a ping.
    let hex = "80030004 00000004 00000000 80030009 00000008 00000001 00010000 \
               80030006 00000004 00000007";
    assert_eq!(read(&bytes(hex), 3), Ok(vec![Frame::Ping(7)]));
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let id = 1_u32..1 << 31;
    let name = "[a-z-]{1,12}";
    let headers = || proptest::collection::vec((name, ".{0,40}"), 0..6).prop_map(Headers);
    prop_oneof![
        (id.clone(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::Open {
            id,
            fin,
            headers
        }),
        (id.clone(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::Reply {
            id,
            fin,
            headers
        }),
        id.clone().prop_map(|id| Frame::Reset { id, status: RESET_CANCEL }),
        any::<u32>().prop_map(Frame::Ping),
        (id, proptest::collection::vec(any::<u8>(), 0..3000)).prop_map(|(id, bytes)| {
            // Joined frames of one stream would compare as one.
            Frame::Data { id, fin: true, bytes: Bytes::from(bytes) }
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        frames in proptest::collection::vec(any_frame(), 0..12),
        step in 1_usize..5000,
    ) {
        let (mut encoder, mut wire) = (Encoder::default(), BytesMut::new());
        for frame in &frames {
            encoder.put(frame, &mut wire);
        }
        prop_assert_eq!(read(&wire, step).expect("frames"), frames);
    }

    #[test]
    fn noise_is_an_error_or_waits(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&noise, 13);
        let started = [OPENED.map(bytes).concat(), noise].concat();
        let _ = read(&started, 4096);
    }
}
