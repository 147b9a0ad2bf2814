//! The API door: one TCP address that balances over the live API replicas.
//!
//! Bytes are passed through untouched, so TLS and client certificates are
//! between the client and the replica. Connections go to the replicas in turn;
//! one that does not answer in time is passed over.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rt::{Drain, TaskKind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

/// On one machine a listening replica answers at once; a dead one is refused.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Bound on connections through the door: descriptors of one process, twice
/// over. Beyond it clients wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 400;

pub struct Door {
    listener: TcpListener,
    replicas: Arc<[SocketAddr]>,
}

// === impl Door ===

impl Door {
    #[must_use]
    pub fn new(listener: TcpListener, replicas: Vec<SocketAddr>) -> Door {
        Door { listener, replicas: replicas.into() }
    }

    pub async fn run(self, drain: Drain) {
        let turn = Arc::new(AtomicUsize::new(0));
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.started() => return,
            };
            let client = match accepted {
                Ok((client, _)) => client,
                Err(error) => {
                    tracing::warn!(%error, "API door: accept");
                    tokio::time::sleep(CONNECT_TIMEOUT).await;
                    continue;
                }
            };
            let (replicas, turn, drain) = (self.replicas.clone(), turn.clone(), drain.clone());
            rt::spawn(TaskKind::Connection, "door", async move {
                let first = turn.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    () = pass(client, &replicas, first) => {}
                    () = drain.started() => {}
                }
                drop(slot);
            });
        }
    }
}

async fn pass(mut client: TcpStream, replicas: &[SocketAddr], first: usize) {
    for offset in 0..replicas.len() {
        let replica = replicas[(first + offset) % replicas.len()];
        if let Ok(Ok(mut server)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(replica)).await {
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            // Either side may end it at any time; that is no error of the door.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
    tracing::warn!("API door: no replica answers");
}
