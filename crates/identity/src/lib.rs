//! polis-identity
