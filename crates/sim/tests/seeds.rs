//! A fixed number of seeds, each in a process of its own; and the proof that
//! a simulation proves something: the same seed gives the same run, and known
//! mistakes are found.
//!
//! `POLIS_SIM_SEED=42 cargo test -p polis-sim --test seeds` runs that seed only.

use std::process::{Command, Output};

/// On one core a tenth of a second each.
const SEEDS: u64 = 100;

/// Seeds within which each known mistake must be found.
const CANARY_SEEDS: u64 = 60;

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
    for bug in ["lost-is-committed", "lost-is-refused", "no-fence"] {
        let found = (0..CANARY_SEEDS).find(|seed| {
            let (output, said) = sim(&["seed", &seed.to_string(), "--bug", bug]);
            !output.status.success() && said.contains("violations")
        });
        assert!(found.is_some(), "{bug} was not found in {CANARY_SEEDS} seeds");
    }
}
