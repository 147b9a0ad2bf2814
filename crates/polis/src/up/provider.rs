//! The local provider of places for rented units: each is one more agent on
//! this machine, a process that belongs to its center and dies with it.
//!
//! It has files of its own, since whoever asks may ask again after either of us
//! died: a place is written down before its process is started, and removed
//! last. The identity of its unit is issued here, where the root's key is.
//! What the requests are is `controllers::HttpProvider`'s to say.

use std::{
    convert::Infallible,
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use controllers::{Place, PlaceOrder, PlaceState};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use resources::PortRange;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::UnixListener,
    sync::{Mutex, mpsc, oneshot},
};
use topology::{CenterName, UnitName};

use super::{
    control::{Answer, Call, ProcessInfo, ProcessState, Request as Order},
    process::Program,
};
use crate::{
    data::DataDir,
    layout::{CenterPlan, Layout},
    pki::Pki,
    role::server::{Role, ServerOptions},
};

/// An order names a unit, a center and a city.
const ORDER_BYTES_MAX: usize = 4 * 1024;

pub struct Local {
    layout: Layout,
    data: DataDir,
    calls: mpsc::Sender<Call>,
    /// One order at a time: two must not take the same ports.
    turn: Mutex<()>,
}

/// A place as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    id: String,
    unit: UnitName,
    center: CenterName,
    agent_port: u16,
    ports: PortRange,
}

/// What an order that will never be carried out is told.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Listens where nobody else does: the data folder is ours.
pub fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("remove the provider's socket of an earlier run");
        }
        _ => {}
    }
    UnixListener::bind(socket).with_context(|| format!("listen on {}", socket.display()))
}

