//! polis-testkit
