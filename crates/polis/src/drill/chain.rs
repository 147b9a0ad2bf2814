//! The chain of drills' files: who changes one later is found out.
//!
//! `DATA/reports/chain.jsonl` gets a line for each report, with the hash of the
//! line before and of every file that belongs to it. Whoever keeps the last
//! line elsewhere can prove that nothing before it was changed, left out or put
//! in. Every file is hashed in blocks of lines too, each with the hash of the
//! one before, so that a changed byte is not only noticed but found.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub const CHAIN: &str = "chain.jsonl";

/// Of the line before the first.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Lines of a block: few enough to look through, a thousandth of a long run.
const BLOCK_LINES: usize = 1000;

/// A line of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub number: u64,
    pub at_unix_ms: u64,
    /// SHA-256 of the line before, without its line end.
    pub previous: String,
    pub files: Vec<Sealed>,
}

/// A file beside the chain, as it was when it was finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
    /// Of lines 1 to 1000, 1001 to 2000 and so on: SHA-256 of the hash before,
    /// in hexadecimal, and the block's bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
}

/// Adds files that are finished.
pub fn append(dir: &Path, names: &[String], at_unix_ms: u64) -> anyhow::Result<()> {
    let files = names.iter().map(|name| seal(dir, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let path = dir.join(CHAIN);
    let mut file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("open the chain: {error}"))?;
    // Two drills that end at once must not write the same number.
    rustix::fs::flock(&*file, rustix::fs::FlockOperation::LockExclusive)
        .context("lock the chain")?;
    let text = fs::read_to_string(&path).context("read the chain")?;
    let last = text.lines().last();
    let previous = last.map_or_else(|| NOTHING.to_owned(), |line| hash(line.as_bytes()));
    let number = text.lines().count() as u64 + 1;
    let mut line = serde_json::to_string(&Link { number, at_unix_ms, previous, files })?;
    line.push('\n');
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).context("extend the chain")
}

/// The links, once every line is found to follow from the one before.
pub fn read(dir: &Path) -> anyhow::Result<Vec<Link>> {
    let path = dir.join(CHAIN);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (mut previous, mut links) = (NOTHING.to_owned(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let link: Link = serde_json::from_str(line)
            .with_context(|| format!("{CHAIN}, line {number}: not a link"))?;
        if link.previous != previous || link.number != number as u64 {
            bail!("{CHAIN}, line {number}: does not follow from the line before it");
        }
        previous = hash(line.as_bytes());
        links.push(link);
    }
    Ok(links)
}

/// What of `file` is not as it was sealed.
pub fn differs(dir: &Path, file: &Sealed) -> Option<String> {
    let name = &file.name;
    let bytes = match fs::read(dir.join(name)) {
        Ok(bytes) => bytes,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    if hash(&bytes) == file.sha256 {
        return None;
    }
    let now = blocks(&bytes);
    let first =
        (0..now.len().max(file.blocks.len())).find(|at| now.get(*at) != file.blocks.get(*at));
    Some(match first.filter(|_| !file.blocks.is_empty()) {
        Some(block) => {
            let (first, last) = (block * BLOCK_LINES + 1, (block + 1) * BLOCK_LINES);
            format!("{name}: changed between lines {first} and {last}")
        }
        None => {
            format!("{name}: {} bytes are not the {} that were sealed", bytes.len(), file.bytes)
        }
    })
}

fn seal(dir: &Path, name: &str) -> anyhow::Result<Sealed> {
    let bytes = fs::read(dir.join(name)).with_context(|| format!("read {name}"))?;
    let (length, sha256, blocks) = (bytes.len() as u64, hash(&bytes), blocks(&bytes));
    Ok(Sealed { name: name.into(), bytes: length, sha256, blocks })
}

fn blocks(bytes: &[u8]) -> Vec<String> {
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let mut hashes: Vec<String> = Vec::new();
    for block in lines.chunks(BLOCK_LINES) {
        let mut digest = Sha256::new();
        digest.update(hashes.last().map_or(NOTHING, String::as_str));
        block.iter().for_each(|line| digest.update(line));
        hashes.push(hex(&digest.finalize()));
    }
    hashes
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("polis-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("create");
        dir
    }

    #[test]
    fn a_changed_byte_is_found_where_it_is() {
        let dir = scratch("chain-byte");
        let history: String = (0..2500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        fs::write(dir.join("h.jsonl"), &history).expect("write");
        append(&dir, &["h.jsonl".into()], 1).expect("append");
        let file = read(&dir).expect("a whole chain")[0].files[0].clone();
        assert_eq!(differs(&dir, &file), None);
        fs::write(dir.join("h.jsonl"), history.replace("\"n\":1500", "\"n\":1501")).expect("write");
        let found = differs(&dir, &file).expect("it was changed");
        assert_eq!(found, "h.jsonl: changed between lines 1001 and 2000");
        fs::remove_dir_all(&dir).expect("clean up");
    }

    #[test]
    fn a_link_that_was_changed_or_left_out_breaks_the_chain() {
        let dir = scratch("chain-link");
        fs::write(dir.join("a.json"), "{}").expect("write");
        for at in 1..=3 {
            append(&dir, &["a.json".into()], at).expect("append");
        }
        let whole = fs::read_to_string(dir.join(CHAIN)).expect("read");
        let changed = whole.replacen("\"at_unix_ms\":2", "\"at_unix_ms\":9", 1);
        let shorter: String = whole
            .lines()
            .filter(|line| !line.contains("\"number\":2"))
            .map(|line| format!("{line}\n"))
            .collect();
        for (text, line) in [(changed, "line 3"), (shorter, "line 2")] {
            fs::write(dir.join(CHAIN), text).expect("write");
            let error = read(&dir).expect_err("broken").to_string();
            assert!(error.contains(line), "{error}");
        }
        fs::remove_dir_all(&dir).expect("clean up");
    }
}
