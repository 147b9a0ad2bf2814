//! `cargo xtask`: what is done to the repository, in Rust instead of shell.
//!
//! Light on purpose: it builds before everything else.

mod bench;
mod drills;
mod generate;
mod peers;
mod run;
mod soak;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;

const HELP: &str = "\
usage: cargo xtask COMMAND

  test [SECTION…]  everything: tidy, fmt, clippy, peers, build, test, e2e; or only the sections named
  ci               the same, as continuous integration runs it
  tidy             the rules of the house: layers, headers, the map, no unwrap
  peers            fetches the real programs that end-to-end tests talk to
  soak sim …       many seeds of the simulation: --seeds N [--from N]
  soak store …     replicas over real databases with faults under load: --minutes N
  bench-sql …      the store on databases, measured: [seekdb|mariadb|galera]… and options of `polis bench store`
  soak keys …      one store of very many keys, measured at each step: --count N
  soak moves …     shards moved one by one under load: --count N --rate N
  soak databases … cities lost with their nodes of Galera and of a primary with replicas (root): --count N
  soak drills …    a plan of drills, or every kind of loss; resumable (root): [--plan FILE] --rounds N --folder FOLDER
  check-history F  judges a recorded history of a store
  gen [PART…]      writes again what is generated: protos, errors";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> anyhow::Result<()> {
    let root = root();
    match words {
        ["test", sections @ ..] => test::run(&root, sections),
        ["ci"] => test::run(&root, &[]),
        ["tidy"] => tidy::run(&root),
        ["peers"] => peers::fetch().map(|folder| println!("{}", folder.display())),
        ["soak", words @ ..] => soak::soak(&root, words),
        ["bench-sql", words @ ..] => bench::bench_sql(&root, words),
        ["check-history", file] => {
            let file = std::path::absolute(file)?;
            let check = ["run", "--quiet", "-p", "polis-checker", "--example", "check_history"];
            run::run(run::cargo().current_dir(&root).args(check).arg("--").arg(file))
        }
        ["gen", parts @ ..] => generate::generate(&root, parts),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        [other, ..] => bail!("unknown command {other:?}\n\n{HELP}"),
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask/ is a folder of the repository").to_owned()
}
