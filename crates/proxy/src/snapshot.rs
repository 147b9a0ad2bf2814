//! The last good view on disk, so that an edge serves before, and without, the
//! API. One JSON file with a format version, replaced by rename.
//!
//! It is not synced to the disk: it is rebuilt from the API at the next change,
//! and a file that a crash has cut short is refused by its parser.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use topology::{ShardMap, UnitName};

use crate::table::View;

/// Raised when the file's form changes. Release N reads N-1 and refuses N+1.
const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {source}")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} has format {format}, this release reads {FORMAT}")]
    Format { path: PathBuf, format: u32 },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    map: ShardMap,
    endpoints: BTreeMap<UnitName, Vec<SocketAddr>>,
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// The view at `path`; none when there is no file.
pub(crate) fn load(path: &Path) -> Result<Option<View>, SnapshotError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SnapshotError::Read { path: path.into(), source }),
    };
    let damaged = |source| SnapshotError::Damaged { path: path.into(), source };
    let Header { format } = serde_json::from_slice(&text).map_err(damaged)?;
    if format != FORMAT {
        return Err(SnapshotError::Format { path: path.into(), format });
    }
    let Stored { map, endpoints, .. } = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(Some(View { map, endpoints }))
}

/// Replaces the file at `path`.
pub(crate) fn save(path: &Path, view: &View) -> io::Result<()> {
    let View { map, endpoints } = view.clone();
    let text = serde_json::to_vec(&Stored { format: FORMAT, map, endpoints })?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("tmp");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_back_as_kept_and_a_broken_or_newer_file_is_refused() {
        let folder =
            std::env::temp_dir().join(format!("polis-proxy-snapshot-{}", std::process::id()));
        let path = folder.join("deep").join("map.json");
        assert!(matches!(load(&path), Ok(None)));
        let view = View {
            map: serde_json::from_str(
                r#"{"version":7,"ranges":[
                    {"shards":"00-19","epoch":3,"state":"Serving","unit":"rz01"},
                    {"shards":"20","epoch":4,"state":"Moving","to":"rz02"}]}"#,
            )
            .expect("a map"),
            endpoints: BTreeMap::from([(
                "rz01".parse().expect("a name"),
                vec!["127.0.0.1:7001".parse().expect("an address")],
            )]),
        };
        save(&path, &view).expect("save");
        assert_eq!(load(&path).expect("load"), Some(view));
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, &text[..text.len() / 2]).expect("write");
        assert!(matches!(load(&path), Err(SnapshotError::Damaged { .. })));
        fs::write(&path, text.replace("\"format\":1", "\"format\":2")).expect("write");
        assert!(matches!(load(&path), Err(SnapshotError::Format { format: 2, .. })));
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
