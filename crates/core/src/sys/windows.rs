//! Windows.

mod view;

mod pages;

pub(crate) use pages::{advise, forget, populate, resident};

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::{Component, Path, Prefix};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER,
    ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_BACKUP_SEMANTICS, FILE_TYPE_DISK, GetFileInformationByHandle,
    GetFileType, MoveFileExW,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::FSCTL_SET_SPARSE;
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

pub(crate) use view::{Access, View, make_private, reserve_view};

use crate::fault;
use crate::file::Identity;

/// Opening waits for nobody here.
pub(crate) fn never_wait(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// What is at a path, links followed; `ENODEV` for a device, of which the system says less than of a file.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    std::fs::metadata(path)
        .map_err(|error| if is_of_a_device(&error) { io::ErrorKind::Unsupported.into() } else { error })
}

/// Whether an error is what devices say when they are asked what files are asked.
fn is_of_a_device(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(i32::cast_unsigned),
        Some(ERROR_INVALID_FUNCTION | ERROR_INVALID_HANDLE | ERROR_INVALID_PARAMETER)
    )
}

/// What an open file is; `ENODEV` for a pipe or a device, which look like files otherwise.
pub(crate) fn file_metadata(file: &File) -> io::Result<Metadata> {
    // SAFETY:
    // - the handle is open: `file` is borrowed for the call.
    if unsafe { GetFileType(file.as_raw_handle()) } == FILE_TYPE_DISK {
        file.metadata()
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Brings the bytes of a file to the disk.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Brings a file to the disk.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// What tells an open file from every other.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY:
    // - the handle is open: `file` is borrowed for the call.
    // - `found` takes the result; no pointer to it is kept.
    let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Identity {
        device: found.dwVolumeSerialNumber.into(),
        file: u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow),
        // The index has a sequence number in it, so it is not used again.
        born: 0,
    })
}

/// What tells the file at `path`, links followed, from every other, and its length; `None` where there is none, or a device.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<(Identity, u64)>> {
    // No access is asked for, so no lock and no sharing of others refuses it; the flag is what folders need.
    let opened = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    match opened.and_then(|file| Ok((identity(&file)?, file.metadata()?.len()))) {
        Ok(found) => Ok(Some(found)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                || is_of_a_device(&error) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Gives back the lock of a file that is locked.
pub(crate) fn release(file: &File) -> io::Result<()> {
    match file.unlock() {
        // The standard library unlocks until there is nothing left to unlock, which Wine says in another way.
        Err(error) if error.raw_os_error() == Some(ERROR_LOCK_VIOLATION.cast_signed()) => Ok(()),
        done => done,
    }
}

/// Access follows the folder's access list here.
pub(crate) fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Writes all of `bytes` at byte `offset`; the file's position moves, and nothing here reads it.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        fault::point("write")?;
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset = offset.saturating_add(written as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes `len` bytes at `first` to byte `offset`, through a block of our own.
///
/// # Safety
/// They stay readable until this returns.
pub(crate) unsafe fn write_all_from(
    file: &File,
    first: *const u8,
    len: usize,
    offset: u64,
) -> io::Result<()> {
    let mut block = Vec::with_capacity(len.min(1 << 16));
    for start in (0..len).step_by(1 << 16) {
        let count = (len - start).min(1 << 16);
        // SAFETY:
        // - `count` bytes from there on are readable: promised by the caller.
        // - `block` is memory of our own with room for them, so the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(first.wrapping_add(start), block.as_mut_ptr(), count) };
        // SAFETY:
        // - the copy above has written `count` bytes.
        unsafe { block.set_len(count) };
        write_all_at(file, &block, offset.saturating_add(start as u64))?;
    }
    Ok(())
}

/// Reads from byte `offset` of a file on, and says how many bytes: fewer than asked for where it ends before.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_read(bytes.get_mut(done..).unwrap_or_default(), offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Fills `bytes` from byte `offset` on; the file's position moves, and nothing here reads it.
pub(crate) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = bytes.get_mut(read..).unwrap_or_default();
                offset = offset.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Marks an empty file such that zeros which nobody has written take no space; where the file system has no such files, they do.
pub(crate) fn allow_holes(file: &File) -> io::Result<()> {
    let mut returned = 0;
    // SAFETY:
    // - the handle is open, and not for overlapped work: `file` is borrowed for the call.
    // - nothing goes in or out but the number of bytes, to which no pointer is kept; null is allowed for the rest.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_SET_SPARSE,
            ptr::null(),
            0,
            ptr::null_mut(),
            0,
            &raw mut returned,
            ptr::null_mut(),
        )
    };
    if done != 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(ERROR_INVALID_FUNCTION.cast_signed()) => Ok(()),
        error => Err(error),
    }
}

/// Nothing is reserved for holes here.
pub(crate) fn is_sparse(_metadata: &Metadata) -> bool {
    false
}

/// Whether an error says that the file is mapped.
pub(crate) fn is_mapped(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_USER_MAPPED_FILE.cast_signed())
}

/// Makes the file `len` bytes long, which is shorter than it was; refused while it is [mapped](is_mapped), by whomever (`EBUSY`).
pub(crate) fn cut(file: &File, len: u64) -> io::Result<()> {
    super::set_len(file, len)
}

/// Whether a mapping may go on past the end of its file: here it would make the file longer.
pub(crate) const MAPS_PAST_END: bool = false;

