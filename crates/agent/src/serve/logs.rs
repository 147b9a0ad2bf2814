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
use runtime::{
    ContainerId,
    logs::{ReadOptions, Stream},
};

use super::{
    State,
    answer::{self, Answer, refuse},
    query,
};
use crate::{metrics::Metrics, pod::PodRef};

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
    let (options, uid) = match parse(query, now()) {
        Ok(read) => read,
        Err(message) => return refuse(400, errors::AGENT_BAD_REQUEST, &message),
    };
    let Some((PodRef { uid, .. }, _)) = state.pods.find(namespace, pod, uid.as_deref()) else {
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
        // A kubelet's words.
        Err(runtime::Error::NoLog(_)) => {
            let message = format!(
                "container {container:?} in pod {pod:?} is waiting to start: ContainerCreating"
            );
            return refuse(400, errors::AGENT_BAD_REQUEST, &message);
        }
        Err(runtime::Error::NoPrevious(_)) => {
            let message =
                format!("previous terminated container {container:?} in pod {pod:?} not found");
            return refuse(400, errors::AGENT_BAD_REQUEST, &message);
        }
        Err(error) => return refuse(404, errors::AGENT_NOT_FOUND, &error.to_string()),
    };
    let reading = Reading::start(&state.metrics);
    let frames = stream::unfold((chunks, reading), |(mut chunks, reading)| async move {
        let chunk = chunks.next().await?;
        Some((chunk.map(Frame::data), (chunks, reading)))
    });
    answer::stream(StreamBody::new(frames).boxed_unsync())
}

/// The options, and the uid of the Pod that is meant if it is known.
fn parse(query: &str, now: SystemTime) -> Result<(ReadOptions, Option<String>), String> {
    let mut options = ReadOptions::default();
    let mut uid = None;
    for (name, value) in query::pairs(query) {
        let bad = || format!("parameter {name}={value:?} is not understood");
        let number = || value.parse::<u64>().map_err(|_| bad());
        let switch = || match value.as_str() {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad()),
        };
        match name.as_str() {
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
            "stream" => {
                options.stream = match value.as_str() {
                    "" | "All" => None,
                    "Stdout" => Some(Stream::Out),
                    "Stderr" => Some(Stream::Err),
                    _ => return Err(bad()),
                };
            }
            "uid" => uid = Some(value),
            // A kubelet ignores what it does not know; so do we.
            _ => {}
        }
    }
    Ok((options, uid))
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
        let query = "follow=true&tailLines=5&sinceSeconds=10&other=x&uid=1-2&stream=Stderr";
        let (options, uid) = parse(query, now).expect("options");
        assert_eq!((uid.as_deref(), options.stream), (Some("1-2"), Some(Stream::Err)));
        assert!(options.follow && !options.timestamps);
        assert_eq!(options.tail_lines, Some(5));
        assert_eq!(options.since, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(990)));
        let since = parse("sinceTime=1970-01-01T00%3A00%3A07Z", now).expect("options").0.since;
        assert_eq!(since, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)));
        assert!(parse("tailLines=-1", now).is_err());
        assert!(parse("follow=maybe", now).expect_err("is refused").contains("follow"));
    }
}
