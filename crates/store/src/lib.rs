//! polis-store
