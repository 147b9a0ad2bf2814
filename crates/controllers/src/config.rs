//! What the controllers of a center must be told.

use std::sync::Arc;

use topology::CenterName;

use crate::Provider;

pub struct Config {
    /// The center we run in; its `Center` object says the rest.
    pub center: CenterName,
    pub client: client::Client,
    /// Our own certificate, shown to the API servers we probe and the services
    /// whose fences we raise.
    pub credentials: identity::Credentials,
    /// Of the identities those must show.
    pub trust_domain: String,
    pub clock: rt::Clock,
    /// Who makes places for rented units; none where none can be rented.
    pub provider: Option<Arc<dyn Provider>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("prepare TLS for probes")]
    ProbeTls(#[source] identity::Error),
}
