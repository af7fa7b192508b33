//! Arrays that become longer or shorter: what [`crate::grow`] does to the file, and what the array makes of it.
//!
//! An array that outgrows its mapping gets another one of the same file, with addresses kept ahead; whoever holds
//! the old one goes on seeing the same bytes. As the reserve is at least as long as the array, that happens seldom.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{DynMmapArray, NEXT_ID};
use crate::error::{Error, Result};
use crate::fault;
use crate::file;
use crate::format::{self, Format, Request};
use crate::grow::{Growable, Grown, Growth, read_text, reserve_for};
use crate::header::Header;
use crate::mapping::Mapping;
use crate::mapping::copied::keep;
use crate::mode::Mode;
use crate::sys;

/// How many times a header is read that is written meanwhile.
const ATTEMPTS: usize = 100;
/// Bytes of an append whose disk space is set aside before the first are written.
const RESERVED_FROM: u64 = 4 << 20;

impl Growth {
    /// Writes `len` bytes at `first`, whole elements in this machine's byte order, at byte `offset` of the new rows; straight
    /// from there where the file has the same byte order.
    ///
    /// # Errors
    /// Those of [`write_at`](Self::write_at).
    ///
    /// # Safety
    /// The bytes stay readable until this returns. Others may write them meanwhile: any mixture is a value.
    pub unsafe fn write_from(&self, offset: u64, first: *const u8, len: usize) -> Result<()> {
        if self.is_foreign() {
            let mut copy = vec![0; len];
            // SAFETY:
            // - the bytes are readable: promised by the caller.
            // - `copy` is new memory of that length, so the two do not overlap.
            unsafe { first.copy_to_nonoverlapping(copy.as_mut_ptr(), len) };
            return self.write_at(offset, &copy);
        }
        let position = self.place(offset, len)?;
        // SAFETY:
        // - the bytes are readable: promised by the caller.
        let written = unsafe { sys::write_all_from(&self.file, first, len, position) };
        written.map_err(|error| Error::io("write", &self.path, error))
    }
}

impl DynMmapArray {
    /// The axis along which the array grows: the first in C order, the last in Fortran order, complex numbers whole.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] in mode `r`; [`Error::InvalidValue`] in mode `c` and for arrays that cannot grow: parts of a file
    /// that holds others, strided ones, and those without an axis.
    pub fn growth_axis(&mut self) -> Result<usize> {
        self.growable().map(|growable| growable.axis)
    }

    fn growable(&mut self) -> Result<&Growable> {
        let path = || self.path.display();
        match self.mode {
            Mode::ReadWrite => {}
            Mode::ReadOnly => return Err(Error::ReadOnly { path: self.path.clone() }),
            Mode::CopyOnWrite => {
                return Err(Error::invalid_value(format!(
                    "{}: the array is open in mode 'c', which does not change the file; open it with 'r+' to change its length",
                    path()
                )));
            }
        }
        if self.name.as_ref().is_some_and(|name| !name.is_empty()) {
            return Err(Error::invalid_value(format!(
                "{}: a part of a file cannot change its length; save it as a file of its own, and append there",
                path()
            )));
        }
        if self.growable.is_none() {
            let file = self.mapping.file().ok_or_else(|| Error::Closed { path: self.path.clone() })?;
            self.growable = Some(Growable::new(&file, &self.header, &self.path)?);
        }
        self.growable.as_ref().ok_or_else(|| Error::Closed { path: self.path.clone() })
    }

    /// Rows there are, along the growth axis.
    fn rows(&self, axis: usize) -> u64 {
        self.header.whole_shape().get(axis).copied().unwrap_or_default()
    }

