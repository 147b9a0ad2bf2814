//! A full disk hurts only who needs room: the log's files are made before they
//! are needed, and seconds of payments fit into those that are there. So while
//! such a drill lasts, as much is written as it takes to need another, and then
//! less and less, until not even a little fits.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use client::{
    Client, DeleteOptions, Objects,
    k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// What is written, again and again.
const NAMESPACE: &str = "default";
const NAME: &str = "drill-full-disk";
/// As much as such an object may hold, and a little less; then quarters of it,
/// down to what a payment takes.
const BYTES_FIRST: usize = 900 * 1024;
const BYTES_LAST: usize = 2 * 1024;
/// Several times what is made in advance (two files of 16 MiB).
const WRITTEN_BYTES_MAX: usize = 256 << 20;
/// A store that has no room ends, and is started again at once; one that is away
/// for longer has none to start with.
const AWAY_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// Writes until nothing fits; how many bytes were taken.
pub async fn until_refused(client: &Client) -> anyhow::Result<usize> {
    let objects = client.federation().namespaced::<ConfigMap>(NAMESPACE);
    let metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
    let object = ConfigMap { metadata, ..ConfigMap::default() };
    objects.create_if_absent(&object).await.context("create what fills the log")?;
    let (mut written, mut bytes) = (0, BYTES_FIRST);
    while bytes >= BYTES_LAST {
        if written > WRITTEN_BYTES_MAX {
            bail!("{} MiB were written and none was refused: the disk is not full", written >> 20);
        }
        let letter = char::from(b'a' + (written / bytes % 26) as u8);
        let text = String::from(letter).repeat(bytes);
        let patch = json!({ "data": BTreeMap::from([("ballast", text)]) });
        if objects.patch(NAME, &patch).await.is_ok() {
            written += bytes;
        } else if is_away(&objects).await {
            return Ok(written);
        } else {
            bytes /= 4;
        }
    }
    Ok(written)
}

/// Whether even a few bytes are not taken: a read proves nothing, for servers
/// answer those from memory.
async fn is_away(objects: &Objects<ConfigMap>) -> bool {
    let until = Instant::now() + AWAY_MAX;
    for turn in 0_u64.. {
        let patch = json!({ "data": { "turn": turn.to_string() } });
        if objects.patch(NAME, &patch).await.is_ok() {
            return false;
        }
        if Instant::now() >= until {
            break;
        }
        sleep(PAUSE).await;
    }
    true
}

/// Once there is room again.
pub async fn clear(client: &Client) -> Result<(), client::Error> {
    let objects = client.federation().namespaced::<ConfigMap>(NAMESPACE);
    objects.delete(NAME, &DeleteOptions::default()).await.map(drop)
}
