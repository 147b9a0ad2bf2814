//! HTTP/2 by hand: frames that no library would send.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `GET /` of `a`.
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub struct Rude {
    pub stream: TcpStream,
}

/// What the other side said before it ended.
#[derive(Debug, Default)]
pub struct Said {
    pub goaway: Option<u32>,
    /// Reasons of streams that were reset.
    pub resets: Vec<u32>,
    pub answers: usize,
}

impl Rude {
    pub fn connect(port: u16) -> Rude {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("set a timeout");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("greet");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).expect("greet");
        Rude { stream }
    }

    /// False once the other side takes no more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads frames until `enough` or the end.
    pub fn read_until(&mut self, enough: impl Fn(&Said) -> bool) -> Said {
        let mut said = Said::default();
        while !enough(&said) {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).is_err() {
                break;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if self.stream.read_exact(&mut payload).is_err() {
                break;
            }
            let reason =
                |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
            match head[3] {
                HEADERS => said.answers += 1,
                RST_STREAM => said.resets.push(reason(0)),
                GOAWAY => said.goaway = Some(reason(4)),
                _ => {}
            }
        }
        said
    }
}
