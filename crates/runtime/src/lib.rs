//! polis-runtime
