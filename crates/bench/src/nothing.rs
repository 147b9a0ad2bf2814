//! What this machine can do at most: an answer that takes no work, over our own
//! HTTP/2 and over hyper and tonic.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http2::grpc::{self, Answer, Unread};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use identity::Files;
use pb_etcd::etcdserverpb::{
    self as pb,
    kv_server::{Kv, KvServer},
};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

use crate::secure;

/// What carries calls to their handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Our own HTTP/2, as the store has it.
    Own,
    /// hyper and tonic.
    Hyper,
}

/// As the store's.
const MANNERS: http2::Manners = http2::Manners {
    limits: http2::Limits {
        streams: 4096,
        stream_window_bytes: 2 * 1024 * 1024,
        connection_window_bytes: 4 * 1024 * 1024,
        head_bytes: 64 * 1024,
        output_bytes: 256 * 1024,
    },
    ping_every: Duration::from_secs(3600),
    ping_answer_max: Duration::from_secs(20),
    stall_max: Duration::from_secs(300),
    send_buffer_bytes: 256 * 1024,
};

/// Serves etcd's KV with handlers that do nothing, until the process is ended.
pub async fn serve_nothing(
    address: SocketAddr,
    tls: Option<Files>,
    stack: Stack,
) -> anyhow::Result<()> {
    let tls = tls.map(|files| secure::server(&files)).transpose()?.map(TlsAcceptor::from);
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let tls = tls.clone();
        rt::spawn(rt::TaskKind::Connection, "connection", async move {
            // A client that goes away is no event.
            match tls {
                None => serve_connection(tcp, stack).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve_connection(stream, stack).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, stack: Stack) {
    match stack {
        Stack::Own => {
            let (nothing, never) = (Arc::new(Nothing), std::future::pending());
            let _ = http2::drive(io, BytesMut::new(), nothing, MANNERS, never).await;
        }
        Stack::Hyper => {
            let service = TowerToHyperService::new(KvServer::new(Nothing));
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(rt::Gather::new(io)), service).await;
        }
    }
}

struct Nothing;

impl http2::Handler for Nothing {
    type Plan = ();
    type Body = http_body_util::Empty<Bytes>;

    fn unary(&self, head: &Arc<http2::Head>) -> Option<()> {
        head.path.starts_with(b"/etcdserverpb.KV/").then_some(())
    }

    fn message_bytes_max(&self) -> usize {
        2 * 1024 * 1024
    }

    /// Reads what it is asked, and answers what its twin on tonic does.
    async fn answer(self: Arc<Self>, (): (), message: Result<Bytes, Unread>) -> Answer {
        let read = message.map(pb::RangeRequest::decode);
        let answer = match read {
            Ok(Ok(_)) => pb::RangeResponse { count: 1, ..Default::default() },
            Ok(Err(error)) => {
                return Answer::Refused(grpc::status(grpc::INTERNAL, &error.to_string()));
            }
            Err(unread) => return unread.into(),
        };
        let mut out = grpc::prefixed(answer.encoded_len());
        answer.encode_raw(&mut out);
        Answer::Message(out.freeze())
    }

    async fn stream(
        self: Arc<Self>,
        _: http::Request<http2::Body>,
    ) -> http::Response<http_body_util::Empty<Bytes>> {
        http::Response::default()
    }
}

#[tonic::async_trait]
impl Kv for Nothing {
    async fn range(
        &self,
        _: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        Ok(Response::new(pb::RangeResponse { count: 1, ..Default::default() }))
    }

    type RangeStreamStream = futures::stream::Empty<Result<pb::RangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Ok(Response::new(futures::stream::empty()))
    }

    async fn put(&self, _: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        Ok(Response::new(pb::PutResponse::default()))
    }

    async fn delete_range(
        &self,
        _: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        Ok(Response::new(pb::DeleteRangeResponse::default()))
    }

    async fn txn(&self, _: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        Ok(Response::new(pb::TxnResponse::default()))
    }

    async fn compact(
        &self,
        _: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        Ok(Response::new(pb::CompactionResponse::default()))
    }
}
