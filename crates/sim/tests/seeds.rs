//! A fixed number of seeds, each in a process of its own; and the proof that
//! a simulation proves something: the same seed gives the same run, and known
//! mistakes are found.
//!
//! `POLIS_SIM_SEED=42 cargo test -p polis-sim --test seeds` runs that seed only.

use std::process::{Command, Output};

/// A third of a second each on one core.
const SEEDS: u64 = 60;

/// Seeds within which each known mistake must be found.
const CANARY_SEEDS: u64 = 12;

fn sim(words: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_polis-sim"))
        .args(words)
        .output()
        .expect("the program is built");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, said)
}

#[test]
fn nothing_is_wrong_under_any_of_these_seeds() {
    let (output, said) = match std::env::var("POLIS_SIM_SEED") {
        Ok(seed) => sim(&["seed", &seed]),
        Err(_) => sim(&["soak", "--seeds", &SEEDS.to_string()]),
    };
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (output, said) = sim(&["seed", seed]);
        assert!(output.status.success(), "{said}");
        said
    };
    for seed in ["7", "8", "9"] {
        assert_eq!(run(seed), run(seed));
    }
    let trace = |said: String| said.split("trace ").nth(1).expect("it tells").to_owned();
    assert_ne!(trace(run("7")), trace(run("8")));
}

#[test]
fn known_mistakes_are_found() {
    // The SQL engine asks again before it believes that a commit was refused,
    // which makes up for the second mistake; so there another engine makes it.
    let mistakes =
        [("lost-is-committed", "sql"), ("lost-is-refused", "memory"), ("no-fence", "sql")];
    for (bug, log) in mistakes {
        let found = (0..CANARY_SEEDS).find(|seed| {
            let (output, said) = sim(&["seed", &seed.to_string(), "--log", log, "--bug", bug]);
            !output.status.success() && said.contains("violations")
        });
        assert!(found.is_some(), "{bug} was not found in {CANARY_SEEDS} seeds");
    }
}
