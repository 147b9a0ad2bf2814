//! polis-proxy
