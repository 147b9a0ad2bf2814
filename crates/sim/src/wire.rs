//! Between the replicas and their database, and between the replicas.
//!
//! A request arrives late or never, is worked on when it arrives, and its
//! answer is late or lost. Whoever lost an answer knows nothing: the work was
//! done, or not, or will be done seconds later. Requests are worked on one by
//! one, as a database serialises what touches one row.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use rt::random::Random;
use tokio::sync::oneshot;

/// Cheap to clone; clones are one network with one database behind it.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Net>>);

struct Net {
    random: Random,
    now_ms: u64,
    /// By the time at which they are due, then in the order of asking.
    jobs: BTreeMap<(u64, u64), Job>,
    asked: u64,
    /// No work is done before this.
    stalled_until_ms: u64,
    weather: Vec<Weather>,
    /// There is no way at all.
    direct: bool,
}

type Job = Box<dyn FnOnce(&Wire) + Send>;

/// Carries an answer back to who asked, if there is a way; dropped without one,
/// it says that whoever was asked has gone.
pub struct Reply<T: Send + 'static> {
    wire: Wire,
    road: [usize; 2],
    asker: Option<Asker<T>>,
}

/// How the road from one replica is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Nothing gets through.
    pub cut: bool,
    /// So many in a thousand answers are lost.
    pub lost_per_mille: u64,
    /// Requests take up to this much longer.
    pub slow_ms: u64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Certainly not done.
    Refused,
    /// Done, or not, or it will be.
    Lost,
}

/// Whoever waits for an answer.
type Asker<T> = oneshot::Sender<Result<T, Trouble>>;

/// What becomes of a request.
enum Fate {
    Refused,
    /// It is answered.
    Answered,
    /// The work is done, the answer lost.
    AnswerLost,
    RequestLost,
    /// The asker gives up; the work is done later.
    Late,
}

/// How much later than its asker gave up a request can arrive.
const LATE_MS_MAX: u64 = 4_000;
const TRAVEL_MS_MAX: u64 = 3;
/// Until a broken connection is noticed.
const NOTICE_MS_MAX: u64 = 300;

// === impl Wire ===

impl Wire {
    #[must_use]
    pub fn new(random: Random, replicas: usize) -> Wire {
        Wire(Arc::new(Mutex::new(Net {
            random,
            now_ms: 0,
            jobs: BTreeMap::new(),
            asked: 0,
            stalled_until_ms: 0,
            weather: vec![Weather::default(); replicas],
            direct: false,
        })))
    }

    /// To look at a database without any bad luck.
    #[must_use]
    pub fn direct() -> Wire {
        let wire = Wire::new(Random::seeded(0), 1);
        wire.net().direct = true;
        wire
    }

