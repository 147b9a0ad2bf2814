//! Reading: buckets, their entries in order, and single values.

use bytes::Bytes;

use crate::{
    Error, Source,
    meta::{META_BYTES, Meta, PAGE_BYTES_MAX, PAGE_BYTES_MIN},
    page::{HEADER_BYTES, Header, LeafElement, Page, number},
};

/// Deeper than any tree: with two keys a page this would be 2^32 pages.
const DEPTH_MAX: usize = 32;

/// A page with what follows as part of it. A leaf holds two values at least
/// when they are large, and etcd's requests are a few megabytes; far more than
/// that in one page is damage, and must not become memory.
const TREE_PAGE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The root page and the sequence, at the start of a bucket's value.
const BUCKET_HEADER_BYTES: usize = 16;

/// An open file.
#[derive(Debug)]
pub struct Bolt<S> {
    source: S,
    meta: Meta,
}

/// A bucket of it; at the top there is one that holds all the others.
#[derive(Debug)]
pub struct Bucket<'a, S> {
    bolt: &'a Bolt<S>,
    root: Root,
}

#[derive(Clone, Debug)]
enum Root {
    Page(u64),
    /// Small enough to stand in its bucket's value.
    Inline(Page),
}

/// Goes through a bucket in the order of its keys. Ends after an error.
#[derive(Debug)]
pub struct Cursor<'a, S> {
    bolt: &'a Bolt<S>,
    /// From the root down: a page, and the next of its elements.
    path: Vec<(Page, usize)>,
    /// Not looked at yet.
    root: Option<Root>,
    last: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: Bytes,
    pub value: Bytes,
    /// The value is a bucket: open it with [`Bucket::bucket`].
    pub is_bucket: bool,
}

// === impl Bolt ===

impl<S: Source> Bolt<S> {
    /// Looks at both metas and takes the newer one that is whole.
    pub fn open(source: S) -> Result<Bolt<S>, Error> {
        let length = source.length().map_err(|source| Error::Read { page: 0, source })?;
        let at = |at: u64| -> Option<Meta> {
            let mut start = [0; META_BYTES];
            source.read_at(at, &mut start).ok()?;
            Meta::decode(&start)
        };
        let first = at(0);
        let second = match first {
            Some(meta) => at(u64::from(meta.page_bytes)),
            // The first one knew the page size; look where it can be.
            None => std::iter::successors(Some(PAGE_BYTES_MIN), |bytes| bytes.checked_mul(2))
                .take_while(|bytes| *bytes <= PAGE_BYTES_MAX)
                .find_map(|bytes| at(u64::from(bytes)).filter(|meta| meta.page_bytes == bytes)),
        };
        let newest = first.into_iter().chain(second).max_by_key(|meta| meta.txid);
        let meta = newest.ok_or(Error::NoMeta)?;
        let end = meta.pages.checked_mul(u64::from(meta.page_bytes));
        if end.is_none_or(|end| end > length) {
            let problem = "the file ends before its last page";
            return Err(Error::Corrupt { page: meta.pages.saturating_sub(1), problem });
        }
        Ok(Bolt { source, meta })
    }

    /// The bucket of buckets.
    pub fn root(&self) -> Bucket<'_, S> {
        Bucket { bolt: self, root: Root::Page(self.meta.root) }
    }

    /// A bucket at the top, if there is one of that name.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_, S>>, Error> {
        self.root().bucket(name)
    }

    fn page(&self, id: u64) -> Result<Page, Error> {
        let corrupt = |problem| Error::Corrupt { page: id, problem };
        if id < 2 || id >= self.meta.pages {
            return Err(corrupt("it is not in the file, and yet part of a tree"));
        }
        let page_bytes = u64::from(self.meta.page_bytes);
        // No overflow: the end of the last page was computed before.
        let start = id * page_bytes;
        let read = |at: u64, out: &mut [u8]| {
            self.source.read_at(at, out).map_err(|source| Error::Read { page: id, source })
        };
        let mut bytes = vec![0; page_bytes as usize];
        read(start, &mut bytes)?;
        let header = Header::decode(bytes.first_chunk::<HEADER_BYTES>().expect("a page is larger"));
        if header.id != id {
            return Err(corrupt("it has the number of another page"));
        }
        let pages = u64::from(header.overflow) + 1;
        if pages > self.meta.pages - id {
            return Err(corrupt("it goes on beyond the end of the file"));
        }
        if pages * page_bytes > TREE_PAGE_BYTES_MAX {
            return Err(corrupt("it goes on for longer than any page does"));
        }
        bytes.resize((pages * page_bytes) as usize, 0);
        read(start + page_bytes, &mut bytes[page_bytes as usize..])?;
        Page::new(id, bytes.into())
    }

    fn load(&self, root: &Root) -> Result<Page, Error> {
        match root {
            Root::Page(id) => self.page(*id),
            Root::Inline(page) => Ok(page.clone()),
        }
    }
}

