//! The keys of an estate that `polis up` runs: a root, an authority per unit,
//! and a leaf for each process, issued anew at every start.
//!
//! ```text
//! DATA/pki/root.{crt,key}            the root; only `up` reads its key
//! DATA/pki/global/…                  authority and leaves of what is in no unit
//! DATA/pki/units/rz01/…              authority and leaves of a unit
//! ```

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use identity::{Authority, Files, Leaf, SpiffeId};

use crate::layout::Layout;

pub const TRUST_DOMAIN: &str = "polis.local";

/// Where Polis' own processes run, as far as identities go.
pub const SYSTEM_NAMESPACE: &str = "polis-system";

/// Of leaves that are issued again at every start. Rotation while serving is
/// not there yet, so a process must be restarted before this ends.
const LEAF_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Of the leaf in the kubeconfig, which people copy to other machines.
const KUBECONFIG_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// The service accounts of a center's processes.
pub const CENTER_ACCOUNTS: [&str; 4] = ["apiserver", "controllers", "edge", "agent"];

/// Files below `DATA/pki`.
#[derive(Clone, Debug)]
pub struct Pki(PathBuf);

// === impl Pki ===

impl Pki {
    #[must_use]
    pub fn new(dir: &Path) -> Pki {
        Pki(dir.to_owned())
    }

    /// Creates authorities where missing and issues every leaf anew.
    pub fn prepare(&self, layout: &Layout) -> anyhow::Result<()> {
        let files = |name: &str| self.authority(name);
        let root = authority(&files("root"), || Authority::root("polis root"))
            .context("prepare the root authority")?;
        let global = authority(&files("global"), || root.subordinate("polis global"))
            .context("prepare the global authority")?;
        let at_store = layout.store().ip();
        self.issue(&global, None, SYSTEM_NAMESPACE, "store", at_store)?;
        let admin = Leaf {
            common_name: "polis-admin".into(),
            organizations: vec!["system:masters".into()],
            lifetime: KUBECONFIG_LIFETIME,
            ..Leaf::default()
        };
        global.issue(&admin)?.save(&self.admin())?;
        for plan in &layout.centers {
            self.prepare_unit(&root, plan.unit.as_str(), plan.address, &CENTER_ACCOUNTS)?;
        }
        Ok(())
    }

    /// The identities of a rented unit: its agent's and its ledger's.
    pub fn prepare_rented(&self, unit: &str, at: Ipv4Addr) -> anyhow::Result<()> {
        let root = Authority::load(&self.authority("root")).context("load the root authority")?;
        self.prepare_unit(&root, unit, at, &["agent"])
    }

    /// Nobody can speak for this unit any more, save with what was issued.
    pub fn remove_rented(&self, unit: &str) -> anyhow::Result<()> {
        for dir in [self.0.join("units").join(unit), self.0.join("authorities").join(unit)] {
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", dir.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn authority(&self, name: &str) -> Files {
        Files::in_dir(&self.0.join("authorities").join(name), "authority")
    }

    fn prepare_unit(
        &self,
        root: &Authority,
        unit: &str,
        at: Ipv4Addr,
        accounts: &[&str],
    ) -> anyhow::Result<()> {
        let subordinate = || root.subordinate(&format!("polis unit {unit}"));
        let authority = authority(&self.authority(unit), subordinate)
            .with_context(|| format!("prepare the authority of {unit}"))?;
        for account in accounts {
            self.issue(&authority, Some(unit), SYSTEM_NAMESPACE, account, IpAddr::V4(at))?;
        }
        self.issue(&authority, Some(unit), "payments", "ledger", IpAddr::V4(at))
    }

    /// The leaf of a process: of a unit's, or of one in no unit.
    #[must_use]
    pub fn leaf(&self, unit: Option<&str>, account: &str) -> Files {
        self.files_in(unit, account)
    }

    /// The administrator of the kubeconfig.
    #[must_use]
    pub fn admin(&self) -> Files {
        self.files_in(None, "admin")
    }

    fn files_in(&self, unit: Option<&str>, name: &str) -> Files {
        let dir = match unit {
            Some(unit) => self.0.join("units").join(unit),
            None => self.0.join("global"),
        };
        Files::in_dir(&dir, name)
    }

    fn issue(
        &self,
        authority: &Authority,
        unit: Option<&str>,
        namespace: &str,
        account: &str,
        at: IpAddr,
    ) -> anyhow::Result<()> {
        let spiffe = SpiffeId {
            trust_domain: TRUST_DOMAIN.into(),
            unit: unit.unwrap_or("global").into(),
            namespace: namespace.into(),
            service_account: account.into(),
        };
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), at];
        addresses.dedup();
        let leaf = Leaf {
            common_name: format!("system:polis:{account}"),
            organizations: vec!["system:polis".into()],
            spiffe: Some(spiffe),
            dns_names: vec!["localhost".into()],
            addresses,
            lifetime: LEAF_LIFETIME,
        };
        let issued = authority.issue(&leaf).with_context(|| format!("issue {account}"))?;
        issued.save(&self.files_in(unit, account))?;
        Ok(())
    }
}

/// Reads an authority, or makes it where there is none yet.
pub fn authority(
    files: &Files,
    create: impl FnOnce() -> Result<Authority, identity::Error>,
) -> Result<Authority, identity::Error> {
    if files.key.exists() {
        return Authority::load(files);
    }
    let authority = create()?;
    authority.save(files)?;
    Ok(authority)
}
