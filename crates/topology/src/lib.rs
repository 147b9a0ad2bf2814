//! polis-topology
