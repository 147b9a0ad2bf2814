//! The run: payments fall due, are sent, end, and are recorded.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use rt::Drain;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    Config, Error, Outcome, Record, Second, Summary, account,
    edge::Edges,
    history::Writer,
    payment::Payment,
    resolve::{Patience, resolve_all},
    stats::Stats,
    users::user,
    witness,
};

/// Seconds that may wait to be shown; a reader that is slower misses some.
const SECONDS_MAX: usize = 64;

/// A load whose accounts are open: ready to run.
pub struct Load {
    config: Config,
    edges: Arc<Edges>,
    stop: Drain,
    seconds: mpsc::Sender<Second>,
    missing: Option<mpsc::Sender<String>>,
}

/// What a run leaves behind. The history file has the same records.
pub struct Report {
    pub records: Vec<Record>,
    pub summary: Summary,
    /// When the run began; `due_us` and `end_us` count from here.
    pub start: Instant,
}

// === impl Load ===

impl Load {
    /// Checks the configuration and opens the accounts. `stop` ends a run early;
    /// closed seconds go to the receiver.
    pub async fn prepare(
        config: Config,
        stop: Drain,
    ) -> Result<(Load, mpsc::Receiver<Second>), Error> {
        config.check()?;
        let edges = Arc::new(Edges::new(config.edges.clone()));
        account::open(&edges, config.users).await?;
        let (seconds, closed) = mpsc::channel(SECONDS_MAX);
        Ok((Load { config, edges, stop, seconds, missing: None }, closed))
    }

    /// Has some payments looked up while the load goes on; the ids of those that
    /// were acknowledged and are not there go to the receiver.
    #[must_use]
    pub fn watched(self) -> (Load, mpsc::Receiver<String>) {
        let (missing, gone) = mpsc::channel(1);
        (Load { missing: Some(missing), ..self }, gone)
    }

    /// Sends until the duration is over or `stop` has started, waits for what is
    /// under way, and resolves what got no definite answer.
    pub async fn run(self) -> Result<Report, Error> {
        let mut history = Writer::create(&self.config.history)?;
        let start = Instant::now();
        let mut stats = Stats::new();
        let mut records = Vec::new();
        let mut under_way = JoinSet::new();
        let mut second =
            tokio::time::interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let total = self
            .config
            .duration
            .map(|duration| (duration.as_secs_f64() * f64::from(self.config.rate)).round() as u64);
        let mut number = 0;
        let mut stopped = false;
        loop {
            let over = stopped || total.is_some_and(|total| number >= total);
            if over && under_way.is_empty() {
                break;
            }
            let due = start + self.offset(number);
            tokio::select! {
                biased;
                _ = second.tick() => {
                    // Whoever watches may be gone or slow; the history has it all.
                    let _ = self.seconds.try_send(stats.tick());
                }
                Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                    let record = ended.expect("a payment never panics and is never aborted");
                    stats.add(&record);
                    history.write(&record)?;
                    self.look_up(records.len(), &record);
                    records.push(record);
                }
                () = tokio::time::sleep_until(due), if !over => {
                    // All that fell due while we were busy, in one go.
                    let now = Instant::now();
                    while start + self.offset(number) <= now
                        && total.is_none_or(|total| number < total)
                    {
                        let due = start + self.offset(number);
                        let index = u32::try_from(number % u64::from(self.config.users))
                            .expect("below the number of users");
                        let user = user(index);
                        let shard = self.config.layout.shard_of(user.bucket());
                        let payment = Payment { number, user, shard, due, start };
                        number += 1;
                        if under_way.len() < Config::IN_FLIGHT_MAX {
                            let Config { run, give_up, .. } = &self.config;
                            let paying = payment.run(self.edges.clone(), run.clone(), *give_up);
                            under_way.spawn(paying);
                        } else {
                            let record = payment.not_sent(&self.config.run);
                            stats.add(&record);
                            history.write(&record)?;
                            records.push(record);
                        }
                    }
                }
                () = self.stop.started(), if !stopped => stopped = true,
            }
        }
        self.resolve(&mut records, &mut stats, &mut history, start).await?;
        history.finish()?;
        Ok(Report { records, summary: stats.summary(), start })
    }

    /// One acknowledged payment of so many.
    fn look_up(&self, number: usize, record: &Record) {
        let Some(missing) = &self.missing else { return };
        if record.outcome == Outcome::Acked && number.is_multiple_of(witness::ONE_OF) {
            witness::look_up(self.edges.clone(), record.id.clone(), missing.clone());
        }
    }

    fn offset(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / f64::from(self.config.rate))
    }

    async fn resolve(
        &self,
        records: &mut Vec<Record>,
        stats: &mut Stats,
        history: &mut Writer,
        start: Instant,
    ) -> Result<(), Error> {
        let open = |record: &&Record| record.outcome == Outcome::Unknown;
        let unknown: Vec<_> = records.iter().filter(open).cloned().collect();
        let mut left = unknown.len();
        let resolved = resolve_all(&self.edges, unknown, start, Patience::DEFAULT);
        let mut resolved = std::pin::pin!(resolved);
        while let Some(record) = resolved.next().await {
            left -= 1;
            stats.add_resolved(&record);
            history.write(&record)?;
            records.push(record);
        }
        // They stay unknown, as the history has them already.
        stats.add_unresolved(left);
        Ok(())
    }
}