/// Nothing sets space aside here; the bytes ask for it when they are written.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn reserve_past(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// No files without names here.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn open_unnamed(_options: &mut OpenOptions, _folder: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Never called: there are no files without names here.
pub(crate) fn link(_file: &File, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Abandoned files are not looked for here: locks keep others from reading, and nothing tells two files apart.
pub(crate) fn lock(_file: &File) -> bool {
    true
}

/// Nothing is locked here.
pub(crate) fn unlock(_file: &File) {}

/// A name just given to a file is its own here: nobody removes it.
pub(crate) fn has_name(_file: &File, _path: &Path) -> bool {
    true
}

/// Abandoned files are not looked for here.
pub(crate) fn remove_abandoned(_path: &Path, _target: &Path) -> bool {
    false
}

/// Ownership follows the folder here; returns the permissions that the file is to get.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn keep_owner(_file: &File, replaced: &Metadata) -> io::Result<Permissions> {
    Ok(replaced.permissions())
}

/// Access follows the folder here.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn keep_access_list(_file: &File, _replaced: &Path) -> io::Result<()> {
    Ok(())
}

/// The handle as a number.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn raw_file(file: &File) -> Option<isize> {
    Some(file.as_raw_handle() as isize)
}

/// Nothing to ask for: large pages take a privilege here.
///
/// # Safety
/// None is needed.
pub(crate) unsafe fn prefer_large_pages(_start: *mut u8, _len: usize) {}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    system_info().dwPageSize as usize
}

/// What the address of a mapping, and the byte of the file that is there, are multiples of.
pub(crate) fn granularity() -> usize {
    system_info().dwAllocationGranularity as usize
}

fn system_info() -> SYSTEM_INFO {
    let mut info = SYSTEM_INFO::default();
    // SAFETY:
    // - fills in the struct that it is given.
    unsafe { GetSystemInfo(&raw mut info) };
    info
}

/// No mapping can be replaced in one step here.
///
/// # Safety
/// None is needed: nothing is done.
pub(crate) unsafe fn remap(_start: *mut u8, _len: usize, _file: &File, _offset: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the file `len` bytes long; NTFS reserves the space behind a file that is not marked sparse.
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    super::set_len(file, len)
}

/// Gives `from` the name `to` if nothing has that name, in one step; `EEXIST` otherwise.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("MoveFileEx")?;
    let (from, to) = (wide(from)?, wide(to)?);
    // SAFETY:
    // - both pointers are to strings that end with NUL and outlive the call, which keeps neither.
    // - without MOVEFILE_REPLACE_EXISTING nothing is replaced.
    let done = unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives `from` the name `to`, and takes it from the file that has it; `EBUSY` where that one is in use.
pub(super) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to).map_err(|error| match error.raw_os_error() {
        // Said of a file that is mapped, and the caller has made sure that it may be written.
        Some(code) if code.cast_unsigned() == ERROR_ACCESS_DENIED => {
            io::Error::from_raw_os_error(ERROR_USER_MAPPED_FILE.cast_signed())
        }
        _ => error,
    })
}

/// A path as the system's own calls want it, of any length.
fn wide(path: &Path) -> io::Result<Vec<u16>> {
    let path = std::path::absolute(path)?;
    let kind = path.components().next();
    // `\\server\share` is `\\?\UNC\server\share`.
    let (prefix, cut) = match kind {
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::Disk(_)) => (r"\\?\", 0),
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..)) => (r"\\?\UNC", 1),
        _ => ("", 0),
    };
    Ok(prefix.encode_utf16().chain(path.as_os_str().encode_wide().skip(cut)).chain([0]).collect())
}

/// A folder; NTFS journals its names, so there is nothing to sync.
#[derive(Debug)]
pub(crate) struct Folder;

#[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signatures on every system")]
impl Folder {
    pub(crate) fn open(_path: &Path) -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Windows numbers with what libuv makes of them (`uv_translate_sys_error` and the numbers of uv/errno.h).
pub(super) const ERRORS: &[(i32, super::Description)] = &[
    (2, (-4058, "ENOENT", "no such file or directory")),
    (3, (-4058, "ENOENT", "no such file or directory")),
    (4, (-4066, "EMFILE", "too many open files")),
    (5, (-4048, "EPERM", "operation not permitted")),
    (8, (-4057, "ENOMEM", "not enough memory")),
    (14, (-4057, "ENOMEM", "not enough memory")),
    (17, (-4037, "EXDEV", "cross-device link not permitted")),
    (19, (-4043, "EROFS", "read-only file system")),
    (32, (-4082, "EBUSY", "resource busy or locked")),
    (33, (-4082, "EBUSY", "resource busy or locked")),
    (39, (-4055, "ENOSPC", "no space left on device")),
    (80, (-4075, "EEXIST", "file already exists")),
    (87, (-4071, "EINVAL", "invalid argument")),
    (112, (-4055, "ENOSPC", "no space left on device")),
    (123, (-4058, "ENOENT", "no such file or directory")),
    (183, (-4075, "EEXIST", "file already exists")),
    (206, (-4064, "ENAMETOOLONG", "name too long")),
    (267, (-4058, "ENOENT", "no such file or directory")),
    (1117, (-4070, "EIO", "i/o error")),
    (1224, (-4082, "EBUSY", "resource busy or locked")),
    (1450, (-4057, "ENOMEM", "not enough memory")),
    (1455, (-4057, "ENOMEM", "not enough memory")),
    // Numbers that no Windows call returns: errors of the standard library's own, looked up by name.
    (-1, (-4068, "EISDIR", "illegal operation on a directory")),
    (-2, (-4059, "ENODEV", "no such device")),
];
