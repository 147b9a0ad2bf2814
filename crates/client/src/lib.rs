//! polis-client
