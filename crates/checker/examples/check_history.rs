//! Judges a recorded history: `cargo run -p polis-checker --example check_history FILE`.

use std::{fs::File, io::BufReader, process::ExitCode};

use anyhow::Context as _;
use checker::{History, linear::Verdict};

fn main() -> anyhow::Result<ExitCode> {
    let path = std::env::args().nth(1).context("usage: check_history FILE")?;
    let file = File::open(&path).with_context(|| format!("open {path}"))?;
    let history = History::read(BufReader::new(file))?;
    let open = checker::linear::verdicts(&history);
    let open = open.iter().filter(|(_, verdict)| *verdict == Verdict::Open).count();
    println!(
        "{} operations, {} watches, {} revisions; {open} searches without a verdict",
        history.operations.len(),
        history.watches.len(),
        history.log.len()
    );
    let violations = checker::check(&history);
    violations.iter().for_each(|violation| println!("{violation}"));
    println!("{} violations", violations.len());
    Ok(match violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
