//! Linux, macOS and the BSDs. Past 400 lines: one small function for each call, with the facts of its safety.

mod pages;

pub(crate) use pages::{advise, forget, populate, resident};

use std::ffi::CString;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::file::Identity;

use super::Zeros;
use crate::fault;

/// Opens without ever waiting: a FIFO without a writer would hold the caller up for ever.
pub(crate) fn never_wait(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(libc::O_NONBLOCK)
}

/// What is at a path, links followed.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    std::fs::metadata(path)
}

/// What an open file is.
pub(crate) fn file_metadata(file: &File) -> io::Result<Metadata> {
    file.metadata()
}

/// Brings the bytes of a file to the disk, and what is needed to find them again.
///
/// The standard library asks for `F_FULLFSYNC` on macOS, which network disks do not have.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data().or_else(|error| plain_sync(file, error))
}

/// Brings a file, or a folder, to the disk.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all().or_else(|error| plain_sync(file, error))
}

/// What a file system without `F_FULLFSYNC` has instead.
#[cfg(target_vendor = "apple")]
fn plain_sync(file: &File, error: io::Error) -> io::Result<()> {
    if !matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::ENOTTY | libc::EINVAL)) {
        return Err(error);
    }
    // SAFETY:
    // - the descriptor is open: `file` is borrowed for the call, which touches no memory of ours.
    let done = unsafe { libc::fsync(file.as_raw_fd()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The standard library has asked for all there is.
#[cfg(not(target_vendor = "apple"))]
fn plain_sync(_file: &File, error: io::Error) -> io::Result<()> {
    Err(error)
}

/// What tells an open file from every other.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    file.metadata().map(|metadata| identity_of(&metadata))
}

/// What tells the file at `path`, links followed, from every other, and its length; `None` where there is none.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<(Identity, u64)>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some((identity_of(&metadata), metadata.len()))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn identity_of(metadata: &Metadata) -> Identity {
    // Elsewhere than on Linux setting a file's times can move that of its birth.
    let born = metadata.created().ok().filter(|_| cfg!(any(target_os = "linux", target_os = "android")));
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Identity {
        device: metadata.dev(),
        file: metadata.ino(),
        born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or_default(),
    }
}

/// Gives back the lock of a file that is locked.
pub(crate) fn release(file: &File) -> io::Result<()> {
    file.unlock()
}

/// Creates the file readable by its owner alone, until it gets the permissions that it is meant to have.
pub(crate) fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Writes all of `bytes` at byte `offset`, without moving the file's position.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    fault::point("write")?;
    file.write_all_at(bytes, offset)
}

