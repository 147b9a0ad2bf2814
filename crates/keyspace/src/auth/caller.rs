//! Who asks for something.

use super::{AuthRevision, UserName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The store itself: nothing is checked.
    Trusted,
    /// Someone who does not say who it is.
    Nobody,
    /// By the common name of a certificate that was verified.
    Certificate(UserName),
    /// By a token that was verified, given out when the users stood at `issued`.
    Token { user: UserName, issued: AuthRevision },
}
