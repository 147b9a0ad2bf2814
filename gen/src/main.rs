//! Writes the wire types that are committed under `crates/pb-*/src`.
//!
//! `cargo run --manifest-path gen/Cargo.toml` from the root of the repository,
//! whenever a file under `gen/proto` changes. Compiling the `.proto` files in
//! Rust (protox) is what spares every builder of Polis a `protoc`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = root.parent().context("find the folder above gen/")?.join("crates");
    etcd(&root.join("proto"), &crates.join("pb-etcd/src"))
}

/// `mvccpb.rs` and `etcdserverpb.rs`.
fn etcd(protos: &Path, out: &Path) -> anyhow::Result<()> {
    let files = ["etcd/mvccpb.proto", "etcd/etcdserverpb.proto"];
    let descriptors = protox::compile(files, [protos]).context("compile etcd's .proto files")?;
    tonic_prost_build::configure()
        // Keys and values travel through the store without being copied per layer.
        .bytes(".")
        .build_transport(false)
        .out_dir(out)
        .compile_fds(descriptors)
        .context("generate etcd's wire types")?;
    for name in ["mvccpb.rs", "etcdserverpb.rs"] {
        tidy(&out.join(name))?;
    }
    Ok(())
}

/// Drops trailing blanks, so that a committed file never differs by them.
fn tidy(path: &PathBuf) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut clean: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    clean.truncate(clean.trim_end().len());
    clean.push('\n');
    std::fs::write(path, clean).with_context(|| format!("write {}", path.display()))
}