/// Serves orders until the supervisor is gone.
pub async fn serve(listener: UnixListener, provider: Arc<Local>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = provider.calls.closed() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let provider = provider.clone();
        rt::spawn(rt::TaskKind::Connection, "provider", async move {
            let service = service_fn(move |request| {
                let provider = provider.clone();
                async move { Ok::<_, Infallible>(provider.answer(request).await) }
            });
            // Who hangs up asks again.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// What runs the places that are written down; with new identities, as
/// everything else gets at a start.
pub fn rented(layout: &Layout, data: &DataDir) -> anyhow::Result<Vec<(Program, CenterName)>> {
    let mut programs = Vec::new();
    for record in records(data)? {
        programs.push((prepare(&record, layout, data)?, record.center));
    }
    Ok(programs)
}

// === impl Local ===

impl Local {
    pub fn new(layout: &Layout, data: &DataDir, calls: mpsc::Sender<Call>) -> Arc<Local> {
        let (layout, data) = (layout.clone(), data.clone());
        Arc::new(Local { layout, data, calls, turn: Mutex::new(()) })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let method = request.method().clone();
        let id = request.uri().path().strip_prefix("/v1/places/").map(ToOwned::to_owned);
        let Some(id) = id.filter(|id| is_id(id)) else {
            return reply(StatusCode::NOT_FOUND, &json!({ "message": "no such page" }));
        };
        let _turn = self.turn.lock().await;
        let answered = match method {
            Method::PUT => self.create(&id, request).await,
            Method::GET => self.status(&id).await,
            Method::DELETE => self.destroy(&id).await,
            _ => {
                Ok(reply(StatusCode::METHOD_NOT_ALLOWED, &json!({ "message": "GET, PUT, DELETE" })))
            }
        };
        answered.unwrap_or_else(|error| {
            let status = match error.is::<Refused>() {
                true => StatusCode::CONFLICT,
                false => StatusCode::INTERNAL_SERVER_ERROR,
            };
            reply(status, &json!({ "message": format!("{error:#}") }))
        })
    }

    async fn create(
        &self,
        id: &str,
        request: Request<Incoming>,
    ) -> anyhow::Result<Response<Full<Bytes>>> {
        let body = Limited::new(request.into_body(), ORDER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("read the order: {error}"))?.to_bytes();
        let order: PlaceOrder = serde_json::from_slice(&body).context("parse the order")?;
        let known = records(&self.data)?;
        let record = match known.iter().find(|record| record.id == id) {
            Some(record) => record.clone(),
            None => {
                let record = allot(id, &order, &self.layout, &known)?;
                save(&self.data, &record)?;
                record
            }
        };
        let running = self.ask(Order::List).await?;
        if !running.iter().any(|process| process.name == record.unit.as_str()) {
            let program = prepare(&record, &self.layout, &self.data)?;
            self.ask(Order::Start { program, center: record.center.to_string() }).await?;
        }
        self.status(id).await
    }

    async fn status(&self, id: &str) -> anyhow::Result<Response<Full<Bytes>>> {
        let Some(record) = records(&self.data)?.into_iter().find(|record| record.id == id) else {
            return Ok(reply(StatusCode::NOT_FOUND, &json!({ "message": "no such place" })));
        };
        let running = self.ask(Order::List).await?;
        let process = running.iter().find(|process| process.name == record.unit.as_str());
        let state = match process.map(|process| process.state) {
            None => PlaceState::Creating,
            // A pause is no loss: what is paused may be serving in a moment.
            Some(ProcessState::Running | ProcessState::Paused) => PlaceState::Ready,
            Some(ProcessState::Down | ProcessState::Restarting) => PlaceState::Lost,
        };
        let Record { id, unit, center, ports, .. } = record;
        let place = Place { id, unit, center, state, ports };
        Ok(reply(StatusCode::OK, &serde_json::to_value(place)?))
    }

    async fn destroy(&self, id: &str) -> anyhow::Result<Response<Full<Bytes>>> {
        let gone = || Ok(reply(StatusCode::NO_CONTENT, &serde_json::Value::Null));
        let Some(record) = records(&self.data)?.into_iter().find(|record| record.id == id) else {
            return gone();
        };
        let name = record.unit.to_string();
        let left = self.ask(Order::End { name: name.clone() }).await?;
        if left.iter().any(|process| process.name == name) {
            return Ok(reply(StatusCode::ACCEPTED, &json!({ "message": "its agent ends" })));
        }
        Pki::new(&self.data.pki()).remove_rented(&name)?;
        let dir = dir(&self.data, id);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        // Last: as long as it is there, all this is found again.
        fs::remove_file(file(&self.data, id)).context("forget the place")?;
        gone()
    }

    async fn ask(&self, request: Order) -> anyhow::Result<Vec<ProcessInfo>> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { request, answer }).await.context("the supervisor is gone")?;
        match answered.await.context("the supervisor is gone")? {
            Answer::Ok(processes) => Ok(processes),
            Answer::Error(text) => bail!("{text}"),
        }
    }
}

/// Ids become names of files.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Ports for a new place, or why there can be none.
fn allot(
    id: &str,
    order: &PlaceOrder,
    layout: &Layout,
    known: &[Record],
) -> Result<Record, Refused> {
    let PlaceOrder { unit, center, .. } = order;
    if plan(layout, center).is_none() {
        let centers: Vec<_> = layout.centers.iter().map(|plan| plan.center.as_str()).collect();
        return Err(Refused(format!("there is no center {center}: {}", centers.join(", "))));
    }
    let taken = known.iter().map(|record| &record.unit);
    if layout.centers.iter().map(|plan| &plan.unit).chain(taken).any(|taken| taken == unit) {
        return Err(Refused(format!("there is a place for {unit} already: choose another name")));
    }
    let free = layout
        .rentable()
        .find(|(_, ports)| known.iter().all(|record| record.ports.first != ports.first));
    let Some((agent_port, ports)) = free else {
        let rented = known.len();
        return Err(Refused(format!(
            "all {rented} places of this machine are rented: return one (`polis unit list`)"
        )));
    };
    Ok(Record { id: id.into(), unit: unit.clone(), center: center.clone(), agent_port, ports })
}

fn plan<'a>(layout: &'a Layout, center: &CenterName) -> Option<&'a CenterPlan> {
    layout.centers.iter().find(|plan| plan.center == *center)
}

