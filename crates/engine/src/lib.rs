//! polis-engine
