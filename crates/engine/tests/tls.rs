//! TLS to the database: who is believed, and who is not.

mod common;

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use common::{claim, name};
use engine::{Sql, SqlConfig};
use errors::{Code, DATABASE_ACCESS, DATABASE_UNREACHABLE};
use identity::{Authority, Files, Leaf};
use testkit::MariaDb;

/// A server with a certificate for 127.0.0.1, users who must use it, and files.
struct Site {
    server: MariaDb,
    folder: PathBuf,
}

// === impl Site ===

impl Site {
    fn start() -> Site {
        let folder = std::env::temp_dir().join(format!("polis-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let [ours, foreign] = ["ours", "foreign"]
            .map(|name| (name, Authority::root(name).expect("an authority is made")));
        for (whose, authority) in [&ours, &foreign] {
            for (what, addresses) in
                [("server", vec![Ipv4Addr::LOCALHOST.into()]), ("client", Vec::new())]
            {
                let leaf = Leaf {
                    common_name: what.to_owned(),
                    addresses,
                    lifetime: Duration::from_secs(3600),
                    ..Leaf::default()
                };
                let issued = authority.issue(&leaf).expect("a certificate is issued");
                let files = Files {
                    cert: folder.join(format!("{whose}-{what}.crt")),
                    key: folder.join(format!("{whose}-{what}.key")),
                    ca: folder.join(format!("{whose}-ca.crt")),
                };
                issued.save(&files).expect("files are written");
            }
        }
        let at = |file: &str| folder.join(file).display().to_string();
        let server = MariaDb::start_with(&[
            format!("--ssl-ca={}", at("ours-ca.crt")),
            format!("--ssl-cert={}", at("ours-server.crt")),
            format!("--ssl-key={}", at("ours-server.key")),
        ]);
        let site = Site { server, folder };
        let _ = site.server.empty_database("polis");
        for (user, required) in [("sealed", "SSL"), ("shown", "X509")] {
            for statement in [
                format!("CREATE USER {user}@'%' REQUIRE {required}"),
                format!("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON polis.* TO {user}@'%'"),
            ] {
                site.server.query(&statement).expect("root may do this");
            }
        }
        site
    }

    async fn open(&self, user_at_host: &str, options: &[&str]) -> Result<Sql, Option<Code>> {
        let port = self.server.port();
        let options: Vec<_> = options
            .iter()
            .map(|option| option.replace("FOLDER", &self.folder.display().to_string()))
            .chain(["connect-timeout-ms=20000".to_owned()])
            .collect();
        let url = format!("mysql://{user_at_host}:{port}/polis?{}", options.join("&"));
        let config = SqlConfig::parse(&url).expect("a good URL");
        Sql::connect(config).await.map_err(|error| {
            println!("{url}: {error}");
            error.code()
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const OUR_CA: &str = "ssl-ca=FOLDER/ours-ca.crt";
const FOREIGN_CA: &str = "ssl-ca=FOLDER/foreign-ca.crt";

#[tokio::test]
async fn a_server_is_believed_as_far_as_its_certificate_goes() {
    let site = Site::start();
    let secure = site.open("sealed@127.0.0.1", &[OUR_CA]).await.expect("all is as it should be");
    let _ = claim(&secure, &name("a")).await;

    for (user, options, refused) in [
        // Whom the server lets in only encrypted.
        ("sealed@127.0.0.1", &["ssl-mode=disabled"][..], Some(DATABASE_ACCESS)),
        ("sealed@127.0.0.1", &["ssl-mode=required"], None),
        // A certificate of an authority that we do not know.
        ("sealed@127.0.0.1", &[FOREIGN_CA], Some(DATABASE_UNREACHABLE)),
        ("sealed@127.0.0.1", &["ssl-mode=verify-identity"], Some(DATABASE_UNREACHABLE)),
        ("sealed@127.0.0.1", &["ssl-mode=verify-ca", FOREIGN_CA], Some(DATABASE_UNREACHABLE)),
        ("sealed@localhost", &["ssl-mode=verify-ca", FOREIGN_CA], Some(DATABASE_UNREACHABLE)),
        // A certificate for another name.
        ("sealed@localhost", &[OUR_CA], Some(DATABASE_UNREACHABLE)),
        ("sealed@localhost", &["ssl-mode=verify-ca", OUR_CA], None),
        // No such file.
        ("sealed@127.0.0.1", &["ssl-ca=FOLDER/no.crt"], Some(DATABASE_UNREACHABLE)),
    ] {
        let opened = site.open(user, options).await;
        assert_eq!(opened.err().flatten(), refused, "{user} {options:?}");
    }

    // Whom the server lets in only with a certificate.
    let own = ["ssl-cert=FOLDER/ours-client.crt", "ssl-key=FOLDER/ours-client.key"];
    let foreign = ["ssl-cert=FOLDER/foreign-client.crt", "ssl-key=FOLDER/foreign-client.key"];
    let without = site.open("shown@127.0.0.1", &[OUR_CA]).await;
    assert_eq!(without.err().flatten(), Some(DATABASE_ACCESS));
    let with = site.open("shown@127.0.0.1", &[OUR_CA, own[0], own[1]]).await;
    assert!(with.is_ok());
    let with_foreign = site.open("shown@127.0.0.1", &[OUR_CA, foreign[0], foreign[1]]).await;
    assert!(with_foreign.err().flatten().is_some());
}

#[tokio::test]
async fn a_server_that_cannot_encrypt_is_not_spoken_to_in_the_clear() {
    let plain = MariaDb::start();
    let url = plain.empty_database("polis");
    let url = format!("{url}?ssl-mode=required&connect-timeout-ms=20000");
    let config = SqlConfig::parse(&url).expect("a good URL");
    let refused = Sql::connect(config).await.expect_err("it is refused");
    assert_eq!(refused.code(), Some(DATABASE_UNREACHABLE), "{refused}");
}
