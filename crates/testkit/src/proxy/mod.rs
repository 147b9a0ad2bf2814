//! A proxy before a MySQL-protocol server that breaks connections on purpose.
//!
//! It reads just enough of the protocol to know one command from the next, and
//! so can strike exactly at a COMMIT, on either side of it. Connections that
//! are encrypted or compressed pass too, and can be cut and stalled, but what
//! they say is not seen.

mod command;
mod rule;
mod session;

use std::{
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{runtime::Runtime, sync::watch};

use self::rule::Rules;
pub use self::{
    command::{Command, Kind},
    rule::{Armed, Fault, Odds, When},
};

/// All connections together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Open,
    /// Connections stand, new ones too, and nothing passes: a network that
    /// drops everything.
    Stalled,
    /// Connections are closed and new ones too: a server that is gone.
    Refused,
}

/// Its connections end with it.
pub struct FaultProxy {
    port: u16,
    control: Arc<Control>,
    /// `None` once it ends.
    runtime: Option<Runtime>,
}

struct Control {
    upstream: u16,
    flow: watch::Sender<Flow>,
    /// Counts the times that everything was cut.
    cut: watch::Sender<u64>,
    rules: Mutex<Rules>,
    struck: AtomicU64,
}

// === impl FaultProxy ===

impl FaultProxy {
    /// Before a server on a port of loopback.
    #[must_use]
    pub fn start(upstream: u16) -> FaultProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen on loopback");
        listener.set_nonblocking(true).expect("make it non-blocking");
        let port = listener.local_addr().expect("it is bound").port();
        let control = Arc::new(Control {
            upstream,
            flow: watch::Sender::new(Flow::Open),
            cut: watch::Sender::new(0),
            rules: Mutex::default(),
            struck: AtomicU64::new(0),
        });
        // Of its own: the test's may be paused in time, or single-threaded and
        // blocked.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fault-proxy")
            .enable_all()
            .build()
            .expect("start a runtime");
        runtime.spawn(accept(listener, control.clone()));
        FaultProxy { port, control, runtime: Some(runtime) }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `mysql://root@127.0.0.1:PORT/DATABASE`, the way through the proxy.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// Strikes the next command that matches, once.
    pub fn strike(&self, when: When, fault: Fault) -> Armed {
        self.strike_after(0, when, fault)
    }

    /// As [`FaultProxy::strike`], after `skip` that match have passed.
    pub fn strike_after(&self, skip: u32, when: When, fault: Fault) -> Armed {
        self.control.rules().arm(when, skip, fault)
    }

    /// From now on strikes commits at random, the same for the same seed and
    /// the same order of commits.
    pub fn strike_at_random(&self, seed: u64, odds: Odds) {
        self.control.rules().at_random(seed, odds);
    }

    /// Forgets everything that has not struck, and lets all pass.
    pub fn calm(&self) {
        self.control.rules().clear();
        self.set_flow(Flow::Open);
    }

    pub fn set_flow(&self, flow: Flow) {
        self.control.flow.send_replace(flow);
        if flow == Flow::Refused {
            self.cut();
        }
    }

    /// Closes every connection; new ones are welcome.
    pub fn cut(&self) {
        self.control.cut.send_modify(|times| *times += 1);
    }

    /// How often a fault has struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.control.struck.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting would panic on the thread of an async test.
            runtime.shutdown_background();
        }
    }
}

// === impl Control ===

impl Control {
    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().expect("no holder panics")
    }

    fn judge(&self, command: &Command<'_>) -> Option<Fault> {
        let fault = self.rules().judge(command);
        if fault.is_some() {
            self.struck.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("register a listener");
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *control.flow.borrow() == Flow::Refused {
            continue; // Closes it.
        }
        let control = control.clone();
        tokio::spawn(async move { session::relay(client, &control).await });
    }
}