/// Writes `len` bytes at `first` to byte `offset`, straight from where they are.
///
/// # Safety
/// They stay readable until this returns.
pub(crate) unsafe fn write_all_from(
    file: &File,
    mut first: *const u8,
    mut len: usize,
    mut offset: u64,
) -> io::Result<()> {
    fault::point("write")?;
    while len > 0 {
        let Ok(at) = libc::off_t::try_from(offset) else {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        };
        // SAFETY:
        // - the descriptor is open: `file` is borrowed for the call.
        // - pwrite reads at most `len` bytes from `first` on, which the caller promises; memory that is not there is EFAULT.
        let written = unsafe { libc::pwrite(file.as_raw_fd(), first.cast(), len, at) };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                first = first.wrapping_add(written);
                len -= written;
                offset = offset.saturating_add(written as u64);
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Reads from byte `offset` of a file on, and says how many bytes: fewer than asked for where it ends before.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(bytes.get_mut(done..).unwrap_or_default(), offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Fills `bytes` from byte `offset` of a file on; `UnexpectedEof` where it ends before.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

/// Whether an error says that the file is mapped: here it never does.
pub(crate) fn is_mapped(_error: &io::Error) -> bool {
    false
}

/// Makes the file `len` bytes long, which is shorter than it was.
pub(crate) fn cut(file: &File, len: u64) -> io::Result<()> {
    super::set_len(file, len)
}

/// Every file may have holes here.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn allow_holes(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Whether a file has fewer blocks than bytes: holes.
pub(crate) fn is_sparse(metadata: &Metadata) -> bool {
    metadata.blocks().saturating_mul(512) < metadata.len()
}

/// Opens a file that has no name yet in `folder`, where the system and the file system have such files.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn open_unnamed(options: &mut OpenOptions, folder: &Path) -> io::Result<Option<File>> {
    // `link` finds the file through /proc.
    if !Path::new("/proc/self/fd").exists() {
        return Ok(None);
    }
    match fault::point("O_TMPFILE").and_then(|()| options.custom_flags(libc::O_TMPFILE).open(folder)) {
        Ok(file) => Ok(Some(file)),
        // What file systems and kernels without O_TMPFILE say.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Gives a file without a name the name `path`; `EEXIST` if something has it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn link(file: &File, path: &Path) -> io::Result<()> {
    fault::point("linkat")?;
    let (from, to) = (c_path(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))?, c_path(path)?);
    // SAFETY:
    // - both pointers are to strings that end with NUL and outlive the call; linkat keeps neither.
    let done = unsafe {
        libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// No files without names here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn open_unnamed(_options: &mut OpenOptions, _folder: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Never called: there are no files without names here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn link(_file: &File, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Locks a file, to say that it is being written; false where another process is about to remove it as abandoned.
///
/// File systems without locks have no abandoned files either: nobody can find out.
pub(crate) fn lock(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// The file is what it was meant to be.
pub(crate) fn unlock(file: &File) {
    // It fails where there are no locks; in any other case closing the file unlocks it as well.
    drop(file.unlock());
}

/// Whether `path` is a name of this very file, and not a link to it.
pub(crate) fn has_name(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(named)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (file.dev(), file.ino()) == (named.dev(), named.ino())
}

/// Removes the name `path`, which was for a file on its way to `target`, if nobody has that file locked; whether that was
/// done.
///
/// The lock is held until the name is gone, and only its holder removes a name: between the look at the name and the
/// removal it cannot become another file's. A file that has come to its target needs its first name no more, whoever
/// has it locked.
pub(crate) fn remove_abandoned(path: &Path, target: &Path) -> bool {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    options.open(path).is_ok_and(|file| {
        let abandoned = has_name(&file, target) || file.try_lock().is_ok();
        abandoned && has_name(&file, path) && std::fs::remove_file(path).is_ok()
    })
}

/// Gives a file the owner and group of the one that it replaces, as far as this process may; returns the permissions
/// that it is to get.
///
/// Whoever may not give files away keeps the group if it is one of theirs. Where even that cannot be, what the group
/// was allowed would go to another one: then it is allowed what everybody is.
pub(crate) fn keep_owner(file: &File, replaced: &Metadata) -> io::Result<Permissions> {
    let (owner, group) = (Some(replaced.uid()), Some(replaced.gid()));
    let mode = replaced.mode();
    for owner in [owner, None] {
        match fault::point("fchown").and_then(|()| fchown(file, owner, group)) {
            Err(error) if is_refusal(&error) => {}
            done => return done.map(|()| Permissions::from_mode(mode)),
        }
    }
    Ok(group_as_others(mode))
}

/// The permissions of `mode`, except that the group may do what everybody may.
fn group_as_others(mode: u32) -> Permissions {
    Permissions::from_mode((mode & !0o070) | ((mode & 0o007) << 3))
}

/// Gives a file the POSIX access list of the one at `replaced`, if that has one.
///
/// What the mode of such a file says of the group is the most that anybody on the list may do: without the list the
/// group would get it. Where a list cannot be set the group is allowed what everybody is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn keep_access_list(file: &File, replaced: &Path) -> io::Result<()> {
    let (path, name) = (c_path(replaced)?, c"system.posix_acl_access");
    // As long as attributes can be.
    let mut list = vec![0_u8; 1 << 16];
    fault::point("getxattr")?;
    // SAFETY:
    // - both names are strings that end with NUL and outlive the call.
    // - getxattr writes at most `list.len()` bytes to `list`, which is ours alone, and keeps no pointer.
    let len = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    let Ok(len) = usize::try_from(len) else {
        let error = io::Error::last_os_error();
        let none = matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP | libc::ENOSYS));
        return if none { Ok(()) } else { Err(error) };
    };
    fault::point("fsetxattr")?;
    // SAFETY:
    // - the descriptor is open: `file` is borrowed for the call.
    // - the name ends with NUL; fsetxattr reads `len` bytes of `list`, which getxattr has written, and keeps no pointer.
    let done = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), list.as_ptr().cast(), len, 0) };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if !is_refusal(&error) {
        return Err(error);
    }
    file.set_permissions(group_as_others(file.metadata()?.mode()))
}

