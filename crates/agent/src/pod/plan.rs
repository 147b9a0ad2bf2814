//! From a manifest to what is to run. Pure.
//!
//! What packages cannot do is refused by name, never left out: a Pod that runs
//! without the limit or the volume it asked for would mislead its owner.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1 as core;
use runtime::{ContainerId, Spec};

use super::{
    expand::expand,
    seen::{PodRef, SeenPod},
};
use crate::probe::Probe;

/// The class that runs packages; an empty one means the same on our Nodes.
pub(crate) const CLASS: &str = "package";

/// Kubernetes' default for `terminationGracePeriodSeconds`, and our bound: a
/// Pod must not hold its name for longer than an hour after its deletion.
const GRACE_DEFAULT: u32 = 30;
const GRACE_MAX: u32 = 3600;

/// Containers of one Pod.
const CONTAINERS_MAX: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct PodPlan {
    pub grace: Duration,
    pub containers: Vec<ContainerPlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct ContainerPlan {
    pub name: String,
    /// Shown in the status; packages have none, so most say `package`.
    pub image: String,
    pub spec: Spec,
    pub restart: RestartPolicy,
    pub grace: Duration,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// Why a Pod does not run here; becomes its status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub(crate) struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

/// What a Pod may learn about where it runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub node: String,
    pub address: IpAddr,
}

// === impl RestartPolicy ===

impl RestartPolicy {
    pub(crate) fn restarts(self, exit: runtime::Exit) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit != runtime::Exit::Code(0),
            RestartPolicy::Never => false,
        }
    }
}

// === impl PodPlan ===

impl PodPlan {
    pub(crate) fn of(pod: &SeenPod, id: &PodRef, place: &Place) -> Result<PodPlan, Refusal> {
        let spec: core::PodSpec = serde_json::from_value(pod.spec.clone())
            .map_err(|error| invalid(format!("the spec cannot be read: {error}")))?;
        refuse_unsupported(&spec)?;
        let grace = spec.termination_grace_period_seconds.unwrap_or(GRACE_DEFAULT.into());
        let grace = u32::try_from(grace).unwrap_or(0).min(GRACE_MAX);
        let restart = match spec.restart_policy.as_deref() {
            None | Some("Always") => RestartPolicy::Always,
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            Some(other) => return Err(invalid(format!("restartPolicy {other:?} is not known"))),
        };
        if !(1..=CONTAINERS_MAX).contains(&spec.containers.len()) {
            let count = spec.containers.len();
            return Err(invalid(format!("{count} containers; 1 to {CONTAINERS_MAX} are possible")));
        }
        let mut containers: Vec<ContainerPlan> = Vec::with_capacity(spec.containers.len());
        for container in &spec.containers {
            let grace = Duration::from_secs(grace.into());
            let plan = plan_container(container, &spec, pod, id, place, restart, grace)
                .map_err(|refusal| refusal.of_container(&container.name))?;
            if containers.iter().any(|other| other.name == plan.name) {
                return Err(invalid(format!("two containers are named {:?}", plan.name)));
            }
            containers.push(plan);
        }
        Ok(PodPlan { grace: Duration::from_secs(grace.into()), containers })
    }
}

fn plan_container(
    container: &core::Container,
    pod_spec: &core::PodSpec,
    pod: &SeenPod,
    id: &PodRef,
    place: &Place,
    restart: RestartPolicy,
    grace: Duration,
) -> Result<ContainerPlan, Refusal> {
    refuse_unsupported_in(container)?;
    let env = environment(container, pod_spec, pod, id, place)?;
    let value = |name: &str| {
        env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let all = container.command.iter().flatten().chain(container.args.iter().flatten());
    let mut words = all.map(|word| expand(word, value));
    let program = words.next().filter(|_| container.command.is_some()).ok_or_else(|| {
        invalid("has no command; a package has no image that could name one".into())
    })?;
    let args = words.collect();
    let probe = |field, probe: &Option<core::Probe>| match probe {
        None => Ok(None),
        Some(probe) => Probe::parse(probe, container, place.address)
            .map(Some)
            .map_err(|why| invalid(format!("{field}: {why}"))),
    };
    let image = container.image.clone().filter(|image| !image.is_empty());
    Ok(ContainerPlan {
        name: container.name.clone(),
        image: image.unwrap_or_else(|| CLASS.into()),
        restart,
        grace,
        readiness: probe("readinessProbe", &container.readiness_probe)?,
        liveness: probe("livenessProbe", &container.liveness_probe)?,
        spec: Spec {
            id: ContainerId {
                namespace: id.namespace.clone(),
                pod: id.name.clone(),
                uid: id.uid.clone(),
                container: container.name.clone(),
            },
            program,
            args,
            working_dir: container.working_dir.as_ref().map(PathBuf::from),
            digest: digest(container),
            env,
        },
    })
}

/// Later variables may refer to earlier ones.
fn environment(
    container: &core::Container,
    pod_spec: &core::PodSpec,
    pod: &SeenPod,
    id: &PodRef,
    place: &Place,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut env: Vec<(String, String)> = Vec::new();
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) => expand(text, |name| {
                env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            }),
            (None, None) => String::new(),
            (None, Some(source)) => {
                let path = source.field_ref.as_ref().map(|field| field.field_path.as_str());
                path.and_then(|path| field(path, pod_spec, pod, id, place)).ok_or_else(|| {
                    let (name, path) = (&variable.name, path.unwrap_or("(not a fieldRef)"));
                    unsupported(format!("env {name}: valueFrom {path} is not served"))
                })?
            }
        };
        env.push((variable.name.clone(), value));
    }
    Ok(env)
}

