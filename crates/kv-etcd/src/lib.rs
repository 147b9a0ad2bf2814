//! polis-kv-etcd