    /// Begins to give the array `n` rows, more or fewer: see [`Growth`].
    ///
    /// # Errors
    /// Those of [`growth_axis`](Self::growth_axis); [`Error::Stale`] where the path names another file;
    /// [`Error::Outdated`] where somebody else has changed the length; [`Error::InvalidState`] while a `Growth` of this mapping is there;
    /// [`Error::MappingLost`]; [`Error::TooLarge`] where the header has no room for `n`; [`Error::Io`].
    pub fn begin_resize(&mut self, n: u64) -> Result<Growth> {
        let growable = self.growable()?.clone();
        self.write_back()?;
        fault::point("stat").map_err(|error| Error::io("stat", &self.path, error))?;
        let stale = || Error::Stale { path: self.path.clone() };
        let len = file::len_of(&self.path, self.mapping.stamp().identity)?.ok_or_else(stale)?;
        Growth::begin(&self.mapping, &self.path, self.capacity, growable, &self.header, len, n)
    }

    /// Begins to append `rows` rows: see [`Growth`].
    ///
    /// # Errors
    /// Those of [`begin_resize`](Self::begin_resize).
    pub fn begin_append(&mut self, rows: u64) -> Result<Growth> {
        let axis = self.growth_axis()?;
        let n = self.rows(axis).checked_add(rows).ok_or_else(|| {
            Error::too_large(format!("{rows} rows more than there are fit into no file")).at(&self.path)
        })?;
        self.begin_resize(n)
    }

    /// Makes a committed length the array's own.
    ///
    /// # Errors
    /// Those of [`write_back`](Self::write_back), where the file is not mapped: the array is as it was, and
    /// [`refresh`](Self::refresh) takes the length.
    pub fn adopt(&mut self, grown: Grown) -> Result<()> {
        let Grown { header, growable, mapping } = grown;
        if let Some(mapping) = mapping {
            self.move_to(mapping)?;
        }
        self.restate(header, Some(growable));
        Ok(())
    }

    /// Goes on in another mapping, which sees what was stored to this one.
    fn move_to(&mut self, mapping: Mapping) -> Result<()> {
        self.write_back()?;
        mapping.follow_writes(&self.mapping, false);
        let old = std::mem::replace(&mut self.mapping, Arc::new(mapping));
        keep(&self.mapping);
        self.earlier.retain(|earlier| earlier.strong_count() > 0);
        self.earlier.push(Arc::downgrade(&old));
        Ok(())
    }