/// The fields of the downward API that are served.
fn field(
    path: &str,
    spec: &core::PodSpec,
    pod: &SeenPod,
    id: &PodRef,
    place: &Place,
) -> Option<String> {
    let keyed = |kind: &str, map: &Option<std::collections::BTreeMap<String, String>>| {
        let key = path.strip_prefix(kind)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default())
    };
    Some(match path {
        "metadata.name" => id.name.clone(),
        "metadata.namespace" => id.namespace.clone(),
        "metadata.uid" => id.uid.clone(),
        "spec.nodeName" => place.node.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.podIP" | "status.hostIP" => place.address.to_string(),
        _ => keyed("metadata.labels", &pod.metadata.labels)
            .or_else(|| keyed("metadata.annotations", &pod.metadata.annotations))?,
    })
}

fn refuse_unsupported(spec: &core::PodSpec) -> Result<(), Refusal> {
    let class = spec.runtime_class_name.as_deref().unwrap_or_default();
    if !class.is_empty() && class != CLASS {
        return Err(unsupported(format!(
            "runtimeClassName {class:?} is not served by this node, only {CLASS:?}"
        )));
    }
    let some = |list: Option<usize>| list.is_some_and(|len| len > 0);
    let refused = [
        ("initContainers", some(spec.init_containers.as_ref().map(Vec::len))),
        ("ephemeralContainers", some(spec.ephemeral_containers.as_ref().map(Vec::len))),
        ("volumes", some(spec.volumes.as_ref().map(Vec::len))),
        ("readinessGates", some(spec.readiness_gates.as_ref().map(Vec::len))),
        ("hostAliases", some(spec.host_aliases.as_ref().map(Vec::len))),
        ("activeDeadlineSeconds", spec.active_deadline_seconds.is_some()),
        ("shareProcessNamespace", spec.share_process_namespace == Some(true)),
        (
            "securityContext",
            spec.security_context.as_ref().is_some_and(|given| *given != Default::default()),
        ),
    ];
    first_refused(&refused)
}

fn refuse_unsupported_in(container: &core::Container) -> Result<(), Refusal> {
    let some = |list: Option<usize>| list.is_some_and(|len| len > 0);
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let refused = [
        ("envFrom", some(container.env_from.as_ref().map(Vec::len))),
        ("volumeMounts", some(container.volume_mounts.as_ref().map(Vec::len))),
        ("volumeDevices", some(container.volume_devices.as_ref().map(Vec::len))),
        ("lifecycle", container.lifecycle.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("stdin", container.stdin == Some(true)),
        ("tty", container.tty == Some(true)),
        ("resources.limits", limits.is_some_and(|limits| !limits.is_empty())),
        (
            "securityContext",
            container.security_context.as_ref().is_some_and(|given| *given != Default::default()),
        ),
    ];
    first_refused(&refused)
}

fn first_refused(fields: &[(&str, bool)]) -> Result<(), Refusal> {
    match fields.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => Err(unsupported(format!("{field} is not served for packages"))),
    }
}

// === impl Refusal ===

impl Refusal {
    fn of_container(self, name: &str) -> Refusal {
        Refusal { message: format!("container {name:?}: {}", self.message), ..self }
    }
}

pub(crate) fn invalid(message: String) -> Refusal {
    Refusal { reason: "InvalidPod", message }
}

fn unsupported(message: String) -> Refusal {
    Refusal { reason: "Unsupported", message }
}

/// Of the container as written, so that a later release that resolves it
/// otherwise does not restart what runs; but for what it may use, which changes
/// in place. FNV-1a, 64 bits.
fn digest(container: &core::Container) -> u64 {
    let container = core::Container { resources: None, resize_policy: None, ..container.clone() };
    let text = serde_json::to_vec(&container).expect("a parsed container is JSON again");
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
