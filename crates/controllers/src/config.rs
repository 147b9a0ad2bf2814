//! What the controllers of a center must be told.

use topology::CenterName;

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
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("prepare TLS for probes")]
    ProbeTls(#[source] identity::Error),
}
