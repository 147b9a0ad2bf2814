//! A process beside a container's own: its ends are in our hands, pipes or a
//! terminal, and it ends no later than we do.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    buffer::spare_capacity,
    fs::{Mode, OFlags},
    io::Errno,
    ioctl,
    pipe::{PipeFlags, pipe_with},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use crate::{Process, SpecError, logs::Progress};

/// ASCII's end of transmission: what a terminal takes for the end of input.
const END_OF_INPUT: u8 = 4;

/// What to start.
#[derive(Clone, Debug)]
pub struct Exec {
    pub program: String,
    pub args: Vec<String>,
    pub input: bool,
    pub stdout: bool,
    /// Never with a terminal, which has one output.
    pub stderr: bool,
    pub terminal: bool,
}

/// What was started. An end that was not asked for leads nowhere.
#[derive(Debug)]
pub struct Execution {
    pub process: Process,
    /// Of the container it was started beside.
    pub lifetime: Lifetime,
    pub input: Option<Sink>,
    pub stdout: Option<Source>,
    pub stderr: Option<Source>,
}

/// Of one attempt of a container.
#[derive(Clone, Debug)]
pub struct Lifetime(pub(crate) watch::Receiver<Progress>);

/// What a process prints.
#[derive(Debug)]
pub struct Source(AsyncFd<OwnedFd>);

/// What a process reads.
#[derive(Debug)]
pub struct Sink {
    fd: AsyncFd<OwnedFd>,
    terminal: bool,
}

/// Of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// Of the new process.
pub(crate) struct Theirs {
    pub input: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

pub(crate) struct Ours {
    pub input: Option<Sink>,
    pub stdout: Option<Source>,
    pub stderr: Option<Source>,
}

// === impl Exec ===

impl Exec {
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.program.is_empty() {
            return Err(SpecError::NoCommand);
        }
        if self.program.contains('\0') || self.args.iter().any(|arg| arg.contains('\0')) {
            return Err(SpecError::Nul { what: "the command" });
        }
        Ok(())
    }
}

pub(crate) fn ends(exec: &Exec) -> io::Result<(Ours, Theirs)> {
    if exec.terminal {
        return terminal(exec);
    }
    let (input, their_input) = match exec.input {
        true => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (Some(Sink { fd: register(write, Interest::WRITABLE)?, terminal: false }), Some(read))
        }
        false => (None, None),
    };
    let (stdout, their_stdout) = output(exec.stdout)?;
    let (stderr, their_stderr) = output(exec.stderr)?;
    let theirs = Theirs { input: their_input, stdout: their_stdout, stderr: their_stderr };
    Ok((Ours { input, stdout, stderr }, theirs))
}

fn output(wanted: bool) -> io::Result<(Option<Source>, OwnedFd)> {
    if !wanted {
        return Ok((None, File::options().write(true).open("/dev/null")?.into()));
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Some(Source(register(read, Interest::READABLE)?)), write))
}

fn terminal(exec: &Exec) -> io::Result<(Ours, Theirs)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let ours = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
    let theirs = peer(&ours)?;
    let input = match exec.input {
        true => Some(Sink { fd: register(ours.try_clone()?, Interest::WRITABLE)?, terminal: true }),
        // Resized it may be all the same.
        false => None,
    };
    let stdout = Some(Source(register(ours, Interest::READABLE)?));
    let theirs =
        Theirs { input: Some(theirs.try_clone()?), stdout: theirs.try_clone()?, stderr: theirs };
    Ok((Ours { input, stdout, stderr: None }, theirs))
}

/// The other end, unlocked, whatever is mounted at `/dev/pts`.
fn peer(ours: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    const TIOCSPTLCK: ioctl::Opcode = ioctl::opcode::write::<i32>(b'T', 0x31);
    // SAFETY: the kernel reads an int for this request (ioctl_tty(2)).
    #[allow(unsafe_code)]
    unsafe {
        ioctl::ioctl(ours, ioctl::Setter::<TIOCSPTLCK, i32>::new(0))?;
    }
    // SAFETY: the request takes flags by value and gives a new descriptor, which
    // nobody else owns.
    #[allow(unsafe_code)]
    unsafe {
        Ok(OwnedFd::from_raw_fd(ioctl::ioctl(ours, Peer)?))
    }
}

/// TIOCGPTPEER (ioctl_tty(2)): flags go in by value, a descriptor comes out.
struct Peer;

// SAFETY: the "pointer" is the flags, as this request wants them; the kernel
// writes nowhere.
#[allow(unsafe_code)]
unsafe impl ioctl::Ioctl for Peer {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> ioctl::Opcode {
        ioctl::opcode::none(b'T', 0x41)
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        std::ptr::without_provenance_mut(flags.bits() as usize)
    }

    unsafe fn output_from_ptr(
        out: ioctl::IoctlOutput,
        _: *mut core::ffi::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    // SAFETY: an `OwnedFd` gives the same open descriptor for as long as it
    // lives, and the registration ends before it does: `AsyncFd` owns both.
    #[allow(unsafe_code)]
    let fd = unsafe { AsyncFd::register_with_interest(fd, interest)? };
    Ok(fd)
}

// === impl Lifetime ===

impl Lifetime {
    /// Returns when the attempt has ended and all it printed is in its log.
    pub async fn ended(&mut self) {
        // An error says that whoever knew is gone, and so is the container.
        let _ = self.0.wait_for(|progress| progress.closed).await;
    }
}

// === impl Source ===

impl Source {
    /// Appends what is there to the spare room of `buffer`; 0 bytes are the end.
    pub async fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.0.async_io(Interest::READABLE, |fd| read(fd, buffer)).await
    }

    /// As [`Source::read`], of what was printed by now: `WouldBlock` if that is
    /// nothing.
    pub fn read_now(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        // Not by readiness, of which we may not have heard yet.
        read(self.0.get_ref(), buffer)
    }
}

fn read(fd: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        match rustix::io::read(fd, spare_capacity(buffer)) {
            Err(Errno::INTR) => {}
            // A terminal whose other end nobody has open.
            Err(Errno::IO) => return Ok(0),
            read => return Ok(read?),
        }
    }
}

// === impl Sink ===

impl Sink {
    /// An error says that nobody reads any more.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| Ok(rustix::io::write(fd, bytes)?);
            let written = self.fd.async_io(Interest::WRITABLE, write).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Nothing will follow.
    pub async fn end(self) {
        if self.terminal {
            let _ = self.write_all(&[END_OF_INPUT]).await;
        }
    }
}

// === impl Size ===

impl Size {
    /// Tells the process behind `terminal`, its input or output. Pipes have none.
    pub fn set(self, terminal: &Source) {
        /// As the kernel has it (ioctl_tty(2)).
        #[repr(C)]
        struct Window {
            rows: u16,
            columns: u16,
            pixels: [u16; 2],
        }
        const TIOCSWINSZ: ioctl::Opcode = 0x5414;
        let window = Window { rows: self.rows, columns: self.columns, pixels: [0; 2] };
        // SAFETY: the kernel reads a `winsize` for this request, which is four
        // numbers of 16 bits.
        #[allow(unsafe_code)]
        let set = unsafe {
            ioctl::ioctl(
                terminal.0.get_ref().as_fd(),
                ioctl::Setter::<TIOCSWINSZ, Window>::new(window),
            )
        };
        if let Err(error) = set {
            tracing::debug!(%error, "could not resize a terminal");
        }
    }
}
