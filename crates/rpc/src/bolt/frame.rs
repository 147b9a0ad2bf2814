//! One frame: cut out of what was read, looked at, changed in place.

use bytes::{Buf as _, BytesMut};

use super::{
    Command, Error, HEADER_BYTES_MAX, HESSIAN, Head, Headers, Kind, Version, head::Lengths,
};
use crate::Parts;

/// In the header of a heartbeat.
const HELLO: &str = "polis-proxy";
/// As clients of SOFARPC have it.
const HEARTBEAT_MS: u32 = 1_000;

/// The content is never copied; what stands before it is, when a header is set.
#[derive(Clone, Debug)]
pub struct Frame {
    head: Head,
    head_bytes: usize,
    class_bytes: usize,
    /// Head, class and header.
    front: BytesMut,
    content: BytesMut,
    checksum: BytesMut,
    changed: bool,
}

/// Takes the next frame off `input`; none if it is not whole yet. A frame whose
/// head claims more than `max` is refused before any of it is waited for.
pub fn next(input: &mut BytesMut, max: usize) -> Result<Option<Frame>, Error> {
    let Some((head, lengths, head_bytes)) = Head::read(input)? else { return Ok(None) };
    let checked = head.version.is_checked();
    let total = lengths.total(head_bytes, checked, max)?;
    if input.len() < total {
        return Ok(None);
    }
    let mut front = input.split_to(total);
    let class_bytes = usize::from(lengths.class);
    let mut content = front.split_off(head_bytes + class_bytes + usize::from(lengths.header));
    let checksum = content.split_off(lengths.content as usize);
    let frame = Frame { head, head_bytes, class_bytes, front, content, checksum, changed: false };
    if checked && frame.sum() != frame.checksum.as_ref().get_u32() {
        return Err(Error::Damaged);
    }
    Ok(Some(frame))
}

fn command(version: Version, kind: Kind, command: Command, id: u32) -> Head {
    Head { version, kind, command, command_version: 1, id, codec: HESSIAN }
}

// === impl Frame ===

impl Frame {
    /// With no header.
    ///
    /// # Panics
    /// If the class is longer than a frame can say: those we name are short.
    #[must_use]
    pub fn new(head: Head, class: &str, content: &[u8]) -> Frame {
        let lengths = Lengths {
            class: u16::try_from(class.len()).expect("names of classes are short"),
            header: 0,
            content: u32::try_from(content.len()).expect("answers are short"),
        };
        let mut front = Vec::new();
        head.write(lengths, &mut front);
        let head_bytes = front.len();
        front.extend_from_slice(class.as_bytes());
        Frame {
            head,
            head_bytes,
            class_bytes: class.len(),
            front: BytesMut::from(&front[..]),
            content: BytesMut::from(content),
            checksum: BytesMut::new(),
            changed: true,
        }
    }

    /// Asks a provider whether it is there.
    #[must_use]
    pub fn heartbeat(version: Version, id: u32) -> Frame {
        let kind = Kind::Request { timeout_ms: HEARTBEAT_MS };
        Frame::new(command(version, kind, Command::HEARTBEAT, id), "", &[])
    }

    /// A heartbeat that tells a provider that is a proxy of ours that we heed
    /// [`Frame::go_away`]; others read no header of a heartbeat.
    #[must_use]
    pub fn hello(version: Version, id: u32) -> Frame {
        let mut frame = Frame::heartbeat(version, id);
        frame.set_header(HELLO, "1").expect("there is room");
        frame
    }

    /// Tells who has said [`Frame::hello`] to call elsewhere. No release of
    /// SOFARPC knows it: it would close the connection.
    #[must_use]
    pub fn go_away(version: Version, id: u32) -> Frame {
        let kind = Kind::OneWay { timeout_ms: 0 };
        Frame::new(command(version, kind, Command::GO_AWAY, id), "", &[])
    }

    /// What a client asks for now and then, answered without a provider.
    #[must_use]
    pub fn heartbeat_answer(&self) -> Frame {
        let head = Head { kind: Kind::Response { status: 0 }, ..self.head };
        Frame::new(Head { command: Command::HEARTBEAT, ..head }, "", &[])
    }

    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    #[must_use]
    pub fn class(&self) -> &[u8] {
        &self.front[self.head_bytes..][..self.class_bytes]
    }

    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.front[self.head_bytes + self.class_bytes..])
    }

    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// What it takes, head and all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.front.len() + self.content.len() + self.checksum.len()
    }

    #[must_use]
    pub fn is_heartbeat(&self) -> bool {
        self.head.command == Command::HEARTBEAT
    }

    #[must_use]
    pub fn is_hello(&self) -> bool {
        self.is_heartbeat() && matches!(self.headers().get(HELLO), Ok(Some(_)))
    }

    #[must_use]
    pub fn is_go_away(&self) -> bool {
        self.head.command == Command::GO_AWAY
    }

    /// Another id, in place: calls of many clients share one connection.
    pub fn set_id(&mut self, id: u32) {
        self.head.id = id;
        self.front[self.head.version.id_at()..][..4].copy_from_slice(&id.to_be_bytes());
        self.changed = true;
    }

    /// Another timeout of a call, in place: what is left of it where it is now.
    pub fn set_timeout_ms(&mut self, ms: u32) {
        let (Kind::Request { timeout_ms } | Kind::OneWay { timeout_ms }) = &mut self.head.kind
        else {
            return;
        };
        *timeout_ms = ms;
        self.front[self.head.version.timeout_at()..][..4].copy_from_slice(&ms.to_be_bytes());
        self.changed = true;
    }

    /// Adds a header, or puts another value to it.
    pub fn set_header(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let mut header = Vec::with_capacity(self.front.len() + key.len() + value.len());
        self.headers().with(key, value, &mut header)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(Error::HeaderTooLarge(header.len()));
        }
        let lengths = Lengths {
            class: self.class_bytes as u16,
            header: header.len() as u16,
            content: self.content.len() as u32,
        };
        let mut front = Vec::with_capacity(self.head_bytes + self.class_bytes + header.len());
        self.head.write(lengths, &mut front);
        front.extend_from_slice(self.class());
        front.extend_from_slice(&header);
        self.front = BytesMut::from(&front[..]);
        self.changed = true;
        Ok(())
    }

    /// To write it.
    #[must_use]
    pub fn into_parts(mut self) -> Parts {
        if self.changed && self.head.version.is_checked() {
            self.checksum = BytesMut::from(&self.sum().to_be_bytes()[..]);
        }
        Parts::join([self.front, self.content, self.checksum])
    }

    fn sum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.front);
        hasher.update(&self.content);
        hasher.finalize()
    }
}
