//! However input is cut, the same events come out and the same bytes.

mod raw;

use bytes::BytesMut;
use http2::{Connection, Event, Limits};
use proptest::prelude::*;
use raw::*;

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = (0u32..8).prop_map(|n| 2 * n + 1);
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (stream.clone(), any::<bool>()).prop_map(|(stream, end)| request(stream, end)),
        2 => (stream.clone(), "[a-z]{1,9}", "[ -~]{0,9}").prop_map(|(stream, name, value)| {
            let kept = [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()];
            frame(HEADERS, END_HEADERS, stream, &post(&kept.concat()))
        }),
        2 => stream.clone().prop_map(|stream| frame(HEADERS, 5, stream, &post(&[0xbe]))),
        3 => (stream.clone(), 0u8..2, payload.clone())
            .prop_map(|(stream, end, payload)| frame(DATA, end, stream, &payload)),
        1 => stream.clone().prop_map(|stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])),
        1 => Just(frame(PING, 0, 0, &[1; 8])),
        1 => (0u32..70_000).prop_map(|n| frame(SETTINGS, 0, 0, &setting(4, n))),
        1 => (0u8..12, any::<u8>(), stream, payload)
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
    ]
}

/// All that comes out, answers included, for input cut after these lengths.
fn run(input: &[u8], cuts: &[usize]) -> (Vec<Event>, Vec<u8>, Option<http2::Fatal>) {
    let mut connection = Connection::new(Limits::default());
    let (mut buffer, mut events, mut rest) = (BytesMut::new(), Vec::new(), input);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
        let result = connection.receive(&mut buffer);
        events.extend(std::iter::from_fn(|| connection.next_event()));
        if let Err(fatal) = result {
            return (events, std::mem::take(connection.output()), Some(fatal));
        }
    }
    (events, std::mem::take(connection.output()), None)
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        frames in prop::collection::vec(any_frame(), 0..40),
        cuts in prop::collection::vec(0usize..60, 0..60),
    ) {
        let input = [hello(), frames.concat()].concat();
        prop_assert_eq!(run(&input, &cuts), run(&input, &[]));
    }
}
