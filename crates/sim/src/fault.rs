//! Bad luck, by the seed: crashes, pauses, cuts, stalls, lost answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

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
/// Longer than a lease, and than what others wait for it.
const STRANDED_MS: u64 = 2_200;
/// What was asked before is answered by then.
const HUSHED_MS: u64 = 200;

pub struct Faults {
    random: Random,
    next_ms: u64,
    replicas: Vec<Trouble>,
    quiet: Quiet,
    /// Leaders are stranded more often than anything else happens.
    strands: bool,
    /// What happened, for people.
    pub told: Vec<String>,
}

/// What goes wrong.
pub struct World<'a> {
    pub replicas: &'a mut [Replica],
    /// To the database.
    pub wire: &'a Wire,
    /// From replica to replica.
    pub between: &'a Wire,
    /// Who leads, as the database has it.
    pub leader: Option<usize>,
}

/// The replica, if there is one, of which nothing is asked but reads: one that
/// is cut off and led would notice with the next write that it leads no more.
/// Cheap to clone; clones say the same.
#[derive(Clone)]
pub struct Quiet(Arc<AtomicUsize>);

/// Until when a replica is in trouble.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    down_ms: Option<u64>,
    paused_ms: Option<u64>,
    weather_ms: Option<u64>,
    between_ms: Option<u64>,
    /// From when on it is cut off, with nobody asking it for anything.
    strands_ms: Option<u64>,
    stranded_ms: Option<u64>,
}

// === impl Quiet ===

impl Default for Quiet {
    fn default() -> Quiet {
        Quiet(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl Quiet {
    pub fn which(&self) -> Option<usize> {
        Some(self.0.load(SeqCst)).filter(|which| *which != usize::MAX)
    }

    fn set(&self, which: Option<usize>) {
        self.0.store(which.unwrap_or(usize::MAX), SeqCst);
    }
}

// === impl Faults ===

impl Faults {
    #[must_use]
    pub fn new(random: Random, replicas: usize, quiet: Quiet, strands: bool) -> Faults {
        let replicas = vec![Trouble::default(); replicas];
        Faults { random, next_ms: 1_000, replicas, quiet, strands, told: Vec::new() }
    }

    /// Ends what is over, and begins something else if it is time.
    pub fn step(&mut self, now_ms: u64, world: &mut World<'_>) {
        let over = |until: &mut Option<u64>| until.take_if(|until| *until <= now_ms).is_some();
        for (index, trouble) in self.replicas.iter_mut().enumerate() {
            if over(&mut trouble.down_ms) {
                world.replicas[index].start(now_ms);
            }
            if over(&mut trouble.paused_ms) {
                world.replicas[index].resume(now_ms);
            }
            if over(&mut trouble.weather_ms) {
                world.wire.set_weather(index, Weather::default());
            }
            if over(&mut trouble.between_ms) {
                world.between.set_weather(index, Weather::default());
            }
            if over(&mut trouble.strands_ms) {
                trouble.weather_ms = trouble.stranded_ms;
                world.wire.set_weather(index, Weather { cut: true, ..Weather::default() });
            }
            if over(&mut trouble.stranded_ms) {
                self.quiet.set(None);
            }
        }
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + 1 + self.random.below(CALM_MS_MAX);
            let which = self.random.below(self.replicas.len() as u64) as usize;
            match world.leader.filter(|_| self.strands && self.quiet.which().is_none()) {
                Some(leader) if self.random.below(2) == 0 => self.strand(now_ms, leader),
                _ => self.strike(now_ms, which, world),
            }
        }
    }

    /// Whatever is wrong is over.
    pub fn heal(&mut self, now_ms: u64, world: &mut World<'_>) {
        world.wire.stall_until(0);
        for (index, replica) in world.replicas.iter_mut().enumerate() {
            replica.resume(now_ms);
            if !replica.is_up() {
                replica.start(now_ms);
            }
            world.wire.set_weather(index, Weather::default());
            world.between.set_weather(index, Weather::default());
        }
        self.quiet.set(None);
        self.replicas.fill(Trouble::default());
        self.told.push(format!("{now_ms} all is well"));
    }

    /// It is cut off from the database, and nobody asks it to write, so that it
    /// goes on to believe that it leads for as long as it may.
    fn strand(&mut self, now_ms: u64, which: usize) {
        let trouble = &mut self.replicas[which];
        trouble.strands_ms = Some(now_ms + HUSHED_MS);
        trouble.stranded_ms = Some(now_ms + STRANDED_MS);
        self.quiet.set(Some(which));
        self.told.push(format!("{now_ms} strand {which} until {:?}", trouble.stranded_ms));
    }

    fn strike(&mut self, now_ms: u64, which: usize, world: &mut World<'_>) {
        let (replica, wire) = (&mut world.replicas[which], world.wire);
        let trouble = &mut self.replicas[which];
        let is_up = trouble.down_ms.is_none();
        let luck = self.random.below(100);
        let mut until = |max| now_ms + 10 + self.random.below(max);
        let what = match luck {
            0..15 if is_up => {
                trouble.down_ms = Some(until(CRASH_MS_MAX));
                trouble.paused_ms = None;
                replica.crash();
                format!("crash {which} until {:?}", trouble.down_ms)
            }
            15..35 if is_up => {
                trouble.paused_ms = Some(until(PAUSE_MS_MAX));
                replica.pause();
                format!("pause {which} until {:?}", trouble.paused_ms)
            }
            35..45 => {
                trouble.weather_ms = Some(until(WEATHER_MS_MAX));
                wire.set_weather(which, Weather { cut: true, ..Weather::default() });
                format!("cut {which} until {:?}", trouble.weather_ms)
            }
            45..55 => {
                let stalled = until(STALL_MS_MAX);
                wire.stall_until(stalled);
                format!("stall until {stalled}")
            }
            55..62 => {
                trouble.between_ms = Some(until(WEATHER_MS_MAX));
                world.between.set_weather(which, Weather { cut: true, ..Weather::default() });
                format!("cut {which} from the others until {:?}", trouble.between_ms)
            }
            _ => {
                let lost_per_mille = 20 + self.random.below(200);
                let slow_ms = self.random.below(400);
                let until = now_ms + 10 + self.random.below(WEATHER_MS_MAX);
                let weather = Weather { cut: false, lost_per_mille, slow_ms };
                let road = if luck < 82 {
                    trouble.weather_ms = Some(until);
                    wire.set_weather(which, weather);
                    "to the database"
                } else {
                    trouble.between_ms = Some(until);
                    world.between.set_weather(which, weather);
                    "to the others"
                };
                format!("{which} {road}: {lost_per_mille}‰ lost, {slow_ms} ms late, until {until}")
            }
        };
        self.told.push(format!("{now_ms} {what}"));
    }
}
