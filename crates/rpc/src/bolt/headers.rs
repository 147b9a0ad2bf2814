//! The flat map of a frame: `i32 length, key, i32 length, value`, again and
//! again; a length of -1 is null (`SimpleMapSerializer.java`).

use super::Error;

/// Goes through the pairs; those with a null are left out, as the peers do.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a [u8]);

// === impl Headers ===

impl<'a> Headers<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Headers<'a> {
        Headers(bytes)
    }

    /// The value of a key. Said twice, the last one counts, as in a map.
    pub fn get(self, key: &str) -> Result<Option<&'a [u8]>, Error> {
        let mut found = None;
        for pair in self {
            let (name, value) = pair?;
            if name == key.as_bytes() {
                found = Some(value);
            }
        }
        Ok(found)
    }

    /// All but one key, and that key with another value.
    pub(super) fn with(self, key: &str, value: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        for pair in self {
            let (name, old) = pair?;
            if name != key.as_bytes() {
                write(name, out);
                write(old, out);
            }
        }
        write(key.as_bytes(), out);
        write(value.as_bytes(), out);
        Ok(())
    }

    fn string(&mut self) -> Result<Option<&'a [u8]>, Error> {
        let (length, rest) = self.0.split_first_chunk().ok_or(Error::BadHeader)?;
        self.0 = rest;
        match i32::from_be_bytes(*length) {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Error::BadHeader)?;
                let (string, rest) = rest.split_at_checked(length).ok_or(Error::BadHeader)?;
                self.0 = rest;
                Ok(Some(string))
            }
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let pair = self.string().and_then(|key| Ok((key, self.string()?)));
            match pair {
                Ok((Some(key), Some(value))) => return Some(Ok((key, value))),
                Ok(_) => {}
                Err(error) => {
                    self.0 = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

fn write(string: &[u8], out: &mut Vec<u8>) {
    let length = i32::try_from(string.len()).unwrap_or(i32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(string);
}
