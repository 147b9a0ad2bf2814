//! polis-api
