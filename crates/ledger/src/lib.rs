//! polis-ledger