    /// Has `work` done at the database.
    pub async fn call<T: Send + 'static>(
        &self,
        from: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        if self.net().direct {
            return Ok(work());
        }
        let (answer, answered) = oneshot::channel();
        self.send(&[from], answer, move |wire, asker| {
            let done = work();
            let Some(asker) = asker else { return };
            let mut net = wire.net();
            let back = net.travels(&[from]);
            // Whoever crashed does not hear it.
            net.after(back, move |_| drop(asker.send(Ok(done))));
        });
        // Dropped with the jobs of a world that ends.
        answered.await.unwrap_or(Err(Trouble::Lost))
    }

    /// Has `begin` called at another replica, whose answer may take its time.
    pub async fn pass<T: Send + 'static>(
        &self,
        road: [usize; 2],
        begin: impl FnOnce(Reply<T>) + Send + 'static,
    ) -> Result<T, Trouble> {
        let (answer, answered) = oneshot::channel();
        self.send(&road, answer, move |wire, asker| {
            begin(Reply { wire: wire.clone(), road, asker });
        });
        answered.await.unwrap_or(Err(Trouble::Lost))
    }

    /// Has `arrive` called where the road ends, as fate will have it; without an
    /// asker when nobody waits for what it says.
    fn send<T: Send + 'static>(
        &self,
        road: &[usize],
        answer: Asker<T>,
        arrive: impl FnOnce(&Wire, Option<Asker<T>>) + Send + 'static,
    ) {
        let mut net = self.net();
        let fate = net.fate(road);
        let travels = net.travels(road);
        let notices = 1 + net.random.below(NOTICE_MS_MAX);
        match fate {
            Fate::Refused => {
                net.after(travels, move |_| drop(answer.send(Err(Trouble::Refused))));
            }
            Fate::RequestLost => {
                net.after(notices, move |_| drop(answer.send(Err(Trouble::Lost))));
            }
            Fate::Late => {
                let late = notices + net.random.below(LATE_MS_MAX);
                net.after(notices, move |_| drop(answer.send(Err(Trouble::Lost))));
                net.after(late, move |wire| arrive(wire, None));
            }
            Fate::AnswerLost => {
                net.after(travels, move |wire| arrive(wire, None));
                net.after(travels + notices, move |_| drop(answer.send(Err(Trouble::Lost))));
            }
            Fate::Answered => net.after(travels, move |wire| arrive(wire, Some(answer))),
        }
    }

    /// Does the work that is due.
    pub fn run_until(&self, now_ms: u64) {
        loop {
            let mut net = self.net();
            let due = net.jobs.first_key_value().map(|(due, _)| *due);
            let Some(due) = due.filter(|(at, _)| *at <= now_ms && net.stalled_until_ms <= now_ms)
            else {
                net.now_ms = now_ms;
                return;
            };
            net.now_ms = net.now_ms.max(due.0);
            let job = net.jobs.remove(&due).expect("it was just there");
            drop(net);
            job(self);
        }
    }

    pub fn set_weather(&self, from: usize, weather: Weather) {
        self.net().weather[from] = weather;
    }

    pub fn stall_until(&self, ms: u64) {
        self.net().stalled_until_ms = ms;
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().expect("one thread")
    }
}

// === impl Reply ===

impl<T: Send + 'static> Reply<T> {
    pub fn send(mut self, answer: T) {
        if let Some(asker) = self.asker.take() {
            let mut net = self.wire.net();
            let back = net.travels(&self.road);
            net.after(back, move |_| drop(asker.send(Ok(answer))));
        }
    }

    /// Nobody is there.
    pub fn refuse(mut self) {
        if let Some(asker) = self.asker.take() {
            let mut net = self.wire.net();
            let back = net.travels(&self.road);
            net.after(back, move |_| drop(asker.send(Err(Trouble::Refused))));
        }
    }
}

impl<T: Send + 'static> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(asker) = self.asker.take() {
            let mut net = self.wire.net();
            let notices = 1 + net.random.below(NOTICE_MS_MAX);
            net.after(notices, move |_| drop(asker.send(Err(Trouble::Lost))));
        }
    }
}

// === impl Net ===

impl Net {
    fn fate(&mut self, road: &[usize]) -> Fate {
        let weather = self.worst(road);
        if weather.cut {
            return if self.random.below(2) == 0 { Fate::Refused } else { Fate::RequestLost };
        }
        if self.random.below(1_000) >= weather.lost_per_mille {
            return Fate::Answered;
        }
        match self.random.below(4) {
            0 => Fate::Refused,
            1 => Fate::RequestLost,
            2 => Fate::AnswerLost,
            _ => Fate::Late,
        }
    }

    fn travels(&mut self, road: &[usize]) -> u64 {
        let slow_ms = self.worst(road).slow_ms;
        self.random.below(TRAVEL_MS_MAX + 1) + self.random.below(slow_ms + 1)
    }

    /// Of all replicas that a road passes.
    fn worst(&self, road: &[usize]) -> Weather {
        road.iter().map(|at| self.weather[*at]).fold(Weather::default(), |worst, here| Weather {
            cut: worst.cut || here.cut,
            lost_per_mille: worst.lost_per_mille.max(here.lost_per_mille),
            slow_ms: worst.slow_ms.max(here.slow_ms),
        })
    }

    fn after(&mut self, ms: u64, job: impl FnOnce(&Wire) + Send + 'static) {
        self.asked += 1;
        self.jobs.insert((self.now_ms + ms, self.asked), Box::new(job));
    }
}