/// No POSIX access lists here; those of macOS say nothing in the mode.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn keep_access_list(_file: &File, _replaced: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether something may not be given to a file: by this process, in this user namespace, on this file system.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

/// The descriptor as a number.
pub(crate) fn raw_file(file: &File) -> Option<isize> {
    isize::try_from(file.as_raw_fd()).ok()
}

/// Asks for large pages behind memory of our own that is about to be written for the first time: faults of 4 KiB would take
/// longer than the writing. Where the system has none, nothing is lost.
///
/// # Safety
/// The `len` bytes from `start` on are memory of the caller's.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) unsafe fn prefer_large_pages(start: *mut u8, len: usize) {
    /// Below this nothing is gained.
    const LARGE: usize = 4 << 20;
    let page = page_size();
    let skipped = start.addr().next_multiple_of(page) - start.addr();
    if len < LARGE + skipped {
        return;
    }
    // SAFETY:
    // - whole pages from the first that begins in the memory on; the advice changes nothing that is read there.
    let _ = unsafe {
        libc::madvise(start.wrapping_add(skipped).cast(), (len - skipped) / page * page, libc::MADV_HUGEPAGE)
    };
}

/// Nothing to ask for here.
///
/// # Safety
/// None is needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) unsafe fn prefer_large_pages(_start: *mut u8, _len: usize) {}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    // SAFETY:
    // - reads a number; Linux and macOS do not look anywhere but at what the process was started with.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Every system has pages; the smallest there are, should one not say.
    usize::try_from(page).ok().filter(|page| page.is_power_of_two()).unwrap_or(4096)
}

/// What the address of a mapping, and the byte of the file that is there, are multiples of.
pub(crate) fn granularity() -> usize {
    page_size()
}

/// Puts zero pages, private and without a file, in the place of the pages that hold `len` bytes from `start` on.
///
/// # Safety
/// The pages are a mapping of the caller's, and nobody has a reference to them.
pub(crate) unsafe fn replace_with_zeros(start: *mut u8, len: usize, zeros: Zeros) -> io::Result<()> {
    let page = page_size();
    let first = start.map_addr(|address| address & !(page - 1));
    let end = (start.addr() + len).next_multiple_of(page);
    let protection = match zeros {
        Zeros::Writable => libc::PROT_READ | libc::PROT_WRITE,
        Zeros::ReadOnly => libc::PROT_READ,
    };
    // SAFETY:
    // - MAP_FIXED replaces what is mapped there, which the caller says is its own and whole pages of it.
    let mapped = unsafe {
        libc::mmap(
            first.cast(),
            end - first.addr(),
            protection,
            libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What may be done with pages of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Loads and stores; stores reach the file.
    Write,
    /// Loads and stores; stores stay in this process. No memory is promised for them.
    Copy,
    /// Loads, and stores to pages that are made writable later; those stay in this process.
    Read,
}

/// Maps a file anew, private and copy-on-write, over the pages that hold `len` bytes from `start` on; `offset` is the byte
/// of the file that belongs at `start`, as far from a page boundary as that.
///
/// # Safety
/// The pages are a mapping of the caller's, and nobody has a reference to them.
pub(crate) unsafe fn remap(start: *mut u8, len: usize, file: &File, offset: u64) -> io::Result<()> {
    // SAFETY:
    // - as promised to this function.
    unsafe { map_over(start, len, file, offset, Access::Copy) }
}

/// Maps a file over the pages that hold `len` bytes from `start` on; `offset` is the byte of the file that belongs at
/// `start`, as far from a page boundary as that.
///
/// # Safety
/// The pages are the caller's, whatever is there, and nobody has a reference to them.
pub(crate) unsafe fn map_over(
    start: *mut u8,
    len: usize,
    file: &File,
    offset: u64,
    access: Access,
) -> io::Result<()> {
    let page = page_size();
    let before = start.addr() % page;
    let Some(Ok(offset)) = offset.checked_sub(before as u64).map(libc::off_t::try_from) else {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    };
    let (protection, flags) = match access {
        Access::Write => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
        Access::Copy => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_NORESERVE),
        Access::Read => (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_NORESERVE),
    };
    // SAFETY:
    // - MAP_FIXED replaces what is mapped there, which the caller says is its own and whole pages of it.
    // - the descriptor is open: `file` is borrowed for the call.
    let mapped = unsafe {
        libc::mmap(
            start.wrapping_sub(before).cast(),
            before + len,
            protection,
            flags | libc::MAP_FIXED,
            file.as_raw_fd(),
            offset,
        )
    };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether a mapping may go on past the end of its file, and shows what the file has there later.
pub(crate) const MAPS_PAST_END: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Sets disk space aside for `len` bytes from byte `offset` on, while the file stays as long as it is.
///
/// File systems that cannot do that are asked when the bytes are written.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn reserve_past(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let (Ok(start), Ok(size)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len)) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    loop {
        match fallocate(file, libc::FALLOC_FL_KEEP_SIZE, start, size) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                return Ok(());
            }
            done => return done,
        }
    }
}

