//! A store on plain TCP, for trying a client against it by hand:
//! `cargo run -p polis-store --example serve -- 127.0.0.1:2379 ./data`.

use store::{Config, Store};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().ok_or("usage: serve ADDRESS FOLDER")?.parse()?;
    let folder = arguments.next().ok_or("usage: serve ADDRESS FOLDER")?;
    let store = Store::build(Config { insecure: true, ..Config::new(folder, listen) }).await?;
    println!("serving on {}", store.local_addr());
    let (trigger, drain) = rt::drain::channel();
    let running = tokio::spawn(store.run(drain));
    tokio::signal::ctrl_c().await?;
    drop(trigger);
    running.await?;
    Ok(())
}
