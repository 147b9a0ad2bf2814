//! Requests between replicas: a message there, and one back.
//!
//! A message may be lost or late, and its answer lost. Only reads arrive twice
//! without anybody's asking again: a connection carries each request at most
//! once, and whether the store sends a request again that may have arrived is
//! what is to be found out (`Bug::SentAgain` does).

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response, request, response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kv::Error;
use store::{Entrance, Transport};
use tonic::body::Body;

use crate::{
    Bug,
    replica::Directory,
    wire::{Reply, Trouble, Wire},
};

/// One replica's way to the others.
pub struct Post {
    pub wire: Wire,
    pub from: usize,
    pub directory: Directory,
    pub bug: Option<Bug>,
}

/// A whole answer, with what comes behind it.
type Letter = (response::Parts, Bytes, Option<HeaderMap>);

const READ: &str = "/etcdserverpb.KV/Range";
const MEMORY: &str = "/polis/memory";

/// Where a replica says that it is.
pub fn url(index: usize) -> String {
    format!("http://replica-{index}")
}

fn index(url: &str) -> Option<usize> {
    url.strip_prefix("http://replica-")?.parse().ok()
}

// === impl Post ===

#[async_trait]
impl Transport for Post {
    async fn carry(&self, url: &str, request: Request<Body>) -> Result<Response<Body>, Error> {
        let to = index(url).ok_or_else(|| Error::Unreachable(url.to_owned()))?;
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|lost| Error::Unknown(lost.to_string()))?;
        let body = body.to_bytes();
        let pass = || {
            let (directory, head, body) = (self.directory.clone(), head.clone(), body.clone());
            let begin = move |reply| deliver(&directory, to, head, body, reply);
            self.wire.pass([self.from, to], begin)
        };
        let answer = match head.uri.path() {
            MEMORY if self.bug == Some(Bug::Deaf) => Err(Trouble::Refused),
            READ => tokio::select! {
                answer = pass() => answer,
                answer = pass() => answer,
            },
            _ => pass().await,
        };
        match (answer, self.bug) {
            (Ok(letter), _) => Ok(opened(letter)),
            (Err(Trouble::Refused), _) | (Err(Trouble::Lost), Some(Bug::SentAgain)) => {
                Err(Error::Unreachable("nobody answers".into()))
            }
            (Err(Trouble::Lost), _) => Err(Error::Unknown("the connection was lost".into())),
        }
    }

    fn arrive(&self, entrance: Entrance) {
        if let Some(reached) = &mut self.directory.lock().expect("one thread")[self.from] {
            reached.entrance = Some(entrance);
        }
    }
}

/// Begins the work at whoever is there by now.
fn deliver(
    directory: &Directory,
    to: usize,
    head: request::Parts,
    body: Bytes,
    reply: Reply<Letter>,
) {
    let reached = directory.lock().expect("one thread")[to].clone();
    let Some((reached, entrance)) =
        reached.and_then(|reached| Some((reached.clone(), reached.entrance?)))
    else {
        return reply.refuse();
    };
    drop(reached.machine.spawn(async move {
        let request = Request::from_parts(head, Body::new(Full::new(body)));
        let (head, body) = entrance.call(request).await.into_parts();
        if let Ok(body) = body.collect().await {
            let trailers = body.trailers().cloned();
            reply.send((head, body.to_bytes(), trailers));
        }
    }));
}

fn opened((head, body, trailers): Letter) -> Response<Body> {
    let data = (!body.is_empty()).then(|| Ok::<_, Error>(Frame::data(body)));
    let trailers = trailers.map(|trailers| Ok(Frame::trailers(trailers)));
    let frames: Vec<_> = data.into_iter().chain(trailers).collect();
    Response::from_parts(head, Body::new(StreamBody::new(stream::iter(frames))))
}
