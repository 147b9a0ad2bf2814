//! An API server over a store in memory, to be looked at with kubectl:
//!
//! ```text
//! cargo run -p polis-api --example serve_in_memory -- 8001
//! kubectl --server http://127.0.0.1:8001 get units
//! ```
//!
//! No TLS and no authentication: every caller on this machine may do
//! everything, and what is written is gone when it stops.

#[path = "../tests/support/memory.rs"]
mod memory;

use std::convert::Infallible;

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).unwrap_or_else(|| "8001".into()).parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("kubectl --server http://{}", listener.local_addr()?);
    let handler = api::Handler::new(memory::keyspaces(), None, rt::Pages::default());
    let caller = api::Caller::user("example", ["system:masters".to_owned()]);
    let (_trigger, drain) = rt::drain::channel();
    loop {
        let (stream, _) = listener.accept().await?;
        let (handler, caller, drain) = (handler.clone(), caller.clone(), drain.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (handler, caller, drain) = (handler.clone(), caller.clone(), drain.clone());
                async move { Ok::<_, Infallible>(handler.handle(request, &caller, &drain).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
