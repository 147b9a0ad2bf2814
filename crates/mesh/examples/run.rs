//! The engine alone, for profiles: `run CONFIG` serves until it is killed.

use std::path::PathBuf;

use mesh::{Config, Options, Proxy};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = PathBuf::from(std::env::args().nth(1).ok_or("usage: run CONFIG")?);
    let config = Config::load(&file)?;
    let proxy = Proxy::build(config, Options { file: Some(file), ..Options::default() })?;
    let (_trigger, drain) = rt::drain::channel();
    proxy.run(drain).await?;
    Ok(())
}
