//! Bad luck, by the seed: processes die and stand still, cities fall silent,
//! roads are cut one way or both, and carry messages late, twice or not at all.

use rt::random::Random;

use crate::{
    layout::{CENTERS, Process, SEATS, SPOTS, STORE_SPOT},
    net::{Net, Weather},
    world::Machines,
};

const CALM_MS_MAX: u64 = 2_500;
const DEATH_MS_MAX: u64 = 8_000;
/// Beyond what anyone takes for a mere delay.
const PAUSE_MS_MAX: u64 = 5_500;
const STORE_PAUSE_MS_MAX: u64 = 2_500;
const CUT_MS_MAX: u64 = 8_000;

/// Of `Kind::Pauses`: what each lasts, and when the next begins, by when what
/// was moved has come home.
const FIVE_SECONDS_MS: u64 = 5_000;
const BETWEEN_PAUSES_MS: u64 = 14_000;

pub struct Faults {
    random: Random,
    next_ms: u64,
    heals: Vec<(u64, Heal)>,
    pub told: Vec<(u64, String)>,
    /// Who stood still, from when until when.
    pub pauses: Vec<(u64, u64, Process)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heal {
    Start(Process),
    Resume(Process),
    Weather(usize, usize),
}

const CUT: Weather = Weather { cut: true, lost_per_mille: 0, slow_ms: 0, doubled_per_mille: 0 };

// === impl Faults ===

impl Faults {
    #[must_use]
    pub fn new(random: Random) -> Faults {
        Faults { random, next_ms: 0, heals: Vec::new(), told: Vec::new(), pauses: Vec::new() }
    }

    /// Nothing happens before this.
    pub fn calm_until(&mut self, now_ms: u64) {
        self.next_ms = now_ms;
    }

    /// Ends what is over, and begins something else if it is time.
    pub fn storm(&mut self, now_ms: u64, machines: &mut Machines, net: &Net) {
        self.end(now_ms, machines, net, |until| until <= now_ms);
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + 100 + self.random.below(CALM_MS_MAX);
            self.strike(now_ms, machines, net);
        }
    }

