//! What this machine can do at most: the disk alone, and an answer that takes
//! no work.

use std::{
    io::{Seek as _, SeekFrom, Write as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

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
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

use crate::secure;

/// What a record takes beside its key and value.
const RECORD_BYTES: usize = 64;

/// As a log's journal: written over from the start when it is full, so that
/// only data is synced.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

const RUN: Duration = Duration::from_millis(1500);

/// Groups of this many records that a file takes in a second, each group one
/// write and one `fdatasync`.
pub(crate) fn syncs_per_second(
    folder: &Path,
    group: usize,
    value_bytes: usize,
) -> std::io::Result<f64> {
    let path = folder.join("ceiling");
    let mut file = std::fs::File::create(&path)?;
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..JOURNAL_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let records = vec![7; group * (value_bytes + RECORD_BYTES)];
    let (start, mut groups, mut at) = (Instant::now(), 0u32, 0);
    while start.elapsed() < RUN {
        if at + records.len() as u64 > JOURNAL_BYTES {
            file.seek(SeekFrom::Start(0))?;
            at = 0;
        }
        file.write_all(&records)?;
        file.sync_data()?;
        at += records.len() as u64;
        groups += 1;
    }
    let rate = f64::from(groups) / start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Serves etcd's KV on our stack with handlers that do nothing, until the
/// process is ended.
pub async fn serve_nothing(address: SocketAddr, tls: Option<Files>) -> anyhow::Result<()> {
    let tls = tls.map(|files| secure::server(&files)).transpose()?.map(TlsAcceptor::from);
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let tls = tls.clone();
        rt::spawn(rt::TaskKind::Connection, "connection", async move {
            // A client that goes away is no event.
            match tls {
                None => serve_connection(tcp).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve_connection(stream).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = TowerToHyperService::new(KvServer::new(Nothing));
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(rt::Gather::new(io)), service).await;
}

struct Nothing;

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
