//! Writing a whole file, keys in order: leaves are filled and written one
//! after the other, and above them one branch page for each level is kept
//! until it is full. The metas come last, so a file that was not finished is
//! no bbolt file.

use std::io::{Seek, SeekFrom, Write};

use crate::{
    Error, KEY_BYTES_MAX, VALUE_BYTES_MAX,
    meta::Meta,
    page::{self, BRANCH, ELEMENT_BYTES, FREELIST, HEADER_BYTES, LEAF, branch_words, leaf_words},
};

/// What nearly every file in the field has.
const PAGE_BYTES: usize = 4096;

/// Two metas, then a list of free pages, which is empty.
const FREELIST_PAGE: u64 = 2;
const FIRST_PAGE: u64 = 3;

/// A file in the making.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    next_page: u64,
    /// Names and root pages.
    buckets: Vec<(Vec<u8>, u64)>,
}

/// A bucket in the making. One that is dropped without [`Self::finish`] is not
/// in the file, and its pages are lost in it.
#[derive(Debug)]
#[must_use = "a bucket that is not finished is not in the file"]
pub struct BucketWriter<'a, W> {
    writer: &'a mut Writer<W>,
    name: Vec<u8>,
    last: Vec<u8>,
    leaf: Level<Vec<u8>>,
    /// From the leaves up.
    branches: Vec<Level<u64>>,
}

/// Elements of the page that is being filled.
#[derive(Debug)]
struct Level<V> {
    elements: Vec<(Vec<u8>, V)>,
    bytes: usize,
}

// === impl Writer ===

impl<W: Write + Seek> Writer<W> {
    /// `out` is empty and at its start.
    pub fn new(mut out: W) -> Result<Writer<W>, Error> {
        for _ in 0..FIRST_PAGE {
            out.write_all(&[0; PAGE_BYTES])?;
        }
        Ok(Writer { out, next_page: FIRST_PAGE, buckets: Vec::new() })
    }

    /// Begins a bucket at the top. Names must rise.
    pub fn bucket(&mut self, name: &[u8]) -> Result<BucketWriter<'_, W>, Error> {
        if self.buckets.last().is_some_and(|(last, _)| last[..] >= *name) {
            return Err(Error::Refused("bucket names must rise"));
        }
        check_key(name)?;
        Ok(BucketWriter {
            writer: self,
            name: name.to_vec(),
            last: Vec::new(),
            leaf: Level::default(),
            branches: Vec::new(),
        })
    }

    /// Writes what holds it all together, and gives back what was written to.
    pub fn finish(mut self) -> Result<W, Error> {
        let mut top: Level<Vec<u8>> = Level::default();
        for (name, root) in std::mem::take(&mut self.buckets) {
            let header = [root.to_le_bytes(), 0u64.to_le_bytes()].concat();
            top.push(name, header);
        }
        let root = self.write_leaf(&top, true)?;
        let meta = |txid| Meta {
            page_bytes: PAGE_BYTES as u32,
            root,
            freelist: FREELIST_PAGE,
            pages: self.next_page,
            txid,
        };
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&meta(0).encode(0))?;
        self.out.write_all(&meta(1).encode(1))?;
        let mut freelist = page::header(FREELIST_PAGE, FREELIST, 0, 0);
        freelist.resize(PAGE_BYTES, 0);
        self.out.write_all(&freelist)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_leaf(&mut self, level: &Level<Vec<u8>>, are_buckets: bool) -> Result<u64, Error> {
        self.write(LEAF, level, |position, key, value| {
            leaf_words(are_buckets, position, key, value.len())
        })
    }

    fn write_branch(&mut self, level: &Level<u64>) -> Result<u64, Error> {
        self.write(BRANCH, level, |position, key, page| branch_words(position, key, *page))
    }

    fn write<V: Body>(
        &mut self,
        flags: u16,
        level: &Level<V>,
        words: impl Fn(u32, usize, &V) -> [u32; 4],
    ) -> Result<u64, Error> {
        let id = self.next_page;
        let pages = (HEADER_BYTES + level.bytes).div_ceil(PAGE_BYTES);
        let count =
            u16::try_from(level.elements.len()).map_err(|_| Error::Refused("too many buckets"))?;
        let overflow = u32::try_from(pages - 1).expect("two values are below 2^44 bytes");
        let mut out = page::header(id, flags, count, overflow);
        let mut body = level.elements.len() * ELEMENT_BYTES;
        for (index, (key, value)) in level.elements.iter().enumerate() {
            let position = u32::try_from(body - index * ELEMENT_BYTES)
                .map_err(|_| Error::Refused("two values of more than 4 GiB"))?;
            for word in words(position, key.len(), value) {
                out.extend(word.to_le_bytes());
            }
            body += key.len() + value.body().len();
        }
        for (key, value) in &level.elements {
            out.extend_from_slice(key);
            out.extend_from_slice(value.body());
        }
        out.resize(pages * PAGE_BYTES, 0);
        self.out.write_all(&out)?;
        self.next_page += pages as u64;
        Ok(id)
    }
}