    /// One process after the other stands still for five seconds.
    pub fn pause_one(&mut self, now_ms: u64, machines: &mut Machines, net: &Net) {
        self.end(now_ms, machines, net, |until| until <= now_ms);
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + BETWEEN_PAUSES_MS + self.random.below(1_000);
            let process = match self.random.below(11) {
                10 => Process::Store,
                luck @ 5.. => Process::Ledger(luck as usize - 5),
                luck => Process::Center(luck as usize),
            };
            self.pause(now_ms, process, now_ms + FIVE_SECONDS_MS, machines);
        }
    }

    /// Whatever is wrong is over.
    pub fn heal(&mut self, now_ms: u64, machines: &mut Machines, net: &Net) {
        self.end(now_ms, machines, net, |_| true);
        self.told.push((now_ms, "all is well".into()));
    }

    fn end(
        &mut self,
        now_ms: u64,
        machines: &mut Machines,
        net: &Net,
        is_over: impl Fn(u64) -> bool,
    ) {
        let over = self.heals.extract_if(.., |(until, _)| is_over(*until)).collect::<Vec<_>>();
        for (_, heal) in over {
            match heal {
                Heal::Start(process) => machines.start(process, now_ms),
                Heal::Resume(process) => machines.resume(process, now_ms),
                Heal::Weather(from, to) => net.set_weather(from, to, Weather::default()),
            }
        }
    }

    fn strike(&mut self, now_ms: u64, machines: &mut Machines, net: &Net) {
        let luck = self.random.below(100);
        let at = self.random.below(CENTERS as u64) as usize;
        let city = SEATS[at].city;
        let of_city: Vec<usize> = (0..CENTERS).filter(|at| SEATS[*at].city == city).collect();
        match luck {
            0..12 => self.kill(now_ms, Process::Center(at), machines),
            12..20 => self.kill(now_ms, Process::Ledger(at), machines),
            20..26 => {
                let until = self.until(now_ms, PAUSE_MS_MAX);
                self.pause(now_ms, Process::Center(at), until, machines);
            }
            // A whole machine, whose ledger goes on with what it had in hand.
            26..32 => {
                let until = self.until(now_ms, PAUSE_MS_MAX);
                self.pause(now_ms, Process::Center(at), until, machines);
                self.pause(now_ms, Process::Ledger(at), until, machines);
            }
            32..42 => {
                let until = self.until(now_ms, PAUSE_MS_MAX);
                self.pause(now_ms, Process::Ledger(at), until, machines);
            }
            42..46 => {
                let until = self.until(now_ms, STORE_PAUSE_MS_MAX);
                self.pause(now_ms, Process::Store, until, machines);
            }
            46..53 => {
                let until = self.until(now_ms, CUT_MS_MAX);
                for at in of_city {
                    for other in (0..SPOTS)
                        .filter(|other| SEATS.get(*other).is_none_or(|seat| seat.city != city))
                    {
                        self.weather(at, other, CUT, until, net);
                        self.weather(other, at, CUT, until, net);
                    }
                }
                self.told.push((now_ms, format!("city {city} silent until {until}")));
            }
            53..60 => {
                for at in of_city {
                    self.kill(now_ms, Process::Center(at), machines);
                    self.kill(now_ms, Process::Ledger(at), machines);
                }
            }
            60..78 => {
                let other = match luck {
                    72.. => STORE_SPOT,
                    _ => (at + 1 + self.random.below(CENTERS as u64 - 1) as usize) % CENTERS,
                };
                let until = self.until(now_ms, CUT_MS_MAX);
                let ways = self.random.below(3);
                if ways != 0 {
                    self.weather(at, other, CUT, until, net);
                }
                if ways != 1 {
                    self.weather(other, at, CUT, until, net);
                }
                let arrow = ["<-", "->", "<->"][ways as usize];
                self.told.push((now_ms, format!("cut {at} {arrow} {other} until {until}")));
            }
            _ => {
                let weather = Weather {
                    cut: false,
                    lost_per_mille: 20 + self.random.below(200),
                    slow_ms: self.random.below(400),
                    doubled_per_mille: self.random.below(300),
                };
                let until = self.until(now_ms, CUT_MS_MAX);
                for other in (0..SPOTS).filter(|other| *other != at) {
                    self.weather(at, other, weather, until, net);
                    self.weather(other, at, weather, until, net);
                }
                self.told.push((now_ms, format!("{at}: {weather:?} until {until}")));
            }
        }
    }

    fn until(&mut self, now_ms: u64, most_ms: u64) -> u64 {
        now_ms + 50 + self.random.below(most_ms)
    }

    fn kill(&mut self, now_ms: u64, process: Process, machines: &mut Machines) {
        if !machines.is_well(process) {
            return;
        }
        let until = self.until(now_ms, DEATH_MS_MAX);
        machines.kill(process);
        self.heals.push((until, Heal::Start(process)));
        self.told.push((now_ms, format!("{process:?} dies until {until}")));
    }

    fn pause(&mut self, now_ms: u64, process: Process, until: u64, machines: &mut Machines) {
        if !machines.is_well(process) {
            return;
        }
        machines.pause(process);
        self.heals.push((until, Heal::Resume(process)));
        self.pauses.push((now_ms, until, process));
        self.told.push((now_ms, format!("{process:?} stands still until {until}")));
    }

    /// The last weather of a road holds, for as long as it was meant to.
    fn weather(&mut self, from: usize, to: usize, weather: Weather, until: u64, net: &Net) {
        let heal = Heal::Weather(from, to);
        self.heals.retain(|(_, known)| *known != heal);
        self.heals.push((until, heal));
        net.set_weather(from, to, weather);
    }
}
