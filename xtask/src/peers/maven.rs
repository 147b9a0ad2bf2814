//! Peers from Maven Central: libraries of Java with all that they need.
//!
//! mvn finds and checks them; what it brought is compared with what was pinned,
//! since a library names what it needs by version and not by digest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::text;
use crate::run::output;

pub struct Library {
    /// Its folder below `java/`.
    pub name: &'static str,
    group: &'static str,
    artifacts: &'static [&'static str],
    pub version: &'static str,
    /// sha-256 of what `sha256sum` says of all jars, in the order of their names.
    digest: &'static str,
}

pub const LIBRARIES: &[Library] = &[
    Library {
        name: "sofa",
        group: "com.alipay.sofa",
        artifacts: &["sofa-rpc-all"],
        version: "5.13.2",
        digest: "2940ceaf9fa492d146cfb8e17bd4334305d4e240402a92417555670a212c0aec",
    },
    Library {
        name: "dubbo2",
        group: "org.apache.dubbo",
        artifacts: &["dubbo"],
        version: "2.7.23",
        digest: "2ab0df2eb7cfec131d2f4a89348badd7e05ccb30ae1164f845c3b3569d81b438",
    },
    Library {
        name: "dubbo3",
        group: "org.apache.dubbo",
        artifacts: &["dubbo"],
        version: "3.3.6",
        digest: "aa45b0f3355321ff630147bcfba32cd22df1b13a9bc712a7e6cac24da59a7120",
    },
    Library {
        name: "grpc",
        group: "io.grpc",
        artifacts: &["grpc-netty-shaded", "grpc-stub"],
        version: "1.85.1",
        digest: "16d7889baf1453dc48e86c91f54e51b1de5479f327dc69a38e671822c5f10191",
    },
];

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy-dependencies";

// === impl Library ===

impl Library {
    pub fn pin(&self) -> String {
        format!("{}=={} {}", self.name, self.version, &self.digest[..8])
    }

    /// Jars into `java/NAME`.
    pub fn fetch(&self, folder: &Path) -> anyhow::Result<()> {
        for program in ["mvn", "javac"] {
            output(Command::new(program).arg("--version")).with_context(|| {
                format!("{program} is needed (on Debian: apt-get install maven default-jdk)")
            })?;
        }
        let java = folder.join("java");
        let work = java.join(format!("{}.new", self.name));
        let _ = fs::remove_dir_all(&work);
        let jars = work.join("jars");
        fs::create_dir_all(&jars)?;
        let project = work.join("pom.xml");
        fs::write(&project, self.project())?;
        let mut copy = Command::new("mvn");
        copy.args(["--quiet", "--batch-mode", "--file", text(&project)?, COPY]);
        copy.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", jars.display()));
        output(&mut copy)?;
        self.check(&work, &jars)?;
        let place = java.join(self.name);
        let _ = fs::remove_dir_all(&place);
        fs::rename(&jars, place).context("move it to its place")?;
        fs::remove_dir_all(work).context("clean up")
    }

    fn check(&self, work: &Path, jars: &Path) -> anyhow::Result<()> {
        let entries = fs::read_dir(jars)?.map(|entry| Ok(entry?.file_name().into()));
        let mut names = entries.collect::<anyhow::Result<Vec<PathBuf>>>()?;
        names.sort();
        let sums = work.join("sums");
        fs::write(&sums, output(Command::new("sha256sum").args(&names).current_dir(jars))?)?;
        let found = output(Command::new("sha256sum").arg(&sums))?;
        if !found.starts_with(self.digest) {
            bail!("the jars of {} are not what was pinned: {found}", self.name);
        }
        Ok(())
    }

    fn project(&self) -> String {
        let Library { name, group, artifacts, version, .. } = self;
        let dependency = |artifact: &&str| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>"
            )
        };
        let dependencies: String = artifacts.iter().map(dependency).collect();
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
             <modelVersion>4.0.0</modelVersion>\
             <groupId>polis</groupId><artifactId>{name}</artifactId><version>1</version>\
             <dependencies>{dependencies}</dependencies></project>"
        )
    }
}
