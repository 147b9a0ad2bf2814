//! What a browser is sent to: a page that fetches, uploads and talks, and says
//! how that went.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::proxy_parts::{Act, Origin};

const PAGE: &str = include_str!("page.html");
/// Where the page says it.
pub const REPORT: &str = "/report";

/// The page does all of it once more when it is told to `again`.
pub fn site(again: Arc<AtomicBool>) -> Origin {
    Origin::start(move |asked| {
        let path = asked.head.split(' ').nth(1).unwrap_or_default();
        let text = match path {
            "/" => return Act::Answer(200, PAGE.into()),
            "/again" if again.swap(false, Ordering::SeqCst) => "yes".into(),
            "/upload" => asked.body.len().to_string(),
            _ => path.trim_start_matches('/').replace('/', " "),
        };
        Act::Answer(200, text)
    })
}

/// Says back what a WebSocket says (RFC 6455).
pub fn socket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(echo(stream)));
        }
    });
    address
}

const CLOSE: u8 = 8;

fn echo(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut key = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", value.trim());
        }
    }
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    reader.get_mut().write_all(answer.as_bytes())?;
    loop {
        let (mut head, mut mask) = ([0; 2], [0; 4]);
        reader.read_exact(&mut head)?;
        let mut length = vec![head[1] & 0x7f];
        // Two bytes more; nobody here says more than those can count.
        if length[0] == 126 {
            length.resize(3, 0);
            reader.read_exact(&mut length[1..])?;
        }
        let bytes = length.iter().skip(usize::from(length.len() > 1));
        let mut said = vec![0; bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))];
        reader.read_exact(&mut mask)?;
        reader.read_exact(&mut said)?;
        said.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        reader.get_mut().write_all(&[&head[..1], &length, &said].concat())?;
        if head[0] & 0xf == CLOSE {
            return Ok(());
        }
    }
}
