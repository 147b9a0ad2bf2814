//! Which command meets which fault.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rt::random::Random;

use super::command::Command;

/// What happens to a connection at a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Closed before the command reaches the server: it is not applied.
    CutBefore,
    /// Closed after the server has carried it out, before its answer.
    CutAfter,
    /// Closed at once; the server gets the command this much later.
    CutAndLate(Duration),
    /// Nothing reaches the server any more and nothing comes back; the
    /// connection stays open.
    SwallowBefore,
    /// The server carries it out; from then on nothing passes.
    SwallowAfter,
    /// The server gets it this much later, and all goes on.
    Delay(Duration),
}

/// Which command.
pub enum When {
    /// A COMMIT, alone or after other statements in one packet.
    Commit,
    /// A statement with these words, in capitals or not.
    Text(String),
    /// Any that runs statements and is chosen by this.
    Matches(Box<dyn Fn(&Command<'_>) -> bool + Send>),
}

/// How often each fault strikes a commit, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    pub cut_before: u32,
    pub cut_after: u32,
    pub late: u32,
    pub swallow_before: u32,
    pub swallow_after: u32,
    pub delay: u32,
    /// The longest of `late` and `delay`.
    pub delay_max: Duration,
}

/// A fault that strikes once.
#[derive(Clone, Debug, Default)]
pub struct Armed(Arc<AtomicBool>);

/// All that is armed.
#[derive(Default)]
pub(super) struct Rules {
    once: Vec<Rule>,
    random: Option<(Random, Odds)>,
}

struct Rule {
    when: When,
    /// Matching commands to let pass first.
    skip: u32,
    fault: Fault,
    armed: Armed,
}

// === impl Armed ===

impl Armed {
    /// Whether it has struck.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// === impl Rules ===

impl Rules {
    pub fn arm(&mut self, when: When, skip: u32, fault: Fault) -> Armed {
        let armed = Armed::default();
        self.once.push(Rule { when, skip, fault, armed: armed.clone() });
        armed
    }

    pub fn at_random(&mut self, seed: u64, odds: Odds) {
        self.random = Some((Random::seeded(seed), odds));
    }

    pub fn clear(&mut self) {
        *self = Rules::default();
    }

    pub fn judge(&mut self, command: &Command<'_>) -> Option<Fault> {
        let mut struck = None;
        for (index, rule) in self.once.iter_mut().enumerate() {
            if !rule.when.is(command) {
                continue;
            }
            if rule.skip == 0 {
                struck = Some(index);
                break;
            }
            rule.skip -= 1;
        }
        if let Some(index) = struck {
            let rule = self.once.remove(index);
            rule.armed.0.store(true, Ordering::Release);
            return Some(rule.fault);
        }
        match &mut self.random {
            Some((random, odds)) if command.commits() => odds.draw(random),
            _ => None,
        }
    }
}

// === impl When ===

impl When {
    fn is(&self, command: &Command<'_>) -> bool {
        match self {
            When::Commit => command.commits(),
            When::Text(words) => command.runs() && command.has(words),
            When::Matches(chosen) => command.runs() && chosen(command),
        }
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Commit => f.write_str("Commit"),
            When::Text(words) => write!(f, "Text({words:?})"),
            When::Matches(_) => f.write_str("Matches(…)"),
        }
    }
}

// === impl Odds ===

impl Odds {
    /// Always two draws, so that the run after does not depend on the outcome.
    fn draw(&self, random: &mut Random) -> Option<Fault> {
        let mut thousandth = random.below(1000);
        let span = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        let pause = Duration::from_micros(random.below(span));
        let choices = [
            (self.cut_before, Fault::CutBefore),
            (self.cut_after, Fault::CutAfter),
            (self.late, Fault::CutAndLate(pause)),
            (self.swallow_before, Fault::SwallowBefore),
            (self.swallow_after, Fault::SwallowAfter),
            (self.delay, Fault::Delay(pause)),
        ];
        for (odds, fault) in choices {
            match thousandth.checked_sub(u64::from(odds)) {
                Some(rest) => thousandth = rest,
                None => return Some(fault),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::command::Kind, *};

    const COMMIT: Command<'_> = Command { kind: Kind::Query, text: b"COMMIT" };
    const SELECT: Command<'_> = Command { kind: Kind::Query, text: b"SELECT 1" };

    #[test]
    fn the_nth_match_is_struck_once() {
        let mut rules = Rules::default();
        let armed = rules.arm(When::Commit, 1, Fault::CutAfter);
        assert_eq!(rules.judge(&COMMIT), None);
        assert_eq!(rules.judge(&SELECT), None);
        assert!(!armed.has_struck());
        assert_eq!(rules.judge(&COMMIT), Some(Fault::CutAfter));
        assert!(armed.has_struck());
        assert_eq!(rules.judge(&COMMIT), None);
    }

    #[test]
    fn the_same_seed_strikes_the_same_commits() {
        let odds = Odds { cut_before: 200, cut_after: 200, ..Odds::default() };
        let run = |seed| {
            let mut rules = Rules::default();
            rules.at_random(seed, odds);
            (0..50).map(|_| rules.judge(&COMMIT)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).contains(&Some(Fault::CutBefore)) && run(1).contains(&None));
    }
}