/// Nothing sets space aside here; the bytes ask for it when they are written.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn reserve_past(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Brings stores to the pages that hold `len` bytes from `start` on to their file.
///
/// # Safety
/// The pages are mapped, and stay so for the length of the call.
pub(crate) unsafe fn flush(start: *mut u8, len: usize) -> io::Result<()> {
    let before = start.addr() % page_size();
    // SAFETY:
    // - whole pages that are mapped, as the caller says; the call changes nothing that is read there.
    let done = unsafe { libc::msync(start.wrapping_sub(before).cast(), before + len, libc::MS_SYNC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the file `len` bytes long with the disk space behind it, so that a full disk is an error now and not a
/// fault on a later store.
///
/// File systems that cannot reserve get a sparse file. glibc's `posix_fallocate` is not used: there it would write
/// every block.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    let Ok(size) = libc::off64_t::try_from(len) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    loop {
        match fallocate(file, 0, 0, size) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                return super::set_len(file, len);
            }
            done => return done,
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn fallocate(file: &File, mode: libc::c_int, start: libc::off64_t, len: libc::off64_t) -> io::Result<()> {
    fault::point("fallocate")?;
    // SAFETY:
    // - the descriptor is open: `file` is borrowed for the call.
    // - fallocate reads no memory of ours.
    let done = unsafe { libc::fallocate64(file.as_raw_fd(), mode, start, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the file `len` bytes long with the disk space behind it (`F_PREALLOCATE`, then `ftruncate`).
#[cfg(target_vendor = "apple")]
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    let Ok(length) = libc::off_t::try_from(len) else {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    };
    let mut wanted = libc::fstore_t {
        fst_flags: libc::F_ALLOCATEALL,
        fst_posmode: libc::F_PEOFPOSMODE,
        fst_offset: 0,
        fst_length: length,
        fst_bytesalloc: 0,
    };
    fault::point("F_PREALLOCATE")?;
    // SAFETY:
    // - the descriptor is open: `file` is borrowed for the call.
    // - F_PREALLOCATE reads and writes one fstore_t, which `wanted` is, and keeps no pointer to it.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PREALLOCATE, &raw mut wanted) };
    if done == -1 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ENOTSUP) {
            return Err(error);
        }
    }
    super::set_len(file, len)
}

/// Makes the file `len` bytes long; here nothing reserves the space behind it.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    super::set_len(file, len)
}

/// Gives `from` the name `to` if nothing has that name, in one step; `EEXIST` otherwise.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fault::point("rename exclusive").and_then(|()| rename_exclusive(from, to)) {
        // File systems without an exclusive rename: a link fails on an existing name just as well.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP)) => {
            super::link_and_remove(from, to)
        }
        done => done,
    }
}

