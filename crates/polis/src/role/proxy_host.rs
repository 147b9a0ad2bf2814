//! `polis proxy host`: the data plane for programs that know of none.
//!
//! The rules are there before anybody is told that we serve: the sockets they
//! lead to are listened on by then, so whoever is captured early waits in their
//! queues. If the rules cannot be made, a proxy before goes on as it was.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use mesh::{Outcome, Rules, State};
use tokio::{sync::watch, time};

/// Says why not, before anything is done.
pub fn check_possible() -> anyhow::Result<()> {
    let code = errors::MESH_INTERCEPT;
    if !rustix::process::geteuid().is_root() {
        bail!("{code}: interception needs root. {}", code.remedy());
    }
    let tried = Command::new("nft").arg("-v").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        bail!("{code}: the program `nft` is not here. {}", code.remedy());
    }
    Ok(())
}

/// Instead of whatever there was. The kernel takes all of it or nothing, which
/// is also how one learns what it can do.
pub fn install(rules: &Rules) -> anyhow::Result<()> {
    let code = errors::MESH_INTERCEPT;
    nft(&rules.install()).with_context(|| format!("{code}: {}", code.remedy()))
}

pub fn remove() -> anyhow::Result<()> {
    nft(&Rules::remove())
}

/// Keeps the rules for as long as the proxy serves, and opens the way at its
/// end if that is what was declared.
pub async fn keep(mut rules: Rules, mut state: watch::Receiver<State>) -> anyhow::Result<()> {
    let mut renewals = time::interval(mesh::RENEW);
    renewals.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = state.changed() => {
                let now = state.borrow_and_update().clone();
                match now {
                    _ if changed.is_err() => return Ok(()),
                    State::Ending(Outcome::HandedOver) => return Ok(()),
                    State::Ending(Outcome::Drained) if rules.opens() => {
                        return blocking(|| remove().context("open the way")).await;
                    }
                    State::Ending(Outcome::Drained) => return Ok(()),
                    State::Serving(Some(new)) => {
                        if new != rules {
                            rules = new;
                            reinstall(&rules).await;
                        }
                    }
                    State::Serving(None) => {
                        tracing::warn!("the new configuration captures nothing; the rules stay until the next start");
                    }
                }
            }
            _ = renewals.tick(), if rules.opens() => {
                if let Err(error) = blocking(|| nft(&Rules::renew())).await {
                    // Whoever loads a firewall anew takes our table along.
                    tracing::warn!(%error, "the rules of interception are gone; making them again");
                    reinstall(&rules).await;
                }
            }
        }
    }
}

async fn reinstall(rules: &Rules) {
    let rules = rules.clone();
    if let Err(error) = blocking(move || install(&rules)).await {
        tracing::error!(error = format!("{error:#}"), "cannot make the rules of interception");
    }
}

async fn blocking(
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(work).await.context("run nft")?
}

fn nft(script: &str) -> anyhow::Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nft")?;
    let mut stdin = child.stdin.take().expect("it was asked for a pipe");
    stdin.write_all(script.as_bytes()).context("write to nft")?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for nft")?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
