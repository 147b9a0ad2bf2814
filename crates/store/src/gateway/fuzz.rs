//! What must hold of the gateway for any bytes.

use super::{json, paths::PATHS};

/// A body, behind the number of the path that it is sent to. What is understood
/// is understood the same again after it was written; and where a value of a
/// stream ends does not depend on how much more has come.
pub(crate) fn body(data: &[u8]) {
    let Some((path, text)) = data.split_first() else { return };
    let method = json::method(PATHS[usize::from(*path) % PATHS.len()].1);
    if let Ok(framed) = json::read(&method, text) {
        let message = || framed.slice(super::frames::PREFIX_BYTES..);
        let mut again = Vec::new();
        json::append(method.input(), message(), &mut again).expect("it was read");
        let read = json::read(&method, &again).expect("we wrote it");
        assert_eq!(read, framed, "{}", String::from_utf8_lossy(&again));
    }
    // Any message may be an answer too.
    let _ = json::write(&method, bytes::Bytes::copy_from_slice(text));
    if let Ok(Some(end)) = json::end(text) {
        assert!(end <= text.len());
        let alone = json::end(&text[..end]).expect("it was a value with more behind it");
        assert!(alone.is_none_or(|alone| alone == end));
    }
}
