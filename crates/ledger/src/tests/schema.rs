//! Tables of other releases, and a password that is changed.

use engine::SqlConfig;
use errors::DATABASE_NEWER;
use testkit::MariaDb;

use crate::{Database as _, OnSql};

fn config(url: &str) -> SqlConfig {
    SqlConfig::parse(url).expect("a good URL")
}

fn run(statement: &str) -> Vec<Vec<String>> {
    MariaDb::shared().query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_tables_are_migrated_by_several_at_once_and_newer_ones_refused() {
    let url = MariaDb::shared().empty_database("versions");
    OnSql::connect(config(&url)).await.expect("made");
    run("DROP TABLE versions.polis_ledger_version");
    run("UPDATE versions.polis_ledger_meta SET schema_version = 1");
    let (one, two) = tokio::join!(OnSql::connect(config(&url)), OnSql::connect(config(&url)));
    one.and(two).map(drop).expect("migrated");
    let versions = run("SELECT schema_version FROM versions.polis_ledger_meta");
    let history = run("SELECT version FROM versions.polis_ledger_version");
    assert_eq!((versions, history), (vec![vec!["2".to_owned()]], vec![vec!["2".to_owned()]]));
    run("UPDATE versions.polis_ledger_meta SET schema_version = 3");
    let Err(refused) = OnSql::connect(config(&url)).await else { panic!("it is newer") };
    assert_eq!(refused.code(), DATABASE_NEWER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_needs_no_more_than_the_documented_privileges_and_finds_a_new_password() {
    let url = MariaDb::shared().empty_database("rotated");
    run("CREATE OR REPLACE USER 'few'@'%' IDENTIFIED BY 'one'");
    run("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON rotated.* TO 'few'@'%'");
    let file = std::env::temp_dir().join(format!("polis-password-{}", std::process::id()));
    std::fs::write(&file, "one\n").expect("write a password");
    let config = config(&url.replace("root@", "few@"));
    let config = config.with_password_file(file.clone()).expect("it is there");
    let books = OnSql::connect(config).await.expect("made");
    run("REVOKE CREATE ON rotated.* FROM 'few'@'%'");
    run("ALTER USER 'few'@'%' IDENTIFIED BY 'two'");
    std::fs::write(&file, "two\n").expect("write a password");
    for session in run("SELECT ID FROM information_schema.processlist WHERE USER = 'few'") {
        run(&format!("KILL {}", session[0]));
    }
    // The first one finds its session closed.
    let mut ready = books.ready().await;
    if ready.is_err() {
        ready = books.ready().await;
    }
    std::fs::remove_file(&file).expect("remove a file");
    ready.expect("the new password is read");
}
