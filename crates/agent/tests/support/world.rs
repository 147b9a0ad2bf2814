//! An API, an agent, and a folder for both.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use agent::{Agent, Caller, Config};
use identity::{Authority, ClientAuth, Credentials, Files, Leaf, ServerCheck, SpiffeId};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::Api;

/// Far longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const PODS: &str = "/units/rz01/api/v1/namespaces/payments/pods";

static FOLDERS: AtomicU32 = AtomicU32::new(0);

pub struct World {
    pub folder: PathBuf,
    pub api: Api,
    authority: Authority,
}

pub struct Running {
    pub address: std::net::SocketAddr,
    task: JoinHandle<()>,
    trigger: Option<rt::Trigger>,
}

impl World {
    pub async fn new() -> World {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = format!("polis-agent-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("create the folder");
        let authority = Authority::root("test").expect("a root");
        let credentials = credentials(&authority, &folder, "apiserver");
        let alpn: &[&[u8]] = &[b"h2"];
        let tls = identity::server_config(&credentials, ClientAuth::Optional, alpn).expect("tls");
        World { api: Api::start(tls).await, authority, folder }
    }

    pub fn client_tls(&self, account: &str) -> Arc<rustls::ClientConfig> {
        let credentials = credentials(&self.authority, &self.folder, account);
        identity::client_config(&credentials, ServerCheck::HostName, &[]).expect("tls")
    }

    pub fn server_credentials(&self, account: &str) -> Credentials {
        credentials(&self.authority, &self.folder, account)
    }

    pub async fn agent(&self, pods_die_with_agent: bool) -> Running {
        // What another test starts just now has all our files, the lock of the
        // agent before among them, until it becomes its own program.
        let built = async {
            loop {
                match self.build(pods_die_with_agent).await {
                    Err(agent::Error::InUse { .. }) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    built => return built,
                }
            }
        };
        let built = tokio::time::timeout(PATIENCE, built).await.expect("the folder gets free");
        let agent = built.expect("build the agent");
        let (trigger, drain) = rt::drain::channel();
        let address = agent.local_addr();
        let task = tokio::spawn(async move { agent.run(drain).await.expect("the agent runs") });
        Running { address, task, trigger: Some(trigger) }
    }

    pub async fn build(&self, pods_die_with_agent: bool) -> Result<Agent, agent::Error> {
        let credentials = credentials(&self.authority, &self.folder, "agent");
        let tls = identity::server_config(&credentials, ClientAuth::Optional, &[]).expect("tls");
        let addresses = vec![self.api.address.to_string()];
        let mut client = client::Config::new(addresses, self.client_tls("agent"));
        client.request_timeout = Duration::from_secs(2);
        Agent::build(Config {
            city: "east".parse().expect("a name"),
            center: "east-1".parse().expect("a name"),
            units: vec!["rz01".parse().expect("a name")],
            client: client::connect(&client).expect("a client"),
            data: self.folder.join("data"),
            listen: "127.0.0.1:0".parse().expect("an address"),
            advertise: [127, 0, 0, 1].into(),
            tls,
            caller: Caller::default(),
            pods_die_with_agent,
        })
        .await
    }

    /// A Pod `name` with one container `main` that runs `script`.
    pub fn create(&self, name: &str, script: &str, more: Value) {
        let mut container = json!({ "name": "main", "command": ["sh", "-c", script] });
        let mut spec = json!({ "nodeName": "east-1", "runtimeClassName": "package" });
        for (field, value) in more.as_object().into_iter().flatten() {
            let of_pod = ["restartPolicy", "volumes", "terminationGracePeriodSeconds", "nodeName"];
            let of_pod = of_pod.contains(&field.as_str());
            (if of_pod { &mut spec } else { &mut container })[field] = value.clone();
        }
        spec["containers"] = json!([container]);
        let metadata = json!({ "name": name, "namespace": "payments" });
        self.api.put(&pod(name), json!({ "metadata": metadata, "spec": spec }));
    }

    pub fn delete(&self, name: &str, grace_seconds: u32) {
        let mut object = self.api.get(&pod(name)).expect("the pod");
        object["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z".into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace_seconds.into();
        self.api.put(&pod(name), object);
    }

    pub async fn wait_ready(&self, name: &str) -> Value {
        self.api.wait(&pod(name), |pod| ready(pod) == Some(true)).await
    }

    /// What the container wrote as its pid, which it does before all else.
    pub async fn pid(&self, name: &str) -> i32 {
        let path = self.folder.join(name);
        until(|| fs::read_to_string(&path).ok()?.trim().parse().ok()).await
    }

    /// For scripts: writes the pid (`$$`, escaped as manifests are) for [`World::pid`].
    pub fn tell_pid(&self, name: &str) -> String {
        let path = self.folder.join(name);
        let path = path.display();
        format!("echo $$$$ > {path}.new; mv {path}.new {path};")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    /// As if the process were killed, but for Pods that die with it.
    pub async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub async fn drain(mut self) {
        let trigger = self.trigger.take().expect("not drained yet");
        trigger.drain(PATIENCE).await;
        self.task.await.expect("the agent ends");
    }
}

pub fn pod(name: &str) -> String {
    format!("{PODS}/{name}")
}

pub fn ready(pod: &Value) -> Option<bool> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    Some(ready["status"] == "True")
}

pub fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Polls: files and processes tell nobody that they changed.
pub async fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("it happens in time")
}

fn credentials(authority: &Authority, folder: &std::path::Path, account: &str) -> Credentials {
    let spiffe = SpiffeId {
        trust_domain: "polis.local".into(),
        unit: "rz01".into(),
        namespace: "polis-system".into(),
        service_account: account.into(),
    };
    let issued = authority.issue(&Leaf {
        spiffe: Some(spiffe),
        common_name: account.into(),
        addresses: vec![[127, 0, 0, 1].into()],
        lifetime: Duration::from_secs(3600),
        ..Leaf::default()
    });
    let files = Files::in_dir(folder, account);
    issued.expect("issue").save(&files).expect("save");
    Credentials::load(&files).expect("load")
}
