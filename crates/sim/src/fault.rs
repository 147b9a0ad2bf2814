//! Bad luck, by the seed: crashes, pauses, cuts, stalls, lost answers.

use rt::random::Random;

use crate::{
    replica::Replica,
    wire::{Weather, Wire},
};

/// Between one piece of bad luck and the next.
const CALM_MS_MAX: u64 = 1_500;
const CRASH_MS_MAX: u64 = 3_000;
const PAUSE_MS_MAX: u64 = 4_000;
const WEATHER_MS_MAX: u64 = 4_000;
const STALL_MS_MAX: u64 = 2_000;

pub struct Faults {
    random: Random,
    next_ms: u64,
    replicas: Vec<Trouble>,
    /// What happened, for people.
    pub told: Vec<String>,
}

/// Until when a replica is in trouble.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    down_ms: Option<u64>,
    paused_ms: Option<u64>,
    weather_ms: Option<u64>,
}

// === impl Faults ===

impl Faults {
    #[must_use]
    pub fn new(random: Random, replicas: usize) -> Faults {
        let replicas = vec![Trouble::default(); replicas];
        Faults { random, next_ms: 1_000, replicas, told: Vec::new() }
    }

    /// Ends what is over, and begins something else if it is time.
    pub fn step(&mut self, now_ms: u64, replicas: &mut [Replica], wire: &Wire) {
        let over = |until: &mut Option<u64>| until.take_if(|until| *until <= now_ms).is_some();
        for (index, trouble) in self.replicas.iter_mut().enumerate() {
            if over(&mut trouble.down_ms) {
                replicas[index].start(now_ms);
            }
            if over(&mut trouble.paused_ms) {
                replicas[index].resume(now_ms);
            }
            if over(&mut trouble.weather_ms) {
                wire.set_weather(index, Weather::default());
            }
        }
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + 1 + self.random.below(CALM_MS_MAX);
            let which = self.random.below(self.replicas.len() as u64) as usize;
            self.strike(now_ms, which, &mut replicas[which], wire);
        }
    }

    /// Whatever is wrong is over.
    pub fn heal(&mut self, now_ms: u64, replicas: &mut [Replica], wire: &Wire) {
        wire.stall_until(0);
        for (index, replica) in replicas.iter_mut().enumerate() {
            replica.resume(now_ms);
            if !replica.is_up() {
                replica.start(now_ms);
            }
            wire.set_weather(index, Weather::default());
        }
        self.replicas.fill(Trouble::default());
        self.told.push(format!("{now_ms} all is well"));
    }

    fn strike(&mut self, now_ms: u64, which: usize, replica: &mut Replica, wire: &Wire) {
        let trouble = &mut self.replicas[which];
        let is_up = trouble.down_ms.is_none();
        let luck = self.random.below(100);
        let mut until = |max| now_ms + 10 + self.random.below(max);
        let what = match luck {
            0..20 if is_up => {
                trouble.down_ms = Some(until(CRASH_MS_MAX));
                trouble.paused_ms = None;
                replica.crash();
                format!("crash {which} until {:?}", trouble.down_ms)
            }
            20..45 if is_up => {
                trouble.paused_ms = Some(until(PAUSE_MS_MAX));
                replica.pause();
                format!("pause {which} until {:?}", trouble.paused_ms)
            }
            45..60 => {
                trouble.weather_ms = Some(until(WEATHER_MS_MAX));
                wire.set_weather(which, Weather { cut: true, ..Weather::default() });
                format!("cut {which} until {:?}", trouble.weather_ms)
            }
            60..70 => {
                let stalled = until(STALL_MS_MAX);
                wire.stall_until(stalled);
                format!("stall until {stalled}")
            }
            _ => {
                trouble.weather_ms = Some(until(WEATHER_MS_MAX));
                let lost_per_mille = 20 + self.random.below(200);
                let slow_ms = self.random.below(400);
                wire.set_weather(which, Weather { cut: false, lost_per_mille, slow_ms });
                format!(
                    "lose {lost_per_mille}‰ of {which}, {slow_ms} ms late, until {:?}",
                    trouble.weather_ms
                )
            }
        };
        self.told.push(format!("{now_ms} {what}"));
    }
}
