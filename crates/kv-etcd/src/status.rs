//! Errors on the wire: a gRPC code and etcd's exact text, in both directions.
//!
//! Clients of etcd match on the text (`rpctypes/error.go`), so the text decides
//! here too; the code only tells apart what has no text of its own. Whatever
//! leaves open whether a write was applied becomes [`Error::Unknown`].

use std::error::Error as StdError;

use kv::{AuthError, Error, Revision};
use tonic::{Code, Status};

/// Trailing metadata of a "compacted" error: the oldest readable revision.
const COMPACTED_METADATA: &str = "polis-compact-revision";

/// The errors whose text alone says which one it is.
const BY_TEXT: &[Error] = &[
    Error::EmptyKey,
    Error::ValueProvided,
    Error::LeaseProvided,
    Error::KeyNotFound,
    Error::TooManyOps,
    Error::DuplicateKey,
    Error::RequestTooLarge,
    Error::InvalidRangeEnd,
    Error::InvalidSortOption,
    Error::Compacted { compacted: Revision::ZERO },
    Error::FutureRevision,
    Error::LeaseNotFound,
    Error::LeaseExists,
    Error::LeaseTtlTooLarge,
    Error::TooManyRequests,
    Error::NoSpace,
    Error::PermissionDenied,
    Error::NotLeader,
    Error::Corrupt,
];

/// etcd's code for each error.
#[must_use]
pub fn code(error: &Error) -> Code {
    match error {
        Error::EmptyKey
        | Error::ValueProvided
        | Error::LeaseProvided
        | Error::KeyNotFound
        | Error::TooManyOps
        | Error::DuplicateKey
        | Error::RequestTooLarge
        | Error::InvalidRangeEnd
        | Error::InvalidSortOption
        | Error::InvalidKeyspace(_) => Code::InvalidArgument,
        Error::Compacted { .. } | Error::FutureRevision | Error::LeaseTtlTooLarge => {
            Code::OutOfRange
        }
        Error::LeaseNotFound => Code::NotFound,
        Error::LeaseExists => Code::FailedPrecondition,
        Error::TooManyRequests | Error::NoSpace => Code::ResourceExhausted,
        Error::PermissionDenied => Code::PermissionDenied,
        Error::Auth(error) => auth_code(*error),
        Error::NotLeader | Error::Unknown(_) | Error::Unreachable(_) => Code::Unavailable,
        Error::Corrupt => Code::DataLoss,
        Error::Other(_) => Code::Unknown,
    }
}

fn auth_code(error: AuthError) -> Code {
    match error {
        AuthError::RootUserNotExist
        | AuthError::RootRoleNotExist
        | AuthError::UserAlreadyExist
        | AuthError::UserNotFound
        | AuthError::RoleAlreadyExist
        | AuthError::RoleNotFound
        | AuthError::RoleNotGranted
        | AuthError::PermissionNotGranted
        | AuthError::AuthNotEnabled => Code::FailedPrecondition,
        AuthError::UserEmpty
        | AuthError::RoleEmpty
        | AuthError::AuthFailed
        | AuthError::PermissionNotGiven
        | AuthError::InvalidAuthMgmt
        | AuthError::AuthOldRevision => Code::InvalidArgument,
        AuthError::InvalidAuthToken => Code::Unauthenticated,
        AuthError::NoPasswordUser | AuthError::PasswordTooLong => Code::Unknown,
    }
}

#[must_use]
pub fn to_status(error: &Error) -> Status {
    let mut status = Status::new(code(error), error.to_string());
    if let Error::Compacted { compacted } = error
        && *compacted != Revision::ZERO
    {
        status.metadata_mut().insert(COMPACTED_METADATA, compacted.0.into());
    }
    status
}

/// The error that etcd, and we, write as `text`.
#[must_use]
pub fn from_text(text: &str) -> Option<Error> {
    let known = BY_TEXT.iter().find(|error| error.to_string() == text).cloned();
    known.or_else(|| {
        let auth = AuthError::ALL.iter().find(|error| error.to_string() == text);
        auth.map(|error| Error::Auth(*error))
    })
}

/// What a failed call means to its caller.
#[must_use]
pub fn from_status(status: &Status) -> Error {
    if let Some(cause) = never_sent(status) {
        return Error::Unreachable(cause);
    }
    match from_text(status.message()) {
        Some(Error::Compacted { .. }) => Error::Compacted { compacted: compacted(status) },
        Some(error) => error,
        None if is_open(status.code()) => Error::Unknown(status.message().into()),
        None => Error::Other(status.message().into()),
    }
}

fn compacted(status: &Status) -> Revision {
    let text = status.metadata().get(COMPACTED_METADATA).and_then(|value| value.to_str().ok());
    Revision(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Codes that a connection, a proxy or a deadline may produce while the store
/// does its work.
fn is_open(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unknown
    )
}

/// Why the request certainly did not leave this process, if so.
fn never_sent(status: &Status) -> Option<String> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(connect) = error.downcast_ref::<tonic::ConnectError>() {
            return Some(innermost(connect));
        }
        // hyper's word for "taken back before it was handed to a connection".
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return Some("connection closed".into());
        }
        source = error.source();
    }
    None
}

/// The text nearest to the operating system.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_with_a_text_of_its_own_survives_the_wire() {
        let auth = AuthError::ALL.iter().map(|error| Error::Auth(*error));
        for error in BY_TEXT.iter().cloned().chain(auth) {
            assert_eq!(from_status(&to_status(&error)), error);
        }
        let compacted = Error::Compacted { compacted: Revision(17) };
        assert_eq!(from_status(&to_status(&compacted)), compacted);
    }

    #[test]
    fn etcd_clients_find_the_code_and_text_they_match_on() {
        let check = |error: Error, code: Code, text: &str| {
            let status = to_status(&error);
            assert_eq!((status.code(), status.message()), (code, text));
        };
        check(Error::EmptyKey, Code::InvalidArgument, "etcdserver: key is not provided");
        check(Error::LeaseNotFound, Code::NotFound, "etcdserver: requested lease not found");
        check(AuthError::UserEmpty.into(), Code::InvalidArgument, "etcdserver: user name is empty");
        check(
            AuthError::InvalidAuthToken.into(),
            Code::Unauthenticated,
            "etcdserver: invalid auth token",
        );
        check(Error::LeaseExists, Code::FailedPrecondition, "etcdserver: lease already exists");
        check(
            Error::Compacted { compacted: Revision(3) },
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        );
        check(Error::Unknown("x".into()), Code::Unavailable, "etcdserver: request timed out");
        check(Error::NotLeader, Code::Unavailable, "etcdserver: no leader");
        check(Error::NoSpace, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
    }

    #[test]
    fn a_call_whose_fate_is_open_is_never_reported_as_failed() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Internal] {
            let error = from_status(&Status::new(code, "anything"));
            assert!(!error.is_definite(), "{code:?} became {error:?}");
        }
        let timed_out = from_status(&to_status(&Error::Unknown("lost".into())));
        assert!(matches!(timed_out, Error::Unknown(_)));
    }
}
