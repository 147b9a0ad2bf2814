//! W3C trace context: who asked for what, across processes.
//!
//! Source: W3C Trace Context, `traceparent` version 00:
//! `00-TRACE(32 hex)-SPAN(16 hex)-FLAGS(2 hex)`.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What others know of the trace; of no meaning in another one.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Keeps the trace of a request that has one, else begins one; the span is
/// ours. Gives the trace's id.
pub(crate) fn pass_on(headers: &mut HeaderMap, draw: &mut dyn FnMut() -> u64) -> [u8; 32] {
    let known = headers.get(&TRACEPARENT).and_then(|value| trace_of(value.as_bytes()));
    let span = draw() | 1;
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    match known {
        Some((trace, flags)) => {
            text[3..35].copy_from_slice(trace);
            text[53..55].copy_from_slice(flags);
        }
        None => {
            headers.remove(&TRACESTATE);
            hex(draw() | 1, &mut text[3..19]);
            hex(draw(), &mut text[19..35]);
        }
    }
    hex(span, &mut text[36..52]);
    let trace = text[3..35].try_into().expect("32 digits");
    headers.insert(TRACEPARENT, HeaderValue::from_bytes(&text).expect("hex digits and dashes"));
    trace
}

/// Trace id and flags of a sound value; anything else begins a new trace. A later
/// version may say more behind them.
fn trace_of(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let hex = |bytes: &[u8]| bytes.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let ends = |version: &[u8]| match version {
        b"00" => value.len() == 55,
        b"ff" => false,
        _ => value.get(55).is_none_or(|byte| *byte == b'-'),
    };
    let sound = value.len() >= 55
        && hex(&value[..2])
        && ends(&value[..2])
        && value[2] == b'-'
        && value[35] == b'-'
        && value[52] == b'-'
        && hex(&value[3..35])
        && hex(&value[36..52])
        && hex(&value[53..55]);
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == b'0');
    (sound && !zero(&value[3..35]) && !zero(&value[36..52]))
        .then(|| (&value[3..35], &value[53..55]))
}

fn hex(number: u64, digits: &mut [u8]) {
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_and_a_broken_one_begins_anew() {
        let check = |sent: Option<&'static str>, kept: bool| {
            let mut headers = HeaderMap::new();
            headers.extend(sent.map(|value| (TRACEPARENT, HeaderValue::from_static(value))));
            headers.insert(TRACESTATE, HeaderValue::from_static("bank=1"));
            let mut next = 7;
            let trace = pass_on(&mut headers, &mut || {
                next += 1;
                next
            });
            let value = headers[&TRACEPARENT].to_str().expect("text").to_owned();
            assert!(trace_of(value.as_bytes()).is_some(), "{value}");
            assert_eq!(value.as_bytes()[3..35], trace);
            assert_eq!(sent.is_some_and(|sent| sent[3..35] == value[3..35]), kept, "{value}");
            assert_eq!(headers.contains_key(&TRACESTATE), kept);
            assert_ne!(sent.map(|sent| &sent[36..52]), Some(&value[36..52]), "the span is ours");
        };
        check(None, false);
        check(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), true);
        check(Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"), false);
        check(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"), false);
        check(Some("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"), true);
        check(Some("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"), false);
        check(Some("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), false);
        check(Some("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"), false);
    }
}