/// Gives `from` the name `to`, and takes it from the file that has it.
pub(super) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn rename_exclusive(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY:
    // - both pointers are to strings that end with NUL and outlive the call.
    // - renameat2 keeps neither; its other arguments are numbers. (The raw call: musl has had no wrapper for long.)
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_vendor = "apple")]
fn rename_exclusive(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY:
    // - both pointers are to strings that end with NUL and outlive the call; renamex_np keeps neither.
    let done = unsafe { libc::renamex_np(from.as_ptr(), to.as_ptr(), libc::RENAME_EXCL) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_exclusive(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// A folder whose names can be made durable: after a power loss a renamed file has its new name.
///
/// It is opened before the rename, so that nothing can fail between a file that is there and a caller who is told so.
/// A folder that may be written but not read cannot be opened; its names reach the disk when the system writes them.
#[derive(Debug)]
pub(crate) struct Folder(Option<File>);

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fault::point("open folder").and_then(|()| File::open(path)) {
            Ok(folder) => Ok(Self(Some(folder))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        fault::point("fsync folder")?;
        self.0.as_ref().map_or(Ok(()), sync_all)
    }
}

/// The numbers of this system with what libuv makes of them: on Unix its number is the negated one.
macro_rules! errors {
    ($($code:expr => $name:literal $text:literal,)*) => {
        pub(super) const ERRORS: &[(i32, super::Description)] = &[$(($code, (-$code, $name, $text)),)*];
    };
}

errors! {
    libc::EACCES => "EACCES" "permission denied",
    libc::EAGAIN => "EAGAIN" "resource temporarily unavailable",
    libc::EBADF => "EBADF" "bad file descriptor",
    libc::EBUSY => "EBUSY" "resource busy or locked",
    libc::ECONNABORTED => "ECONNABORTED" "software caused connection abort",
    libc::ECONNREFUSED => "ECONNREFUSED" "connection refused",
    libc::ECONNRESET => "ECONNRESET" "connection reset by peer",
    libc::EDQUOT => "EDQUOT" "disk quota exceeded",
    libc::EEXIST => "EEXIST" "file already exists",
    libc::EFAULT => "EFAULT" "bad address in system call argument",
    libc::EFBIG => "EFBIG" "file too large",
    libc::EHOSTDOWN => "EHOSTDOWN" "host is down",
    libc::EHOSTUNREACH => "EHOSTUNREACH" "host is unreachable",
    libc::EINTR => "EINTR" "interrupted system call",
    libc::EINVAL => "EINVAL" "invalid argument",
    libc::EIO => "EIO" "i/o error",
    libc::EISDIR => "EISDIR" "illegal operation on a directory",
    libc::ELOOP => "ELOOP" "too many symbolic links encountered",
    libc::EMFILE => "EMFILE" "too many open files",
    libc::EMLINK => "EMLINK" "too many links",
    libc::ENAMETOOLONG => "ENAMETOOLONG" "name too long",
    libc::ENETDOWN => "ENETDOWN" "network is down",
    libc::ENETUNREACH => "ENETUNREACH" "network is unreachable",
    libc::ENFILE => "ENFILE" "file table overflow",
    libc::ENODEV => "ENODEV" "no such device",
    libc::ENOENT => "ENOENT" "no such file or directory",
    libc::ENOLCK => "ENOLCK" "no locks available",
    libc::ENOMEM => "ENOMEM" "not enough memory",
    libc::ENOSPC => "ENOSPC" "no space left on device",
    libc::ENOSYS => "ENOSYS" "function not implemented",
    libc::ENOTCONN => "ENOTCONN" "socket is not connected",
    libc::ENOTDIR => "ENOTDIR" "not a directory",
    libc::ENOTSUP => "ENOTSUP" "operation not supported on socket",
    libc::ENXIO => "ENXIO" "no such device or address",
    libc::EOVERFLOW => "EOVERFLOW" "value too large for defined data type",
    libc::EPERM => "EPERM" "operation not permitted",
    libc::EROFS => "EROFS" "read-only file system",
    libc::ESTALE => "ESTALE" "stale file handle",
    libc::ETIMEDOUT => "ETIMEDOUT" "connection timed out",
    libc::ETXTBSY => "ETXTBSY" "text file is busy",
    libc::EXDEV => "EXDEV" "cross-device link not permitted",
}
