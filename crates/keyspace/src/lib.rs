//! polis-keyspace
