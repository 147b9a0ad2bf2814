//! A machine: a runtime of its own, whose clock the simulation moves.
//!
//! A machine that is paused is not polled, and finds its clock moved on when it
//! is let go, as a process does after SIGSTOP. One that crashes is dropped.

use std::time::Duration;

use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::Instant,
};

pub struct Host {
    runtime: Runtime,
    began: Instant,
    /// Of the world's clock, when this machine was started.
    began_ms: u64,
    /// Its clock runs this much faster.
    drift_ppm: i64,
}

// === impl Host ===

impl Host {
    pub fn new(now_ms: u64, drift_ppm: i64) -> Host {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a machine has a few descriptors left");
        let began = runtime.block_on(async { Instant::now() });
        Host { runtime, began, began_ms: now_ms, drift_ppm }
    }

    /// Runs until the world's clock shows `now_ms`.
    pub fn run_until(&self, now_ms: u64) {
        let target = self.began + Duration::from_millis(self.local_ms(now_ms));
        self.runtime.block_on(async { tokio::time::sleep_until(target).await });
    }

    /// Moves the clock without running anything: a pause has passed.
    pub fn skip_to(&self, now_ms: u64) {
        self.runtime.block_on(async {
            let target = self.began + Duration::from_millis(self.local_ms(now_ms));
            let missed = target.saturating_duration_since(Instant::now());
            tokio::time::advance(missed).await;
        });
    }

    /// To have others start work here.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// For setting up; must not wait for other machines.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }

    fn local_ms(&self, now_ms: u64) -> u64 {
        let passed = i64::try_from(now_ms - self.began_ms).expect("a run takes minutes");
        u64::try_from(passed + passed * self.drift_ppm / 1_000_000).expect("drift is small")
    }
}