// === impl BucketWriter ===

impl<W: Write + Seek> BucketWriter<'_, W> {
    /// The next entry. Keys must rise.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        check_key(key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::Refused("a value is longer than bbolt takes"));
        }
        if *key <= self.last[..] {
            return Err(Error::Refused("keys must rise"));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        if !self.leaf.elements.is_empty() && !self.leaf.fits(key.len() + value.len()) {
            self.flush_leaf()?;
        }
        self.leaf.push(key.to_vec(), value.to_vec());
        Ok(())
    }

    pub fn finish(mut self) -> Result<(), Error> {
        let root = match self.branches.is_empty() {
            true => self.writer.write_leaf(&self.leaf, false)?,
            false => {
                if !self.leaf.elements.is_empty() {
                    self.flush_leaf()?;
                }
                self.close_branches()?
            }
        };
        self.writer.buckets.push((self.name, root));
        Ok(())
    }

    fn flush_leaf(&mut self) -> Result<(), Error> {
        let full = std::mem::take(&mut self.leaf);
        let first = full.elements[0].0.clone();
        let page = self.writer.write_leaf(&full, false)?;
        self.add_branch(0, first, page)
    }

    /// Adds a page to the branch of a level, which may fill it up.
    fn add_branch(&mut self, level: usize, first: Vec<u8>, page: u64) -> Result<(), Error> {
        if self.branches.len() == level {
            self.branches.push(Level::default());
        }
        let branch = &mut self.branches[level];
        // Fewer than two would not make the tree any narrower further up.
        if branch.elements.len() >= 2 && !branch.fits(first.len()) {
            let full = std::mem::take(branch);
            let its_first = full.elements[0].0.clone();
            let its_page = self.writer.write_branch(&full)?;
            self.add_branch(level + 1, its_first, its_page)?;
        }
        self.branches[level].push(first, page);
        Ok(())
    }

    /// Writes what is kept of every level, and returns the root.
    fn close_branches(&mut self) -> Result<u64, Error> {
        let mut level = 0;
        loop {
            let rest = std::mem::take(&mut self.branches[level]);
            let is_top = level + 1 == self.branches.len();
            if is_top && let [(_, only)] = rest.elements[..] {
                return Ok(only);
            }
            let first = rest.elements[0].0.clone();
            let page = self.writer.write_branch(&rest)?;
            if is_top {
                return Ok(page);
            }
            self.add_branch(level + 1, first, page)?;
            level += 1;
        }
    }
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::Refused("an empty key")),
        length if length > KEY_BYTES_MAX => Err(Error::Refused("a key is longer than bbolt takes")),
        _ => Ok(()),
    }
}

// === impl Level ===

impl<V> Default for Level<V> {
    fn default() -> Level<V> {
        Level { elements: Vec::new(), bytes: 0 }
    }
}

impl<V: Body> Level<V> {
    fn fits(&self, more: usize) -> bool {
        HEADER_BYTES + self.bytes + ELEMENT_BYTES + more <= PAGE_BYTES
    }

    fn push(&mut self, key: Vec<u8>, value: V) {
        self.bytes += ELEMENT_BYTES + key.len() + value.body().len();
        self.elements.push((key, value));
    }
}

/// What stands behind a key, outside of its element.
trait Body {
    fn body(&self) -> &[u8];
}

impl Body for Vec<u8> {
    fn body(&self) -> &[u8] {
        self
    }
}

/// The number of a page stands in the element.
impl Body for u64 {
    fn body(&self) -> &[u8] {
        &[]
    }
}
