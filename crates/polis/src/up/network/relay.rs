//! Carries the frames between two ends of a line that was parted, each
//! direction through a [`LongLine`].
//!
//! The kernel of many machines has no netem, so this stands where a center's
//! link met the bridge. Frames are taken and given as the kernel has them, with
//! what it has put off for later (checksums, cutting into packets): otherwise
//! they would arrive with checksums that nobody has worked out.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, SendFlags, recv, send, sockopt},
};
use tokio::time::Instant;

use super::long_line::{Entered, LongLine};

/// What the kernel tells of a frame: flags, kind of its parts, four lengths.
const METADATA_BYTES: usize = 10;
/// A frame that is not cut into packets yet.
const FRAME_BYTES_MAX: usize = METADATA_BYTES + 14 + 65_536;
/// So many may arrive while this thread is not scheduled.
const SOCKET_BYTES: usize = 16 << 20;
/// Frames taken in before some are given out.
const TURN_MAX: usize = 256;
/// How soon an order to end is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Of linux/if_packet.h.
const PACKET_VNET_HDR: i32 = 15;
const PACKET_IGNORE_OUTGOING: i32 = 23;

pub struct Relay {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

// === impl Relay ===

impl Relay {
    /// Between two devices, `out` from the first to the second and `back`.
    pub fn start(devices: [&str; 2], out: LongLine, back: LongLine) -> anyhow::Result<Relay> {
        let open = |device: &str| open(device).with_context(|| format!("open {device}"));
        let [first, second] = [Arc::new(open(devices[0])?), Arc::new(open(devices[1])?)];
        let ends = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to, line) in [(first.clone(), second.clone(), out), (second, first, back)] {
            let ends = ends.clone();
            let thread = std::thread::Builder::new().name("long-line".into());
            let thread = thread.spawn(move || carry(&from, &to, line, &ends));
            threads.push(thread.context("start a thread")?);
        }
        Ok(Relay { ends, threads })
    }

    /// Hands over what is under way, and ends. How many frames were lost.
    pub fn end(mut self) -> u64 {
        self.stop()
    }

    fn stop(&mut self) -> u64 {
        self.ends.store(true, Relaxed);
        // A panic in there has been told; nothing depends on it.
        self.threads.drain(..).map(|thread| thread.join().unwrap_or(0)).sum()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

fn carry(from: &OwnedFd, to: &OwnedFd, mut line: LongLine, ends: &AtomicBool) -> u64 {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    let mut refused = 0;
    let mut give = |frame: &[u8]| {
        // The device is gone, or its queue is full: as on any line.
        refused += u64::from(send(to, frame, SendFlags::empty()).is_err());
    };
    loop {
        let ending = ends.load(Relaxed);
        for _ in 0..TURN_MAX {
            let Ok((_, bytes)) = recv(from, &mut buffer[..], RecvFlags::DONTWAIT) else { break };
            let frame = &buffer[..bytes.min(FRAME_BYTES_MAX)];
            if line.enter(Instant::now(), frame, METADATA_BYTES) == Entered::Passes {
                give(frame);
            }
        }
        if ending {
            while let Some(frame) = line.leave_early() {
                give(&frame);
            }
            return refused + line.lost();
        }
        while let Some(frame) = line.leave(Instant::now()) {
            give(&frame);
        }
        let due = line.next_due().map(|due| due.saturating_duration_since(Instant::now()));
        let wait = due.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        let wait = Timespec::try_from(wait).expect("it is short");
        let mut readable = [PollFd::new(from, PollFlags::IN)];
        // Interrupted or not: what there is is looked at next.
        let _ = poll(&mut readable, Some(&wait));
    }
}

/// A socket that takes and gives all frames of a device.
fn open(device: &str) -> io::Result<OwnedFd> {
    let index = std::fs::read_to_string(format!("/sys/class/net/{device}/ifindex"))?;
    let index: i32 = index.trim().parse().map_err(io::Error::other)?;
    // In the byte order of the network, as the kernel wants it.
    let all = (libc::ETH_P_ALL as u16).to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // Of no protocol until it is bound: it would take what other devices carry.
    // SAFETY: it takes numbers, and what it gives is a new descriptor or none.
    #[allow(unsafe_code)]
    let socket = unsafe {
        match libc::socket(libc::AF_PACKET, kind, 0) {
            -1 => return Err(io::Error::last_os_error()),
            socket => OwnedFd::from_raw_fd(socket),
        }
    };
    set(&socket, PACKET_VNET_HDR)?;
    set(&socket, PACKET_IGNORE_OUTGOING)?;
    // Beyond the limit for everyone, which root may pass; less will do too.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BYTES);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: all,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `address`, which outlives the call.
    #[allow(unsafe_code)]
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn set(socket: &OwnedFd, option: i32) -> io::Result<()> {
    let on = 1_i32;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `on`, which outlives the call.
    #[allow(unsafe_code)]
    let set = unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, length)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
