//! What must hold of a file's frames for any bytes.

use super::{
    frame::{self, Frame, HEADER_BYTES, Salt, examine},
    segment,
};

const SALT: Salt = Salt(7);

/// Bytes that were never ours are not believed.
pub fn raw(data: &[u8]) {
    segment::fuzz(data);
    let examined = examine(data, 0, 1, SALT);
    assert!(examined.end <= data.len().next_multiple_of(8));
}

/// Frames that hold `bodies`, after `hurt` has damaged them.
pub fn frames(bodies: &[&[u8]], hurt: impl FnOnce(&mut Vec<u8>)) {
    let (mut written, mut places) = (Vec::new(), Vec::new());
    for (number, body) in (1..).zip(bodies) {
        let mut frame = vec![0; HEADER_BYTES];
        frame.extend_from_slice(body);
        frame::seal(&mut frame, number, SALT);
        let start = written.len() + HEADER_BYTES;
        places.push(Frame { number, body: start..start + body.len() });
        written.extend(frame);
    }
    let mut bytes = written.clone();
    hurt(&mut bytes);
    let is_whole = |frame: &Frame| {
        let whole = frame.body.start - HEADER_BYTES..frame.body.end;
        bytes.get(whole.clone()) == Some(&written[whole])
    };
    let good = places.iter().take_while(|frame| is_whole(frame)).count();
    let examined = examine(&bytes, 0, 1, SALT);
    assert_eq!(examined.frames, places[..good]);
    assert_eq!(examined.is_hurt, places[good..].iter().any(is_whole));
}
