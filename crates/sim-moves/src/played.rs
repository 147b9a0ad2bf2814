//! The network as a center's controllers know it.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use controllers::Network;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::{
    Bug,
    layout::{self, Process},
    net::{Face, Net, Times},
};

pub struct Played {
    net: Net,
    from: Process,
    bug: Option<Bug>,
}

/// An answer with its whole body.
pub type Whole = (StatusCode, HeaderMap, Bytes);

const FENCE: &str = "/internal/v1/fence";
const DRAIN: &str = "/internal/v1/drain";

/// Beyond every epoch of a run.
const NO_EPOCH: u64 = 1_000_000;

// === impl Played ===

impl Played {
    pub fn new(net: Net, from: Process, bug: Option<Bug>) -> Arc<Played> {
        Arc::new(Played { net, from, bug })
    }
}

#[async_trait]
impl Network for Played {
    async fn connect(&self, address: &str) -> io::Result<()> {
        let to = Process::at(address).ok_or(io::ErrorKind::AddrNotAvailable)?;
        if self.bug == Some(Bug::PauseIsSilence) {
            let asked = self.net.ask(self.from, to, Times::Once, |_| Some(Box::pin(async {})));
            return Ok(asked.await?);
        }
        Ok(self.net.connect(self.from, to).await?)
    }

    async fn send(
        &self,
        address: &str,
        mut request: Request<Bytes>,
    ) -> io::Result<Response<Bytes>> {
        let to = Process::at(address).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let raises = request.uri().path() == FENCE;
        if request.uri().path() == DRAIN
            && self.bug == Some(Bug::DrainsForever)
            && let Some(body) = without_epochs(request.body())
        {
            *request.body_mut() = body;
        }
        let (is_edge, early) = (layout::is_edge(address), raised(request.body()));
        let asked = self.net.ask(self.from, to, Times::Repeated, move |face| {
            let (face, request) = (face.clone(), request.clone());
            Some(Box::pin(async move { answer(face, is_edge, request).await }))
        });
        if let Some(early) = early.filter(|_| raises && self.bug == Some(Bug::ServesEarly)) {
            let _abandoned = futures::FutureExt::now_or_never(asked);
            return Ok(Response::new(early));
        }
        let (status, headers, body) = asked.await?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

async fn answer(face: Face, is_edge: bool, request: Request<Bytes>) -> Whole {
    match face {
        Face::Center { edge, .. } if is_edge => edge.version(request.uri()).await,
        Face::Center { api, drain, .. } => {
            let caller = api::Caller::anonymous();
            whole(api.handle(request.map(Full::new), &caller, &drain).await).await
        }
        Face::Ledger(service) => {
            let peer = ledger::Peer::Plaintext;
            whole(service.handle(request.map(Full::new), &peer).await).await
        }
        Face::Store(_) => unreachable!("nobody addresses the store so"),
    }
}

pub async fn whole<B>(response: Response<B>) -> Whole
where
    B: http_body::Body<Data = Bytes>,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    (head.status, head.headers, body)
}

fn without_epochs(body: &[u8]) -> Option<Bytes> {
    let mut asked: Value = serde_json::from_slice(body).ok()?;
    for shard in asked["shards"].as_array_mut()? {
        shard["epoch"] = NO_EPOCH.into();
    }
    Some(asked.to_string().into())
}

/// What a ledger would say that did all of it.
fn raised(body: &Bytes) -> Option<Bytes> {
    let asked: Value = serde_json::from_slice(body).ok()?;
    let shard =
        |at: &Value| json!({ "shard": at["shard"], "epoch": at["epoch"], "unit": asked["unit"] });
    let raised: Vec<Value> = asked["shards"].as_array()?.iter().map(shard).collect();
    Some(json!({ "raised": raised, "refused": [] }).to_string().into())
}
