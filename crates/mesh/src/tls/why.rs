//! Why a handshake came to nothing, as counters and logs have it.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use identity::Unproven;
use rustls::{CertificateError, Error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was not over in time.
    Slow,
    /// A certificate is needed, and none was shown.
    NoCertificate,
    /// Not yet valid, or not any more.
    Expired,
    /// Of an authority that is not ours, or signed wrongly.
    Untrusted,
    /// Not for this side of a connection, or not for a connection at all.
    Usage,
    /// It names nobody, several, or another than those who may come.
    Identity,
    /// The other side did not like what we showed.
    Refused,
    /// The other side left, or speaks no TLS that we speak.
    Other,
}

/// One count for each reason.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; 8]);

// === impl Why ===

impl Why {
    pub(crate) const ALL: [(Why, &str); 8] = [
        (Why::Slow, "slow"),
        (Why::NoCertificate, "no-certificate"),
        (Why::Expired, "expired"),
        (Why::Untrusted, "untrusted"),
        (Why::Usage, "usage"),
        (Why::Identity, "identity"),
        (Why::Refused, "refused"),
        (Why::Other, "other"),
    ];

    /// As counters have it.
    pub(crate) fn name(self) -> &'static str {
        Why::ALL[self as usize].1
    }

    pub(crate) fn of(error: &io::Error) -> Why {
        if error.kind() == io::ErrorKind::TimedOut {
            return Why::Slow;
        }
        let Some(source) = error.get_ref() else { return Why::Other };
        if let Some(why) = source.downcast_ref::<Unproven>() {
            return Why::unproven(why);
        }
        match source.downcast_ref::<Error>() {
            Some(Error::NoCertificatesPresented) => Why::NoCertificate,
            Some(Error::AlertReceived(_)) => Why::Refused,
            Some(Error::InvalidCertificate(why)) => Why::invalid(why),
            _ => Why::Other,
        }
    }

    fn invalid(error: &CertificateError) -> Why {
        use CertificateError as E;
        match error {
            E::Expired
            | E::ExpiredContext { .. }
            | E::NotValidYet
            | E::NotValidYetContext { .. } => Why::Expired,
            E::UnknownIssuer | E::BadSignature | E::Revoked => Why::Untrusted,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Why::Usage,
            E::NotValidForName | E::NotValidForNameContext { .. } => Why::Identity,
            E::Other(other) => match other.0.downcast_ref::<Unproven>() {
                Some(why) => Why::unproven(why),
                // An authority that shows itself is told by webpki alone.
                None if other.to_string().contains("CaUsedAsEndEntity") => Why::Usage,
                None => Why::Untrusted,
            },
            _ => Why::Untrusted,
        }
    }

    fn unproven(why: &Unproven) -> Why {
        match why {
            Unproven::Expired => Why::Expired,
            Unproven::KeyUsage | Unproven::Authority => Why::Usage,
            _ => Why::Identity,
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(crate) fn add(&self, why: Why) {
        self.0[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self, why: Why) -> u64 {
        self.0[why as usize].load(Relaxed)
    }
}
