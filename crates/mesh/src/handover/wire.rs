//! What is said between two proxies: JSON behind its length, and sockets.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// A list of every listener is far smaller.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The kernel takes 253 in one message.
const FDS_PER_MESSAGE: usize = 64;

/// A socket that comes to a process without a free file descriptor is closed by
/// the kernel.
pub(super) const NO_ROOM: io::ErrorKind = io::ErrorKind::QuotaExceeded;

pub(super) async fn send(stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let bytes = [&length.to_be_bytes()[..], &body].concat();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    exactly(stream, &mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut body = vec![0; length];
    exactly(stream, &mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Not one byte more: sockets come with a byte of their own, and reading that
/// byte as text would lose them.
async fn exactly(stream: &UnixStream, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.readable().await?;
        match stream.try_read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn send_fds(stream: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in fds.chunks(FDS_PER_MESSAGE) {
        let send = || {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let pushed = control.push(SendAncillaryMessage::ScmRights(some));
            assert!(pushed, "there is space for as many");
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(sendmsg(stream, &[IoSlice::new(b"s")], &mut control, flags)?)
        };
        stream.async_io(Interest::WRITABLE, send).await?;
    }
    Ok(())
}

pub(super) async fn receive_fds(stream: &UnixStream, expected: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::with_capacity(expected);
    while fds.len() < expected {
        let receive = || {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
            let mut some: Vec<OwnedFd> = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    some.extend(rights);
                }
            }
            Ok((received.bytes, some))
        };
        let (bytes, some) = stream.async_io(Interest::READABLE, receive).await?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if some.is_empty() {
            return Err(io::Error::new(NO_ROOM, "a socket was sent and did not arrive"));
        }
        fds.extend(some);
    }
    Ok(fds)
}
