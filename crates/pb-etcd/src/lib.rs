//! polis-pb-etcd
