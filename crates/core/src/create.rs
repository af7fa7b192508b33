//! New files that appear whole or not at all.
//!
//! The data goes to a file in the same folder that has no name yet, or a temporary one, and takes the target's name in
//! one step after everything is on disk. Nobody ever sees half a file, an array mapped from a replaced file keeps its contents
//! (the old file lives on without a name), and a failure leaves what was there before.

use std::fs::File;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use crate::draft::{Draft, follow_links};
use crate::dtype::ElementType;
use crate::error::{Error, Result};
use crate::fault;
use crate::file;
use crate::format::{self, Format, Raw, Request};
use crate::header::Header;
use crate::layout::Order;
use crate::sys;

/// Bytes written at a time where a value is repeated.
const BLOCK_LEN: usize = 1 << 20;

/// What a new file is to hold.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The format to write.
    pub format: Format,
    /// The order of the elements in the file.
    pub order: Order,
    /// Replace a file that is there; `EEXIST` otherwise.
    ///
    /// The new file takes over its permissions, and its owner and group as far as the process may.
    pub overwrite: bool,
    /// Reserve the disk space first, so that a full disk is `ENOSPC` here and not a fault on a later store.
    pub reserve: bool,
    /// Bytes of address space kept ahead for growth of the array that is returned.
    pub capacity: u64,
}

impl CreateOptions {
    /// C order, no overwriting, space reserved.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, order: Order::C, overwrite: false, reserve: true, capacity: 0 }
    }

    /// The options of [`CreateOptions::new`] with the format that the file name's extension names.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a name without a known extension (`.mmap`, `.npy`, `.raw`, `.bin`).
    pub fn for_path(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default();
        let known = [Format::Mmap, Format::Npy, Format::Raw].map(|format| (format.name(), format));
        let format = known
            .into_iter()
            .chain([("bin", Format::Raw)])
            .find_map(|(name, format)| extension.eq_ignore_ascii_case(name).then_some(format))
            .ok_or_else(|| {
                Error::out_of_range(format!(
                    "{}: the extension names no format that can be written; \
                     use .mmap, .npy, .raw or .bin, or give the format",
                    path.display()
                ))
            })?;
        Ok(Self::new(format))
    }
}

/// A file being made: write the elements, then [`commit`](Writer::commit) it. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    header: Header,
    draft: Draft,
    path: PathBuf,
    overwrite: bool,
    capacity: u64,
    /// The file to be replaced, locked.
    held: Option<File>,
}

