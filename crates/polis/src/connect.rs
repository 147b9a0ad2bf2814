//! Clients of a running estate, as its administrator.

use anyhow::Context;
use client::Client;
use identity::{Credentials, ServerCheck};

use crate::{
    layout::{CenterPlan, Layout},
    pki::Pki,
};

/// To the API replicas of every center, the first that answers.
pub fn estate(layout: &Layout, pki: &Pki) -> anyhow::Result<Client> {
    through(&layout.centers, pki)
}

/// To the API replicas of these centers, in this order of preference.
pub fn through(centers: &[CenterPlan], pki: &Pki) -> anyhow::Result<Client> {
    let credentials =
        Credentials::load(&pki.admin()).context("load the administrator's certificate")?;
    let tls = identity::client_config(&credentials, ServerCheck::HostName, &[])?;
    let addresses = centers.iter().map(|plan| plan.api().to_string()).collect();
    Ok(client::connect(&client::Config::new(addresses, tls))?)
}