/// Issues what its agent and its services need, and says how to start it.
fn prepare(record: &Record, layout: &Layout, data: &DataDir) -> anyhow::Result<Program> {
    let plan = plan(layout, &record.center).context("its center is gone")?;
    let unit = record.unit.as_str();
    Pki::new(&data.pki()).prepare_rented(unit, plan.address)?;
    let dir = dir(data, &record.id);
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let options = ServerOptions {
        roles: Some(vec![Role::Agent]),
        center: Some(record.center.clone()),
        city: Some(plan.city.clone()),
        unit: Some(record.unit.clone()),
        data_dir: Some(dir.clone()),
        identity_dir: Some(data.pki().join("units").join(unit)),
        api_address: Some(plan.api()),
        agent_address: Some((plan.address, record.agent_port).into()),
        worker_threads: Some(1),
        pods_die_with_agent: Some(true),
        ..ServerOptions::default()
    };
    let config = dir.join("server.toml");
    fs::write(&config, toml::to_string(&options)?)
        .with_context(|| format!("write {}", config.display()))?;
    Ok(Program {
        name: unit.to_owned(),
        args: vec!["server".into(), format!("--config={}", config.display())],
        log: data.logs().join(format!("{unit}.log")),
        envs: Vec::new(),
        network: None,
    })
}

fn dir(data: &DataDir, id: &str) -> PathBuf {
    data.places().join(id)
}

fn file(data: &DataDir, id: &str) -> PathBuf {
    data.places().join(format!("{id}.json"))
}

fn records(data: &DataDir) -> anyhow::Result<Vec<Record>> {
    let entries = match fs::read_dir(data.places()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context("read the places")?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.context("read the places")?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let record = serde_json::from_slice(&text);
            records.push(record.with_context(|| format!("parse {}", path.display()))?);
        }
    }
    Ok(records)
}

/// Durable before anything of the place is there.
fn save(data: &DataDir, record: &Record) -> anyhow::Result<()> {
    let dir = data.places();
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let (path, draft) = (file(data, &record.id), dir.join(format!("{}.new", record.id)));
    let write = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&dir)?.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

fn reply(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LayoutName;

    fn order(unit: &str, center: &str) -> PlaceOrder {
        let name = |text: &str| text.to_owned();
        PlaceOrder {
            unit: name(unit).try_into().expect("a name"),
            center: name(center).try_into().expect("a name"),
            city: "east".parse().expect("a name"),
        }
    }

    #[test]
    fn places_have_ports_of_their_own_until_there_are_none() {
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, None);
        let mut known = Vec::new();
        for (unit, center, expected) in [
            ("rz06", "east-1", Ok(7600)),
            ("rz06", "east-2", Err("there is a place for rz06 already: choose another name")),
            ("rz01", "east-1", Err("there is a place for rz01 already: choose another name")),
            (
                "rz07",
                "north-1",
                Err("there is no center north-1: east-1, east-2, south-1, south-2, west-1"),
            ),
            ("rz07", "east-1", Ok(7620)),
            ("rz08", "west-1", Ok(7640)),
            (
                "rz09",
                "east-1",
                Err("all 3 places of this machine are rented: return one (`polis unit list`)"),
            ),
        ] {
            let allotted = allot(unit, &order(unit, center), &layout, &known);
            let first = allotted.as_ref().map(|record| record.ports.first);
            assert_eq!(first.map_err(ToString::to_string), expected.map_err(Into::into), "{unit}");
            known.extend(allotted);
        }
        known.remove(0);
        let again = allot("rz06", &order("rz06", "east-1"), &layout, &known).expect("one is free");
        assert_eq!(again.ports.first, 7600);
    }

    #[test]
    fn an_id_is_no_path() {
        assert!(is_id("1f0c9a2b-5c"));
        for bad in ["", "a/b", "..", "a.json", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
