//! The threads that carry traffic, and what they are told.

use std::{
    collections::HashMap,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use crate::{
    handover::{Held, Moving},
    plan::Plan,
    proxy::Error,
    serve,
    worker::{Draining, Worker},
};

/// Between two looks at whether all are there.
const LOOK: Duration = Duration::from_millis(500);

/// What a thread is told.
pub(crate) enum Order {
    Install(Arc<Plan>),
    Listen { name: String, socket: std::net::TcpListener },
    Unlisten { name: String },
    TakeOver(Moving),
}

/// One of them, seen from outside.
pub(crate) struct Thread {
    pub(crate) name: String,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    /// Its runtime is there and takes orders.
    pub(crate) started: oneshot::Receiver<()>,
    pub(crate) ended: oneshot::Receiver<()>,
}

/// Starts a thread with a runtime of its own. Dropping the runtime at its end
/// cuts off whatever is left.
pub(crate) fn start<F, Fut>(index: usize, work: F) -> Result<Thread, Error>
where
    F: FnOnce(mpsc::UnboundedReceiver<Order>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let name = format!("proxy-{index}");
    let failed = |source| Error::Thread { name: name.clone(), source };
    let (orders, received) = mpsc::unbounded_channel();
    let (start, started) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let _end: oneshot::Sender<()> = end;
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(runtime::LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = start.send(());
                    runtime.block_on(work(received));
                }
                Err(error) => tracing::error!(%error, "cannot start a runtime"),
            }
        })
        .map_err(failed)?;
    Ok(Thread { name, orders, started, ended })
}

/// Resolves with the name of one that ended without being told to.
pub(crate) async fn any_ended(workers: &[Thread]) -> String {
    loop {
        if let Some(ended) = workers.iter().find(|worker| worker.orders.is_closed()) {
            return ended.name.clone();
        }
        sleep(LOOK).await;
    }
}

/// Every socket is accepted on and every thread accepts, whether there are more
/// of the ones or of the others: a process before may have had other threads.
pub(crate) fn tell_listen(workers: &[Thread], held: &Held) -> io::Result<()> {
    for at in 0..workers.len().max(held.sockets.len()) {
        let socket = held.sockets[at % held.sockets.len()].try_clone()?;
        let order = Order::Listen { name: held.name.clone(), socket };
        let _ = workers[at % workers.len()].orders.send(order);
    }
    Ok(())
}

/// One thread's work: carries out orders until the drain, then waits for what
/// is under way.
pub(crate) async fn work(
    worker: Rc<Worker>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut draining: watch::Receiver<Draining>,
) {
    let mut listening: HashMap<String, Vec<oneshot::Sender<()>>> = HashMap::new();
    let mut accepting = tokio::task::JoinSet::new();
    let sweeper = tokio::task::spawn_local({
        let worker = worker.clone();
        async move { worker.sweep().await }
    });
    loop {
        let order = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining != Draining::No) => break,
            order = orders.recv() => order,
        };
        match order {
            None => break,
            Some(Order::Install(plan)) => worker.install(plan),
            Some(Order::Unlisten { name }) => drop(listening.remove(&name)),
            Some(Order::TakeOver(moving)) => serve::take_over(&worker, moving),
            Some(Order::Listen { name, socket }) => {
                let (stop, stopped) = oneshot::channel();
                let named = Rc::from(name.as_str());
                accepting.spawn_local(serve::listen(worker.clone(), named, socket, stopped));
                listening.entry(name).or_default().push(stop);
            }
        }
    }
    // Whoever gave no reason is gone, and nobody comes after.
    let reason = *draining.borrow();
    worker.drain(if reason == Draining::No { Draining::Last } else { reason });
    // The proxy before has these no more.
    while let Ok(order) = orders.try_recv() {
        if let Order::TakeOver(moving) = order {
            serve::take_over(&worker, moving);
        }
    }
    while accepting.join_next().await.is_some() {}
    let patience = worker.plan().shared.config.limits.drain_timeout.0;
    let gone = async {
        while worker.metrics.connections.get() > worker.metrics.connections_ended.get() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(patience, gone).await.is_err() {
        let left = worker.connections.load(Relaxed);
        tracing::warn!(connections = left, "drain timed out; cutting connections off");
    }
    sweeper.abort();
}
