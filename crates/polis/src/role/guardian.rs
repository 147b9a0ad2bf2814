//! `polis guardian`: which member of a group of databases leads.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use engine::SqlConfig;
use guardian::{DatabaseGroup, Guard, Member, Name, OceanBase, Pace, Replicas, Replication};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// A member, once for each: NAME=CITY=HOST:PORT
    #[arg(long = "member", global = true)]
    members: Vec<Member>,
    /// As whom to connect: mysql://USER@ANY/mysql, with the options of a database's URL
    #[arg(long, global = true, default_value = "mysql://polis_guardian@127.0.0.1/mysql")]
    login: String,
    /// File with that user's password
    #[arg(long, global = true)]
    password_file: Option<PathBuf>,
    /// What the members are
    #[arg(long, global = true, value_enum, default_value_t)]
    kind: Kind,
    /// As whom replicas fetch the log
    #[arg(long, global = true, default_value = "polis_replica")]
    replication_user: String,
    /// File with that user's password
    #[arg(long, global = true)]
    replication_password_file: Option<PathBuf>,
    /// Of OceanBase: whose log streams are moved
    #[arg(long, global = true, default_value = "polis")]
    tenant: Name,
    /// The city in which a leader is preferred among equals
    #[arg(long, global = true)]
    prefer: Option<Name>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// MariaDB, a primary with semi-synchronous replicas
    #[default]
    Mariadb,
    /// OceanBase, which elects by itself
    Oceanbase,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Watch the group, and have another member lead when the leader is lost
    Run,
    /// Show who leads and who does not answer
    Status,
    /// Make a group of servers that have none yet
    Found {
        /// The first leader
        first: Name,
    },
    /// Have another member lead now
    FailOver,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    super::runtime(Some(1))?.block_on(async {
        match &args.command {
            Command::Run => watch(&args).await,
            Command::Status => status(&args).await,
            Command::Found { first } => {
                let leader = replicas(&args)?.found(first).await?;
                println!("{} leads since epoch {}", leader.name, leader.epoch);
                Ok(ExitCode::SUCCESS)
            }
            Command::FailOver => {
                let group = group(&args)?;
                let epoch = group.survey().await.epoch.context("no member knows of a group")?;
                let leader = group.fail_over(epoch, args.prefer.as_ref()).await?.leader;
                println!("{} leads since epoch {}", leader.name, leader.epoch);
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

async fn watch(args: &Args) -> anyhow::Result<ExitCode> {
    let guard = Guard::new(group(args)?, Pace::default(), args.prefer.clone());
    let (drain, shutdown) = super::lifecycle()?;
    tracing::info!(members = args.members.len(), "guardian watches");
    let running = rt::spawn(rt::TaskKind::Critical, "guardian", guard.run(drain));
    shutdown.wait().await;
    running.await.context("run the guardian")?;
    Ok(ExitCode::SUCCESS)
}

async fn status(args: &Args) -> anyhow::Result<ExitCode> {
    let survey = group(args)?.survey().await;
    for (member, why) in &survey.silent {
        println!("{member} does not answer: {why}");
    }
    match (&survey.leader, survey.epoch) {
        (Some(leader), _) => println!("{} leads since epoch {}", leader.name, leader.epoch),
        (None, Some(epoch)) => println!("nobody leads; the last epoch was {epoch}"),
        (None, None) => println!("no member knows of a group"),
    }
    Ok(if survey.leader.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn group(args: &Args) -> anyhow::Result<Arc<dyn DatabaseGroup>> {
    Ok(match args.kind {
        Kind::Mariadb => Arc::new(replicas(args)?),
        Kind::Oceanbase => {
            Arc::new(OceanBase::new(args.members.clone(), login(args)?, args.tenant.clone()))
        }
    })
}

fn replicas(args: &Args) -> anyhow::Result<Replicas> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file)
            .with_context(|| format!("read --replication-password-file {}", file.display()))
    };
    let password = args.replication_password_file.as_ref().map(read).transpose()?;
    let login = login(args)?;
    let replication = Replication {
        user: args.replication_user.clone(),
        password: password.unwrap_or_default().trim_end_matches(['\r', '\n']).to_owned(),
        secure: login.tls != engine::sql::Tls::Disabled,
    };
    Ok(Replicas::new(args.members.clone(), login, replication))
}

fn login(args: &Args) -> anyhow::Result<SqlConfig> {
    if args.members.is_empty() {
        bail!("--member: name every member, NAME=CITY=HOST:PORT");
    }
    let config = SqlConfig::parse(&args.login).context("--login")?;
    Ok(match &args.password_file {
        Some(file) => config
            .with_password_file(file.clone())
            .with_context(|| format!("read --password-file {}", file.display()))?,
        None => config,
    })
}
