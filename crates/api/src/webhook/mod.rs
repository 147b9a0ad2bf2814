//! Calling others over HTTPS: those who admit writes ([`crate::admission`])
//! and those who convert custom kinds ([`crate::custom`]).
//!
//! A configuration says where: at a URL, or at a Service of the cluster, whose
//! ready endpoints are asked without a way over its cluster address. What is
//! asked and what the answer means is the askers' business.

mod callers;
mod target;

pub use callers::{Call, Callers};

use serde::Deserialize;

/// Where it is, and whose certificates are believed there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Client {
    pub url: Option<String>,
    pub service: Option<Service>,
    pub ca_bundle: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub path: Option<String>,
    pub port: Option<u16>,
}
