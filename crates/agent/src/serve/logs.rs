//! `GET /containerLogs/NAMESPACE/POD/CONTAINER`, with the parameters of a
//! kubelet.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use k8s_openapi::jiff::Timestamp;
use runtime::{ContainerId, logs::ReadOptions};

use super::{
    State,
    answer::{self, Answer, refuse},
};
use crate::metrics::Metrics;

/// Logs being read at once; each may hold two chunks and a file.
const STREAMS_MAX: u64 = 32;

/// Counts a reader for as long as it reads.
struct Reading(Arc<Metrics>);

pub(crate) fn answer(
    state: &Arc<State>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &str,
) -> Answer {
    let options = match parse(query, now()) {
        Ok(options) => options,
        Err(message) => return refuse(400, errors::AGENT_BAD_REQUEST, &message),
    };
    let Some(uid) = state.pods.uid(namespace, pod) else {
        let message = format!("no pod {namespace}/{pod} on this node");
        return refuse(404, errors::AGENT_NOT_FOUND, &message);
    };
    if state.metrics.log_streams.get() >= STREAMS_MAX {
        let message = format!("{STREAMS_MAX} logs are being read");
        return refuse(503, errors::AGENT_TOO_MANY_STREAMS, &message);
    }
    let id = ContainerId {
        namespace: namespace.into(),
        pod: pod.into(),
        uid,
        container: container.into(),
    };
    let chunks = match state.runtime.logs(&id, options) {
        Ok(chunks) => chunks,
        Err(error) => return refuse(404, errors::AGENT_NOT_FOUND, &error.to_string()),
    };
    let reading = Reading::start(&state.metrics);
    let frames = stream::unfold((chunks, reading), |(mut chunks, reading)| async move {
        let chunk = chunks.next().await?;
        Some((chunk.map(Frame::data), (chunks, reading)))
    });
    answer::stream(StreamBody::new(frames).boxed_unsync())
}

fn parse(query: &str, now: SystemTime) -> Result<ReadOptions, String> {
    let mut options = ReadOptions::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        let bad = || format!("parameter {name}={value:?} is not understood");
        let number = || value.parse::<u64>().map_err(|_| bad());
        let switch = || match value.as_str() {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad()),
        };
        match name {
            "follow" => options.follow = switch()?,
            "previous" => options.previous = switch()?,
            "timestamps" => options.timestamps = switch()?,
            "tailLines" => options.tail_lines = Some(number()?),
            "limitBytes" => options.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                options.since = now.checked_sub(Duration::from_secs(number()?));
            }
            "sinceTime" => {
                let since: Timestamp = value.parse().map_err(|_| bad())?;
                options.since = Some(since.into());
            }
            // A kubelet ignores what it does not know; so do we.
            _ => {}
        }
    }
    Ok(options)
}

/// Percent-decoding; what is malformed stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// "The last ten seconds" are by the clock that stamped the lines.
#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

// === impl Reading ===

impl Reading {
    fn start(metrics: &Arc<Metrics>) -> Reading {
        metrics.log_streams.add(1);
        Reading(metrics.clone())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.log_streams.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_a_kubelet_does() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let options =
            parse("follow=true&tailLines=5&sinceSeconds=10&other=x", now).expect("options");
        assert!(options.follow && !options.timestamps);
        assert_eq!(options.tail_lines, Some(5));
        assert_eq!(options.since, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(990)));
        let since = parse("sinceTime=1970-01-01T00%3A00%3A07Z", now).expect("options").since;
        assert_eq!(since, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)));
        assert!(parse("tailLines=-1", now).is_err());
        assert!(parse("follow=maybe", now).expect_err("is refused").contains("follow"));
    }
}
