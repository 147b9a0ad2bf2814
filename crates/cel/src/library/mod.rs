//! The functions, library by library.
//!
//! Each library says what it has (`SIGNATURES`) and which function does it
//! (`find`). The check has seen to the types it could see; with `dyn` the
//! functions see for themselves.

use std::fmt;

use regex::Regex;

use crate::env::Features;
use crate::error::EvalError;
use crate::types::format::Library;
use crate::value::Value;

pub mod authorizer;
pub mod base64;
pub mod convert;
pub mod duration;
mod goformat;
mod lists;
mod math;
mod named_format;
mod network;
mod optional;
pub mod printf;
mod quantity;
pub mod regexp;
mod semver;
mod sets;
mod standard;
mod strings;
pub mod timestamp;
mod url;

pub use authorizer::{Authorizer, Decision, ResourceQuestion};

/// What a function sees beside its arguments.
pub struct Context<'c> {
    /// The pattern of the call, where it is constant.
    pub pattern: Option<&'c Regex>,
    /// What is left of the budget: what would cost more is not begun.
    pub room: u64,
}

pub type Apply = for<'c, 'a> fn(&Context<'c>, &[Value<'a>]) -> Result<Value<'a>, EvalError>;

pub const SIGNATURES: &[(Features, &str)] = &[
    (Features::Kubernetes, standard::SIGNATURES),
    (Features::Kubernetes, convert::SIGNATURES),
    (Features::Kubernetes, timestamp::SIGNATURES),
    (Features::Kubernetes, optional::SIGNATURES),
    (Features::Kubernetes, strings::SIGNATURES),
    (Features::Kubernetes, regexp::SIGNATURES),
    (Features::Kubernetes, lists::SIGNATURES),
    (Features::Kubernetes, sets::SIGNATURES),
    (Features::Kubernetes, url::SIGNATURES),
    (Features::Kubernetes, quantity::SIGNATURES),
    (Features::Kubernetes, network::SIGNATURES),
    (Features::Kubernetes, semver::SIGNATURES),
    (Features::Kubernetes, named_format::SIGNATURES),
    (Features::Kubernetes, authorizer::SIGNATURES),
    (Features::Extended, strings::MORE_SIGNATURES),
    (Features::Extended, math::SIGNATURES),
    (Features::Extended, base64::SIGNATURES),
];

/// The function of a name that a signature has.
pub fn find(name: &str) -> Option<Apply> {
    standard::find(name)
        .or_else(|| convert::find(name))
        .or_else(|| timestamp::find(name))
        .or_else(|| optional::find(name))
        .or_else(|| lists::find(name))
        .or_else(|| strings::find(name))
        .or_else(|| regexp::find(name))
        .or_else(|| sets::find(name))
        .or_else(|| url::find(name))
        .or_else(|| quantity::find(name))
        .or_else(|| network::find(name))
        .or_else(|| semver::find(name))
        .or_else(|| named_format::find(name))
        .or_else(|| authorizer::find(name))
        .or_else(|| math::find(name))
        .or_else(|| base64::find(name))
}

/// Values of types that libraries add.
#[derive(Clone, Debug)]
pub enum LibraryValue<'a> {
    Ip(std::net::IpAddr),
    Cidr(network::Cidr),
    Quantity(quantity::Quantity),
    Url(url::Url),
    Semver(semver::Semver),
    Format(&'static named_format::NamedFormat),
    Authorizer(authorizer::Asker<'a>),
    PathCheck(authorizer::PathCheck<'a>),
    GroupCheck(authorizer::GroupCheck<'a>),
    ResourceCheck(authorizer::ResourceCheck<'a>),
    Decision(Decision),
}

// === impl LibraryValue ===

impl<'a> LibraryValue<'a> {
    fn library(&self) -> Library {
        match self {
            LibraryValue::Ip(_) => Library::Ip,
            LibraryValue::Cidr(_) => Library::Cidr,
            LibraryValue::Quantity(_) => Library::Quantity,
            LibraryValue::Url(_) => Library::Url,
            LibraryValue::Semver(_) => Library::Semver,
            LibraryValue::Format(_) => Library::Format,
            LibraryValue::Authorizer(_) => Library::Authorizer,
            LibraryValue::PathCheck(_) => Library::PathCheck,
            LibraryValue::GroupCheck(_) => Library::GroupCheck,
            LibraryValue::ResourceCheck(_) => Library::ResourceCheck,
            LibraryValue::Decision(_) => Library::Decision,
        }
    }

    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.library().name()
    }

    /// Bytes of addresses; nothing else has a size.
    pub(crate) fn size(&self) -> u64 {
        let bytes = |address: &std::net::IpAddr| if address.is_ipv4() { 4 } else { 16 };
        match self {
            LibraryValue::Ip(address) => bytes(address),
            LibraryValue::Cidr(cidr) => cidr.size(),
            _ => 1,
        }
    }

    pub(crate) fn equals(&self, other: &LibraryValue<'a>) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (LibraryValue::Ip(one), LibraryValue::Ip(other)) => one == other,
            (LibraryValue::Cidr(one), LibraryValue::Cidr(other)) => one == other,
            (LibraryValue::Quantity(one), LibraryValue::Quantity(other)) => one == other,
            (LibraryValue::Url(one), LibraryValue::Url(other)) => one == other,
            (LibraryValue::Semver(one), LibraryValue::Semver(other)) => one == other,
            (LibraryValue::Format(one), LibraryValue::Format(other)) => std::ptr::eq(*one, *other),
            _ => return Err(EvalError::no_such_overload()),
        })
    }
}

impl fmt::Display for LibraryValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LibraryValue::Ip(address) => write!(f, "{address}"),
            LibraryValue::Cidr(cidr) => write!(f, "{cidr}"),
            LibraryValue::Url(url) => write!(f, "{url}"),
            LibraryValue::Semver(version) => write!(f, "{version}"),
            other => f.write_str(other.type_name()),
        }
    }
}
