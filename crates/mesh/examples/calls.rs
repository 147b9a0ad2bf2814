//! Both ends of calls of Bolt, for profiles of what is between them.
//!
//!   calls provider ADDRESS                            answers each call at once
//!   calls load ADDRESS CONNECTIONS UNDER_WAY SECONDS  and says how many it made

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use rpc::bolt::{self, Command, FRAME_BYTES_MAX, Frame, Head, Kind, sofa};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout_at},
};

type Failed = Box<dyn std::error::Error>;

/// What a payment takes, about.
const CONTENT: &[u8] = &[b'x'; 300];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().collect();
    let address: SocketAddr = args.get(2).ok_or("an address is missing")?.parse()?;
    let number =
        |at: usize| args.get(at).ok_or("a number is missing")?.parse::<u32>().map_err(Failed::from);
    match args[1].as_str() {
        "provider" => provider(address).await,
        "load" => load(address, number(3)?, number(4)?, number(5)?).await,
        other => Err(format!("`{other}` is neither `provider` nor `load`").into()),
    }
}

async fn provider(address: SocketAddr) -> Result<(), Failed> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(exchange(stream, |frame| {
            if frame.is_heartbeat() {
                return Some(frame.heartbeat_answer());
            }
            let head = Head {
                kind: Kind::Response { status: 0 },
                command: Command::RESPONSE,
                ..frame.head()
            };
            Some(Frame::new(head, sofa::RESPONSE_CLASS, &CONTENT[..100]))
        }));
    }
}

async fn load(
    address: SocketAddr,
    connections: u32,
    under_way: u32,
    seconds: u32,
) -> Result<(), Failed> {
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds.into());
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(address).await?;
        let mut first = Vec::new();
        for id in 0..under_way {
            first.extend_from_slice(&bytes(call(id)));
        }
        stream.write_all(&first).await?;
        clients.push(tokio::spawn(async move {
            let mut calls = 0u64;
            let carried = exchange(stream, |frame| {
                calls += 1;
                Some(call(frame.head().id))
            });
            let _ = timeout_at(until, carried).await;
            calls
        }));
    }
    let mut calls = 0;
    for client in clients {
        calls += client.await?;
    }
    println!("{calls} calls, {:.0} a second", calls as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Answers each frame with what `answer` says, many at once as they come.
async fn exchange(
    mut stream: TcpStream,
    mut answer: impl FnMut(Frame) -> Option<Frame>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(64 << 10);
    let mut output = Vec::new();
    while stream.read_buf(&mut input).await? > 0 {
        while let Some(frame) =
            bolt::next(&mut input, FRAME_BYTES_MAX).map_err(std::io::Error::other)?
        {
            output.extend(answer(frame).into_iter().flat_map(bytes));
        }
        stream.write_all(&output).await?;
        output.clear();
    }
    Ok(())
}

fn call(id: u32) -> Frame {
    let head = Head {
        version: bolt::Version::V1,
        kind: Kind::Request { timeout_ms: 5_000 },
        command: Command::REQUEST,
        command_version: 1,
        id,
        codec: bolt::HESSIAN,
    };
    let mut frame = Frame::new(head, sofa::REQUEST_CLASS, CONTENT);
    for (name, value) in [
        (sofa::SERVICE, "com.bank.Pay:1.0"),
        (sofa::METHOD, "pay"),
        (sofa::TARGET_APP, "payments"),
        ("polis-uid", "2088000000000421"),
    ] {
        frame.set_header(name, value).expect("there is room");
    }
    frame
}

fn bytes(frame: Frame) -> Bytes {
    frame.into_parts().into_bytes()
}
