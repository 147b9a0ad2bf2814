//! polis-resources
