//! Watches of both, from the same requests.

use std::time::Duration;

use futures::StreamExt as _;
use pb_etcd::etcdserverpb::{self as pb, watch_request::RequestUnion};
use prost::bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

use crate::pair::{Call, Pair, Side, faceless};

/// A watch of either side has said all it has to say; unless the other one has
/// said more.
const QUIET: Duration = Duration::from_secs(1);

/// For the slower of both to have said as much.
const LIMIT: Duration = Duration::from_secs(60);

/// One stream, and what it said: the control responses, and each watch's events.
struct Stream {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: tonic::Streaming<pb::WatchResponse>,
}

// === impl Stream ===

impl Stream {
    async fn open(side: &Side) -> Stream {
        let (requests, outgoing) = mpsc::channel(16);
        let mut watch = side.watch.clone();
        // etcd sends no headers before its first response.
        let first = create(b"warm-up", 1_000_000);
        requests.send(first).await.expect("room");
        let responses = watch.watch(ReceiverStream::new(outgoing)).await.expect("a stream");
        Stream { requests, responses: responses.into_inner() }
    }

    /// Everything said until it is quiet. Batches of events are taken apart,
    /// since how many come together is a matter of time.
    async fn listen(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Ok(response) = tokio::time::timeout(QUIET, self.responses.next()).await {
            match response {
                Some(Ok(mut response)) => {
                    let id = response.watch_id;
                    let events = std::mem::take(&mut response.events);
                    let fragment = response.fragment;
                    heard.extend(events.iter().map(|event| format!("{id}: {event:?}")));
                    if events.is_empty() {
                        response.header = response.header.map(faceless);
                        heard.push(format!("{response:?}"));
                    }
                    if fragment {
                        heard.push(format!("{id}: goes on"));
                    }
                }
                Some(Err(status)) => {
                    heard.push(format!("{:?} {}", status.code(), status.message()));
                    break;
                }
                None => {
                    heard.push("end".into());
                    break;
                }
            }
        }
        heard
    }
}

fn watch(union: RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest { request_union: Some(union) }
}

fn create(key: &'static [u8], start_revision: i64) -> pb::WatchRequest {
    create_with(pb::WatchCreateRequest { key: key.into(), start_revision, ..Default::default() })
}

fn create_with(create: pb::WatchCreateRequest) -> pb::WatchRequest {
    watch(RequestUnion::CreateRequest(create))
}

fn cancel(watch_id: i64) -> pb::WatchRequest {
    watch(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }))
}

/// Both streams say the same to the same requests.
async fn same(streams: &mut [Stream; 2], what: &str, requests: Vec<pb::WatchRequest>) {
    for stream in streams.iter() {
        for request in &requests {
            stream.requests.send(request.clone()).await.expect("the stream listens");
        }
    }
    let [ours, theirs] = hear(streams, |_| {}).await;
    assert_eq!(ours, theirs, "{what}: ours and theirs");
}