    fn restate(&mut self, header: Header, growable: Option<Growable>) {
        self.mapping.set_live(header.data_len());
        for earlier in &self.earlier {
            if let Some(earlier) = earlier.upgrade() {
                // Where that fails the mapping tries again with the next length.
                drop(earlier.restore());
                earlier.set_live(header.data_len());
            }
        }
        self.header = header;
        self.growable = growable;
        // A handle is for an array of one length.
        self.id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends rows: whole elements in this machine's byte order, in the order of the file. With `durable` they are on the disk
    /// when this returns.
    ///
    /// # Errors
    /// Those of [`begin_append`](Self::begin_append), [`Growth::write_at`] and [`Growth::commit`];
    /// [`Error::OutOfRange`] if `bytes` are not those of `rows` rows. File and array are as they were.
    pub fn append_bytes(&mut self, rows: u64, bytes: &[u8], durable: bool) -> Result<()> {
        self.append_with(rows, bytes.len() as u64, durable, |growth| growth.write_at(0, bytes))
    }

    /// As [`append_bytes`](Self::append_bytes), with `len` bytes that `write` brings to the file block by block.
    ///
    /// # Errors
    /// Those of [`append_bytes`](Self::append_bytes), and what `write` fails with.
    pub fn append_with(
        &mut self,
        rows: u64,
        len: u64,
        durable: bool,
        write: impl FnOnce(&Growth) -> Result<()>,
    ) -> Result<()> {
        let growth = self.begin_append(rows)?;
        if growth.len() != len {
            return Err(Error::out_of_range(format!(
                "{rows} rows of this array have {} bytes, got {len}",
                growth.len()
            )));
        }
        if len > RESERVED_FROM {
            growth.reserve()?;
        }
        write(&growth)?;
        let grown = growth.commit(durable)?;
        self.adopt(grown)
    }

    /// Gives the array `n` rows: new ones are zeros; where there are fewer, the file becomes shorter, and pointers to what is
    /// gone read zeros.
    ///
    /// On Windows the header says so at once, and the file becomes shorter when its last mapping is gone; a raw file cannot
    /// (`EBUSY`).
    ///
    /// # Errors
    /// Those of [`begin_resize`](Self::begin_resize), [`Growth::write_zeros`] and [`Growth::commit`]; file and array are as
    /// they were.
    pub fn resize(&mut self, n: u64) -> Result<()> {
        let growth = self.begin_resize(n)?;
        if !growth.is_empty() {
            growth.write_zeros()?;
        }
        let grown = growth.commit(false)?;
        self.adopt(grown)
    }

    /// Takes the length that the file has now; whether it is another one.
    ///
    /// A raw file is as long as its whole rows, if the array ended where the file did when it was opened; else it stays as it
    /// is, as do tensors and members of an archive.
    ///
    /// # Errors
    /// [`Error::Outdated`] where the header says anything but another length; [`Error::TooLarge`] in mode `c` past
    /// what is mapped, because changed pages cannot move: open it with `capacity`; [`Error::Closed`], [`Error::Io`], and the
    /// header's errors.
    pub fn refresh(&mut self) -> Result<bool> {
        let header = match self.header.format() {
            Format::Safetensors | Format::Npz => return Ok(false),
            Format::Raw => self.raw_now()?,
            Format::Npy | Format::Mmap => self.header_now()?,
        };
        if header == self.header {
            return Ok(false);
        }
        if !header.differs_in_length(&self.header) {
            return Err(Error::outdated(&self.path, "it holds another array now. Open it again"));
        }
        let len = header.data_len();
        if len > self.mapping.len() as u64 {
            if self.mode == Mode::CopyOnWrite {
                return Err(Error::too_large(format!(
                    "the array has grown to {len} bytes, {} are mapped, and in mode 'c' changed pages cannot move. Open it \
                     with `capacity` for its growth",
                    self.mapping.len()
                ))
                .at(&self.path));
            }
            let mapping = self.mapping.extended(len, reserve_for(len, self.capacity), &self.path)?;
            self.move_to(mapping)?;
        } else {
            self.mapping.restore().map_err(|error| Error::io("mmap", &self.path, error))?;
        }
        self.mapping.follow(&header);
        self.restate(header, None);
        Ok(true)
    }

    /// The header as the file has it now.
    fn header_now(&self) -> Result<Header> {
        let closed = || Error::Closed { path: self.path.clone() };
        let file = self.mapping.file().ok_or_else(closed)?;
        let mut attempt = 0;
        let (text, len) = loop {
            // The same before and after: it was not being written, and the length belongs to it.
            let read =
                || read_text(&file, &self.header).map_err(|error| Error::io("read", &self.path, error));
            let text = read()?;
            let len = file.metadata().map_err(|error| Error::io("fstat", &self.path, error))?.len();
            attempt += 1;
            if attempt == ATTEMPTS || read()? == text {
                break (text, len);
            }
        };
        let request =
            Request { format: Some(self.header.format()), name: self.name.clone(), strict: false, raw: None };
        format::read(&mut Cursor::new(&text), len, &request).map_err(|error| error.at(&self.path))
    }

    /// A raw array up to the end of the file, if that is where it ended.
    fn raw_now(&self) -> Result<Header> {
        let closed = || Error::Closed { path: self.path.clone() };
        let file = self.mapping.file().ok_or_else(closed)?;
        let same = || Ok(self.header.clone());
        if !self.whole {
            return same();
        }
        let Ok(growable) = Growable::new(&file, &self.header, &self.path) else { return same() };
        let one = self.header.resized(growable.axis, 1, growable.order)?.data_len();
        let len = file.metadata().map_err(|error| Error::io("fstat", &self.path, error))?.len();
        match len.saturating_sub(self.header.data_offset()).checked_div(one) {
            // No rows: what an append that failed could not take back.
            Some(_) if self.mapping.owes(&self.header, len) => same(),
            Some(rows) => self.header.resized(growable.axis, rows, growable.order),
            None => same(),
        }
    }
}
