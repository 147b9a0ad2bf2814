//! Guardians of a database that elects nobody: one in each city, lost with the
//! center that it is in. One that stood beside the estate would never be lost,
//! and a drill would show better than there is.

use std::path::PathBuf;

use anyhow::Context;

use super::{database_node::DatabaseNode, process::Program};
use crate::{data::DataDir, layout::Layout};

#[derive(Clone, Debug, clap::Args)]
pub struct Guardians {
    /// Have guardians watch the database's nodes, one in each city. As whom they connect:
    /// mysql://USER@ANY/mysql. The group must have been founded, with members called as their
    /// centers are (`polis guardian found`)
    #[arg(long = "guardian", value_name = "LOGIN", requires = "database_nodes")]
    login: Option<String>,
    /// File with that user's password
    #[arg(long = "guardian-password-file", requires = "login")]
    password_file: Option<PathBuf>,
    /// As whom replicas fetch the log
    #[arg(long, default_value = "polis_replica", requires = "login")]
    replication_user: String,
    /// File with that user's password
    #[arg(long, requires = "login")]
    replication_password_file: Option<PathBuf>,
}

// === impl Guardians ===

impl Guardians {
    /// Each with the center that it is in: the first of its city.
    pub fn programs(
        &self,
        nodes: &[DatabaseNode],
        layout: &Layout,
        data: &DataDir,
    ) -> anyhow::Result<Vec<(Program, String)>> {
        let Some(login) = &self.login else { return Ok(Vec::new()) };
        let mut args = vec![
            "guardian".to_owned(),
            "run".to_owned(),
            format!("--login={login}"),
            format!("--replication-user={}", self.replication_user),
        ];
        for node in nodes {
            args.push(format!("--member={}", node.for_guardian(layout)?));
        }
        let files = [
            ("password-file", &self.password_file),
            ("replication-password-file", &self.replication_password_file),
        ];
        for (name, file) in files {
            let Some(file) = file else { continue };
            let file = std::path::absolute(file).with_context(|| format!("find the --{name}"))?;
            args.push(format!("--{name}={}", file.display()));
        }
        let first = |city| layout.centers.iter().find(|plan| plan.city == city);
        let homes = layout.cities().into_iter().filter_map(first);
        let program = |plan: &crate::layout::CenterPlan| {
            let name = format!("guardian-{}", plan.city);
            let log = data.logs().join(format!("{name}.log"));
            let program =
                Program { name, args: args.clone(), log, envs: Vec::new(), network: None };
            (program, plan.center.to_string())
        };
        Ok(homes.map(program).collect())
    }
}