/// All that both say until it is quiet, in an order of the caller's. It is the
/// same, or no more time makes it so.
async fn hear(streams: &mut [Stream; 2], arrange: impl Fn(&mut Vec<String>)) -> [Vec<String>; 2] {
    let [ours, theirs] = streams;
    let until = Instant::now() + LIMIT;
    let mut heard = [Vec::new(), Vec::new()];
    loop {
        let (of_ours, of_theirs) = tokio::join!(ours.listen(), theirs.listen());
        heard[0].extend(of_ours);
        heard[1].extend(of_theirs);
        heard.iter_mut().for_each(&arrange);
        if heard[0] == heard[1] || Instant::now() >= until {
            return heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_say_what_etcd_s_watches_say() {
    let pair = Pair::start("differential-watch").await;
    let put = |key: &'static [u8], value: &'static [u8]| {
        Call::Put(pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() })
    };
    let delete = |key: &'static [u8], end: &'static [u8]| {
        let (key, range_end) = (key.into(), end.into());
        Call::Delete(pb::DeleteRangeRequest { key, range_end, prev_kv: false })
    };
    for call in
        [put(b"a", b"1"), put(b"b", b"1"), put(b"a", b"2"), delete(b"a", b""), put(b"a", b"3")]
    {
        pair.agree(&call, &[]).await;
    }
    let mut streams = [Stream::open(&pair.ours).await, Stream::open(&pair.theirs).await];
    same(&mut streams, "the first", vec![]).await;

    let base = pb::WatchCreateRequest { key: "a".into(), start_revision: 2, ..Default::default() };
    let range = pb::WatchCreateRequest { range_end: "z".into(), ..base.clone() };
    let cases: Vec<(&str, Vec<pb::WatchRequest>)> = vec![
        ("from a revision", vec![create_with(base.clone())]),
        (
            "a range, with what was before",
            vec![create_with(pb::WatchCreateRequest { prev_kv: true, ..range.clone() })],
        ),
        (
            "no puts",
            vec![create_with(pb::WatchCreateRequest { filters: vec![0], ..range.clone() })],
        ),
        (
            "no deletes",
            vec![create_with(pb::WatchCreateRequest { filters: vec![1], ..range.clone() })],
        ),
        (
            "nothing at all",
            vec![create_with(pb::WatchCreateRequest { filters: vec![0, 1], ..range.clone() })],
        ),
        (
            "an id of its own",
            vec![create_with(pb::WatchCreateRequest { watch_id: 77, ..base.clone() })],
        ),
        (
            "the same id again",
            vec![create_with(pb::WatchCreateRequest { watch_id: 77, ..base.clone() })],
        ),
        (
            "a negative id",
            vec![create_with(pb::WatchCreateRequest { watch_id: -9, ..base.clone() })],
        ),
        ("from here on", vec![create(b"a", 0)]),
        ("from the future", vec![create(b"a", 50)]),
        (
            "an end before the start",
            vec![create_with(pb::WatchCreateRequest {
                key: "b".into(),
                range_end: "a".into(),
                ..base.clone()
            })],
        ),
        (
            "everything",
            vec![create_with(pb::WatchCreateRequest {
                key: Bytes::new(),
                range_end: Bytes::from_static(b"\0"),
                ..base.clone()
            })],
        ),
        ("no key", vec![create_with(pb::WatchCreateRequest { key: Bytes::new(), ..base.clone() })]),
        ("cancel one", vec![cancel(77)]),
        ("cancel it again", vec![cancel(77)]),
        ("cancel none", vec![cancel(4711)]),
        (
            "its id is free again",
            vec![create_with(pb::WatchCreateRequest { watch_id: 77, ..base.clone() })],
        ),
        ("nothing said", vec![pb::WatchRequest { request_union: None }]),
    ];
    for (what, requests) in cases {
        same(&mut streams, what, requests).await;
    }

    for call in [put(b"b", b"2"), put(b"c", b"1"), delete(b"a", b"z")] {
        pair.agree(&call, &[]).await;
    }
    // Which watch hears of a write first is nobody's business.
    let [ours, theirs] = hear(&mut streams, |heard| heard.sort()).await;
    assert_eq!(ours, theirs, "live events");

    let compact = Call::Compact(pb::CompactionRequest { revision: 6, physical: true });
    pair.agree(&compact, &[]).await;
    same(&mut streams, "from a compacted revision", vec![create_with(base.clone())]).await;
    let at_the_edge = pb::WatchCreateRequest { start_revision: 6, prev_kv: true, ..range };
    same(&mut streams, "from the oldest there is", vec![create_with(at_the_edge)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_told_when_asked_for_and_every_watch_is_up_to_date() {
    let pair = Pair::start("differential-progress").await;
    let put = |key: &'static str| {
        Call::Put(pb::PutRequest { key: key.into(), value: "v".into(), ..Default::default() })
    };
    let mut streams = [Stream::open(&pair.ours).await, Stream::open(&pair.theirs).await];
    same(&mut streams, "two watches", vec![create(b"a", 0), create(b"b", 0)]).await;
    pair.agree(&put("elsewhere"), &[]).await;
    tokio::time::sleep(QUIET).await;
    // One whose start lies ahead is up to date for etcd 3.5, and for 3.7 holds
    // back the answer, as it does here.
    same(&mut streams, "one that waits for the future goes", vec![cancel(0)]).await;
    same(&mut streams, "asked for", vec![progress()]).await;
}

fn progress() -> pb::WatchRequest {
    watch(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}))
}
