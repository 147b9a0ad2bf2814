//! A fixed number of seeds, each in a process of its own; and the proof that
//! the simulation proves something: the same seed gives the same run, and known
//! mistakes are found.
//!
//! `POLIS_SIM_SEED=42 POLIS_SIM_KIND=pauses cargo test -p polis-sim-moves --test seeds`
//! runs that seed only.

use std::process::{Command, Output};

/// Some seconds each on one core.
const SEEDS: [(&str, &str); 2] = [("storm", "6"), ("pauses", "2")];

fn sim(words: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_polis-sim-moves"))
        .args(words)
        .output()
        .expect("the program is built");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, said)
}

#[test]
fn nothing_is_wrong_under_any_of_these_seeds() {
    if let Ok(seed) = std::env::var("POLIS_SIM_SEED") {
        let kind = std::env::var("POLIS_SIM_KIND").unwrap_or_else(|_| "storm".into());
        let (output, said) = sim(&["seed", &seed, "--kind", &kind]);
        assert!(output.status.success(), "{said}");
        return;
    }
    for (kind, seeds) in SEEDS {
        let (output, said) = sim(&["soak", "--seeds", seeds, "--kind", kind]);
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (output, said) = sim(&["seed", seed, "--stormy-ms", "15000"]);
        assert!(output.status.success(), "{said}");
        said
    };
    assert_eq!(run("7"), run("7"));
    let trace = |said: String| said.split("trace ").nth(1).expect("it tells").to_owned();
    assert_ne!(trace(run("7")), trace(run("8")));
}

#[test]
fn known_mistakes_are_found() {
    // By which rule, and within how many seeds.
    let mistakes = [
        ("no-fence", "storm", "one writer", 24),
        ("serves-early", "storm", "serving", 2),
        ("epoch-reused", "storm", "one writer", 2),
        ("old-picture", "storm", "violations", 4),
        ("paid-twice", "storm", "violations", 4),
        ("drains-forever", "storm", "progress", 4),
        ("pause-is-silence", "pauses", "pause:", 4),
        ("split-moves", "storm", "split:", 4),
    ];
    for (bug, kind, rule, seeds) in mistakes {
        let found = (0..seeds).find(|seed: &u64| {
            let (output, said) = sim(&["seed", &seed.to_string(), "--kind", kind, "--bug", bug]);
            !output.status.success() && said.contains(rule)
        });
        assert!(found.is_some(), "{bug} was not found in {seeds} seeds");
    }
}
