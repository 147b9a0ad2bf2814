//! Where bytes are read from, at any place and without a cursor.

use std::{fs::File, io, os::unix::fs::FileExt as _};

pub trait Source {
    /// Fills `out`, or fails.
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, at)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for [u8] {
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).ok();
        let part = from.and_then(|from| self.get(from..from.checked_add(out.len())?));
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        (**self).read_at(at, out)
    }

    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }
}