impl Writer {
    /// Starts a file for an array of `shape` (elements along each axis, complex ones whole), zeros until written to.
    ///
    /// # Errors
    /// `EEXIST` where a file is there and `overwrite` is off, [`Error::Locked`] where one is to be replaced that somebody
    /// has locked, `ENOSPC` where the space cannot be reserved, `EFBIG` past
    /// a limit on the length of files (in a process that ignores SIGXFSZ; any other is ended by it), any other
    /// [`Error::Io`]; [`Error::TooLarge`] and [`Error::UnsupportedDtype`] where the format cannot say it.
    pub fn begin(
        path: &Path,
        element: impl Into<ElementType>,
        shape: &[u64],
        options: &CreateOptions,
    ) -> Result<Self> {
        let element = element.into();
        let bytes =
            format::write_header(options.format, element, shape, options.order).map_err(|e| e.at(path))?;
        // Read back, so that the array says of itself what it will say when the file is opened again.
        let raw = (options.format == Format::Raw).then(|| Raw {
            element,
            shape: Some(shape.to_vec()),
            offset: 0,
            strides: None,
            order: options.order,
        });
        let request = Request { format: Some(options.format), raw, ..Request::default() };
        let header = format::read(&mut Cursor::new(&bytes), u64::MAX, &request).map_err(|e| e.at(path))?;
        let failed = |syscall| move |error| Error::io(syscall, path, error);

        let target = follow_links(path).map_err(failed("open"))?;
        fault::point("lstat").map_err(failed("open"))?;
        let replaced = match std::fs::symlink_metadata(&target) {
            Ok(_) if !options.overwrite => {
                return Err(Error::io("open", path, io::ErrorKind::AlreadyExists.into()));
            }
            Ok(metadata) => {
                // A rename would put a file in the place of a device or a socket.
                file::check_regular(&metadata).map_err(failed("open"))?;
                fault::point("open").map_err(failed("open"))?;
                // Whoever may not write the file may not replace it either, as with every other way of writing it.
                Some((metadata, file::hold(&target, path)?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("open", path, error)),
        };

        let draft = Draft::begin(target, path, replaced.as_ref().map(|(metadata, _)| metadata))?;
        let file = draft.file();
        let len = header.file_len();
        // A raw file without elements has no bytes, and no system reserves none.
        if options.reserve && len > 0 {
            sys::reserve(file, len).map_err(failed("fallocate"))?;
        } else {
            sys::allow_holes(file).map_err(failed("ftruncate"))?;
            sys::set_len(file, len).map_err(failed("ftruncate"))?;
        }
        sys::write_all_at(file, &bytes, 0).map_err(failed("write"))?;
        Ok(Self {
            header,
            draft,
            path: path.to_path_buf(),
            overwrite: options.overwrite,
            capacity: options.capacity,
            held: replaced.map(|(_, held)| held),
        })
    }

    /// The path that the file will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file's header says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of address space to keep ahead.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Writes elements, given as their bytes on this machine, at byte `offset` of the data.
    ///
    /// The file gets them in its own byte order: that of the type which [`begin`](Self::begin) was given, and little-endian
    /// where a format knows no other.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the end of the array, or where bytes are to change places and are no whole elements; [`Error::Io`] when the system refuses.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let len = self.header.data_len();
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= len);
        let position = self.header.data_offset().checked_add(offset);
        let (Some(_), Some(position)) = (end, position) else {
            return Err(Error::out_of_range(format!(
                "{} bytes at byte {offset} do not fit into an array of {len} bytes",
                bytes.len()
            )));
        };
        let size = self.header.dtype().itemsize();
        let swapped: Vec<u8>;
        let bytes = if self.header.byte_order().is_native() || size == 1 {
            bytes
        } else {
            if !bytes.len().is_multiple_of(size) {
                return Err(Error::out_of_range(format!(
                    "{} bytes are not whole elements of {size} bytes",
                    bytes.len()
                )));
            }
            swapped = bytes.chunks_exact(size).flat_map(|element| element.iter().rev().copied()).collect();
            &swapped
        };
        sys::write_all_at(self.draft.file(), bytes, position)
            .map_err(|error| Error::io("write", &self.path, error))
    }

    /// Gives every element the same value.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `element` is not one element in bytes, [`Error::Io`] when the system refuses.
    pub fn fill(&self, element: &[u8]) -> Result<()> {
        if element.len() != self.header.dtype().itemsize() {
            return Err(Error::out_of_range(format!(
                "one element of {} has {} bytes, got {}",
                self.header.dtype(),
                self.header.dtype().itemsize(),
                element.len()
            )));
        }
        if element.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let block = element.repeat(BLOCK_LEN / element.len());
        let len = self.header.data_len();
        for offset in (0..len).step_by(block.len()) {
            let rest = usize::try_from(len - offset).unwrap_or(usize::MAX);
            self.write_at(offset, block.get(..rest).unwrap_or(&block))?;
        }
        Ok(())
    }

    /// The file as it is so far, open for reading and writing.
    ///
    /// # Errors
    /// [`Error::Io`] when there are no more descriptors to be had.
    pub(crate) fn file(&self) -> Result<File> {
        self.draft.file().try_clone().map_err(|error| Error::io("dup", &self.path, error))
    }

    /// Brings the file to disk under its name.
    ///
    /// # Errors
    /// `EEXIST` where somebody made the file meanwhile and `overwrite` is off, any other [`Error::Io`]. After one with
    /// `fsync` of the folder the new file is there, whole, and only not known to outlast a power loss.
    pub fn commit(self) -> Result<()> {
        let Self { draft, path, overwrite, held, .. } = self;
        // Kept to the end; a file that was made meanwhile is replaced on the same terms.
        let held = if overwrite && held.is_none() && draft.target().is_file() {
            Some(file::hold(draft.target(), &path)?)
        } else {
            held
        };
        draft.sync()?;
        draft.publish(overwrite, held)
    }
}
