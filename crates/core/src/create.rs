//! New files that appear whole or not at all.
//!
//! The data goes to a file in the same folder that has no name yet, or a temporary one, and takes the target's name in
//! one step after everything is on disk. Nobody ever sees half a file, an array mapped from a replaced file keeps its contents
//! (the old file lives on without a name), and a failure leaves what was there before.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use crate::dtype::ElementType;
use crate::error::{Error, Result};
use crate::fault;
use crate::file;
use crate::format::{self, Format, Raw, Request};
use crate::header::Header;
use crate::layout::Order;
use crate::sys::{self, Folder};

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
    file: File,
    header: Header,
    temp: Temp,
    target: PathBuf,
    path: PathBuf,
    overwrite: bool,
    capacity: u64,
    /// The file to be replaced, locked.
    held: Option<File>,
    folder: Folder,
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

        let folder = Folder::open(folder_of(&target)).map_err(failed("open"))?;
        let (file, temp) = Temp::create(&target, replaced.is_some()).map_err(failed("open"))?;
        if let Some((metadata, _)) = &replaced {
            let permissions = sys::keep_owner(&file, metadata).map_err(failed("fchown"))?;
            // Where the group is another one, a list would say what that one may do.
            let same = permissions == metadata.permissions();
            fault::point("fchmod")
                .and_then(|()| file.set_permissions(permissions))
                .map_err(failed("fchmod"))?;
            if same {
                sys::keep_access_list(&file, &target).map_err(failed("fsetxattr"))?;
            }
        }
        let len = header.file_len();
        // A raw file without elements has no bytes, and no system reserves none.
        if options.reserve && len > 0 {
            sys::reserve(&file, len).map_err(failed("fallocate"))?;
        } else {
            sys::set_len(&file, len).map_err(failed("ftruncate"))?;
        }
        sys::write_all_at(&file, &bytes, 0).map_err(failed("write"))?;
        Ok(Self {
            file,
            header,
            temp,
            target,
            path: path.to_path_buf(),
            overwrite: options.overwrite,
            capacity: options.capacity,
            held: replaced.map(|(_, held)| held),
            folder,
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

    /// Writes `bytes` at byte `offset` of the data.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the end of the array, [`Error::Io`] when the system refuses.
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
        sys::write_all_at(&self.file, bytes, position).map_err(|error| Error::io("write", &self.path, error))
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
        self.file.try_clone().map_err(|error| Error::io("dup", &self.path, error))
    }

    /// Brings the file to disk under its name.
    ///
    /// # Errors
    /// `EEXIST` where somebody made the file meanwhile and `overwrite` is off, any other [`Error::Io`]. After one with
    /// `fsync` of the folder the new file is there, whole, and only not known to outlast a power loss.
    pub fn commit(self) -> Result<()> {
        let Self { file, mut temp, target, path, overwrite, folder, held, .. } = self;
        // Kept to the end; a file that was made meanwhile is replaced on the same terms.
        let _held = if overwrite && held.is_none() && target.is_file() {
            Some(file::hold(&target, &path)?)
        } else {
            held
        };
        let failed = |syscall| move |error| Error::io(syscall, &path, error);
        fault::point("fsync").and_then(|()| file.sync_all()).map_err(failed.clone()("fsync"))?;
        if !temp.link(&file, &target, overwrite).map_err(failed.clone()("link"))? {
            let name = temp.name(&file).map_err(failed.clone()("link"))?;
            let renamed = if overwrite { sys::rename(name, &target) } else { sys::rename_new(name, &target) };
            renamed.map_err(failed.clone()("rename"))?;
        }
        temp.keep();
        sys::unlock(&file);
        folder.sync().map_err(failed("fsync"))
    }
}

/// A file on its way to a name: without one where the system has such files, else under a temporary one, which is
/// removed when dropped. A file without a name is gone with the process, however that ends.
///
/// A name outlives a killed process. So the file is locked for as long as it has a temporary one, and the first name
/// tried follows from the target's: whoever creates the target next finds the name taken, the file without a lock, and
/// removes it.
#[derive(Debug)]
struct Temp {
    target: PathBuf,
    /// Of the target's name.
    hash: u64,
    path: Option<PathBuf>,
}

impl Temp {
    /// Makes a file in the folder of `target`; one that replaces another is private until it has its permissions.
    fn create(target: &Path, private: bool) -> io::Result<(File, Self)> {
        // The same in every process of one build of this library; another build only finds nothing.
        let mut hasher = DefaultHasher::new();
        target.file_name().hash(&mut hasher);
        let mut temp = Self { target: target.to_path_buf(), hash: hasher.finish(), path: None };
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if private {
            sys::owner_only(&mut options);
        }
        if let Some(file) = sys::open_unnamed(&mut options.clone(), folder_of(target))? {
            return Ok((file, temp));
        }
        options.create_new(true);
        let file = temp.with_name(|path| {
            fault::point("create")?;
            let file = options.open(path)?;
            // Before it was locked it looked abandoned, and may be gone.
            if sys::lock(&file) && sys::has_name(&file, path) {
                Ok(file)
            } else {
                Err(io::ErrorKind::AlreadyExists.into())
            }
        })?;
        Ok((file, temp))
    }

    /// Gives a file without a name the name `target` at once, so that even a kill has nothing to leave; false where it
    /// has to be put in the place of another file, or has a name.
    fn link(&self, file: &File, target: &Path, overwrite: bool) -> io::Result<bool> {
        if self.path.is_some() {
            return Ok(false);
        }
        match sys::link(file, target) {
            Err(error) if overwrite && error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// The file's name, given to it now if it has none.
    fn name(&mut self, file: &File) -> io::Result<&Path> {
        if self.path.is_none() {
            // Nobody else knows the file, so nobody can be in the way.
            sys::lock(file);
            self.with_name(|path| sys::link(file, path))?;
        }
        Ok(self.path.as_deref().unwrap_or(Path::new("")))
    }

    /// Calls `make` with the target's temporary name, then with names that nobody has thought of, until one is free.
    fn with_name<T>(&mut self, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        let mut unique = self.hash;
        loop {
            // A fixed length whatever the target's name, which may be as long as names can be.
            let path = folder_of(&self.target).join(format!(".mmap-ndarray-{unique:016x}.tmp"));
            match make(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !sys::remove_abandoned(&path, &self.target) {
                        unique = RandomState::new().build_hasher().finish();
                    }
                }
                Err(error) => return Err(error),
                Ok(value) => {
                    self.path = Some(path);
                    return Ok(value);
                }
            }
        }
    }

    /// The file has its real name now.
    fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody is left to tell: the error that led here is already on its way to the caller.
            drop(std::fs::remove_file(path));
        }
    }
}

/// The folder that holds `path`'s name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name at the end of a chain of symbolic links, whether or not a file is there.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    // As many links as Linux follows before it says ELOOP.
    for _ in 0..40 {
        fault::point("readlink")?;
        match std::fs::read_link(&target) {
            Ok(link) => target = folder_of(&target).join(link),
            Err(_) => return Ok(target),
        }
    }
    std::fs::metadata(path).map(|_| target)
}
