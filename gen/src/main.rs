//! Writes the wire types that are committed under `crates/pb-*/src`.
//!
//! `cargo run --manifest-path gen/Cargo.toml` from the root of the repository,
//! whenever a file under `gen/proto` changes. Compiling the `.proto` files in
//! Rust (protox) is what spares every builder of Polis a `protoc`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost::Message as _;
use prost_types::FileDescriptorSet;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = root.parent().context("find the folder above gen/")?.join("crates");
    etcd(&root.join("proto"), &crates.join("pb-etcd/src"))
}

/// A module for each package, and the descriptors of all of them.
fn etcd(protos: &Path, out: &Path) -> anyhow::Result<()> {
    let files = [
        "etcd/authpb.proto",
        "etcd/mvccpb.proto",
        "etcd/etcdserverpb.proto",
        "etcd/v3lockpb.proto",
        "etcd/v3electionpb.proto",
        "grpc/health.proto",
    ];
    let descriptors = protox::compile(files, [protos]).context("compile etcd's .proto files")?;
    describe(descriptors.clone(), &out.join("descriptors.bin"))?;
    tonic_prost_build::configure()
        // Keys and values travel through the store without being copied per layer.
        .bytes(".")
        .build_transport(false)
        .out_dir(out)
        .compile_fds(descriptors)
        .context("generate etcd's wire types")?;
    let health = out.join("grpc.health.v1.rs");
    std::fs::rename(&health, out.join("health.rs")).context("rename the health module")?;
    for name in ["authpb", "mvccpb", "etcdserverpb", "v3lockpb", "v3electionpb", "health"] {
        tidy(&out.join(name).with_extension("rs"))?;
    }
    Ok(())
}

/// Writes what JSON needs to know of the messages: names and numbers, without
/// the comments.
fn describe(mut descriptors: FileDescriptorSet, path: &Path) -> anyhow::Result<()> {
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    std::fs::write(path, descriptors.encode_to_vec())
        .with_context(|| format!("write {}", path.display()))
}

/// Drops trailing blanks, so that a committed file never differs by them.
fn tidy(path: &PathBuf) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut clean: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    clean.truncate(clean.trim_end().len());
    clean.push('\n');
    std::fs::write(path, clean).with_context(|| format!("write {}", path.display()))
}
