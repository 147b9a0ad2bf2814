//! The engine alone, for profiles: `run CONFIG` serves until it is killed.

use std::path::Path;

use mesh::{Config, Proxy};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: run CONFIG")?;
    let proxy = Proxy::build(Config::load(Path::new(&file))?, Some(Path::new(&file)))?;
    let (_trigger, drain) = rt::drain::channel();
    Ok(proxy.run(drain).await?)
}