// === impl Bucket ===

impl<'a, S: Source> Bucket<'a, S> {
    /// The bucket of that name in this one.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'a, S>>, Error> {
        match self.find(name)? {
            Some((page, item)) if item.is_bucket => {
                Ok(Some(Bucket { bolt: self.bolt, root: Root::of(page, &item.value)? }))
            }
            _ => Ok(None),
        }
    }

    /// The value of a key that is no bucket.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let found = self.find(key)?;
        Ok(found.and_then(|(_, item)| (!item.is_bucket).then_some(item.value)))
    }

    /// Every entry, by key.
    #[must_use]
    pub fn iter(&self) -> Cursor<'a, S> {
        Cursor { bolt: self.bolt, path: Vec::new(), root: Some(self.root.clone()), last: None }
    }

    /// The entry of a key, and the page it stands in.
    fn find(&self, key: &[u8]) -> Result<Option<(u64, Item)>, Error> {
        let mut page = self.bolt.load(&self.root)?;
        for _ in 0..DEPTH_MAX {
            if page.is_leaf {
                let at = search(&page, key, |page, index| Ok(page.leaf(index)?.key))?;
                let Some(index) = at.checked_sub(1) else { return Ok(None) };
                let LeafElement { key: found, value, is_bucket } = page.leaf(index)?;
                let item = Item { key: found, value, is_bucket };
                return Ok((item.key == key).then_some((page.id, item)));
            }
            if page.len() == 0 {
                return Err(Error::Corrupt { page: page.id, problem: "a branch without pages" });
            }
            let at = search(&page, key, |page, index| Ok(page.branch(index)?.key))?;
            // A key before the first one can only be in the first page.
            page = self.bolt.page(page.branch(at.saturating_sub(1))?.page)?;
        }
        Err(Error::Corrupt { page: page.id, problem: "its tree is too deep" })
    }
}

impl<'a, S: Source> IntoIterator for &Bucket<'a, S> {
    type Item = Result<Item, Error>;
    type IntoIter = Cursor<'a, S>;

    fn into_iter(self) -> Cursor<'a, S> {
        self.iter()
    }
}

/// How many of a page's keys are at most `key`.
fn search(
    page: &Page,
    key: &[u8],
    at: impl Fn(&Page, usize) -> Result<Bytes, Error>,
) -> Result<usize, Error> {
    let (mut low, mut high) = (0, page.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if at(page, middle)?[..] <= *key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

// === impl Root ===

impl Root {
    /// From a bucket's value, which stands in `page`.
    fn of(page: u64, value: &Bytes) -> Result<Root, Error> {
        if value.len() < BUCKET_HEADER_BYTES {
            return Err(Error::Corrupt { page, problem: "a bucket without its header" });
        }
        match number(&value[..8]) {
            0 => {
                let inline = Page::new(page, value.slice(BUCKET_HEADER_BYTES..))?;
                match inline.is_leaf {
                    true => Ok(Root::Inline(inline)),
                    false => Err(Error::Corrupt { page, problem: "an inline bucket with pages" }),
                }
            }
            root => Ok(Root::Page(root)),
        }
    }
}

// === impl Cursor ===

impl<S: Source> Cursor<'_, S> {
    fn advance(&mut self) -> Result<Option<Item>, Error> {
        if let Some(root) = self.root.take() {
            self.path.push((self.bolt.load(&root)?, 0));
        }
        while let Some((page, next)) = self.path.last_mut() {
            if *next == page.len() {
                self.path.pop();
                continue;
            }
            let index = std::mem::replace(next, *next + 1);
            if page.is_leaf {
                let found = page.leaf(index)?;
                // Keys that rise also mean that no page is seen twice, and so
                // that damage cannot make this go on for ever.
                if self.last.as_ref().is_some_and(|last| *last >= found.key) {
                    return Err(Error::Corrupt { page: page.id, problem: "its keys do not rise" });
                }
                self.last = Some(found.key.clone());
                let LeafElement { key, value, is_bucket } = found;
                return Ok(Some(Item { key, value, is_bucket }));
            }
            let below = page.branch(index)?.page;
            self.descend(below)?;
        }
        Ok(None)
    }

    fn descend(&mut self, id: u64) -> Result<(), Error> {
        let page = self.bolt.page(id)?;
        let problem = match () {
            () if self.path.len() >= DEPTH_MAX => "its tree is too deep",
            () if page.len() == 0 => "it is empty, and not the only one of its bucket",
            () => {
                self.path.push((page, 0));
                return Ok(());
            }
        };
        Err(Error::Corrupt { page: id, problem })
    }
}

impl<S: Source> Iterator for Cursor<'_, S> {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Result<Item, Error>> {
        let item = self.advance();
        if item.is_err() {
            self.path.clear();
        }
        item.transpose()
    }
}
