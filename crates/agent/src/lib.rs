//! polis-agent
