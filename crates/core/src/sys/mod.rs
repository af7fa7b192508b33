//! Every call to the operating system that the standard library does not make for us.
//!
//! One file per system behind the same small functions, so that the rest of the crate has no `cfg`. Error names and
//! texts are those of libuv, because that is what a Node.js user sees from `fs` for the same refusal.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as os;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as os;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::{PageMap, clone_contents, drop_private, next_data, reserve_part};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use portable::{PageMap, clone_contents, drop_private, next_data, reserve_part};

#[cfg(not(any(unix, windows)))]
compile_error!("mmap-ndarray needs memory-mapped files: Unix or Windows");

#[cfg(windows)]
pub(crate) use os::{Access, View, make_private, reserve_view};
#[cfg(unix)]
pub(crate) use os::{Access, flush, map_over, replace_with_zeros};
pub(crate) use os::{
    Folder, MAPS_PAST_END, advise, allow_holes, cut, file_metadata, forget, granularity, has_name, identity,
    identity_at, is_mapped, is_sparse, keep_access_list, keep_owner, link, lock, metadata, never_wait,
    open_unnamed, owner_only, page_size, populate, prefer_large_pages, raw_file, read_exact_at, read_up_to,
    release, remap, remove_abandoned, rename_new, reserve, reserve_past, resident, sync_all, unlock,
    write_all_at, write_all_from,
};

use std::fs::File;
use std::io;
use std::path::Path;

use crate::fault;

/// What can be done with the zero pages that take the place of others.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// Loads and stores, as with the pages that were there: pointers stay usable. The system may refuse them where it
    /// promises memory strictly.
    Writable,
    /// Loads only; these cost nothing anywhere.
    ReadOnly,
}

/// Makes the file `len` bytes long, zeros where it grows.
pub(crate) fn set_len(file: &File, len: u64) -> io::Result<()> {
    fault::point("ftruncate")?;
    file.set_len(len)
}

/// Brings what was written to a file to the disk, with what is needed to read it again.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    fault::point("fdatasync")?;
    os::sync_data(file)
}

/// Gives `from` the name `to`, whatever file had it, in one step; on Windows `EBUSY` where that file is in use.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("rename")?;
    os::rename_over(from, to)
}

/// Gives `from` the name `to` in two steps; `EEXIST` if something has it.
///
/// Where there are no links either (FUSE, some network disks) a file that gets the name between the two is replaced. To
/// take the name first would be safe from that, and leave an empty file when the process is killed.
#[cfg(unix)]
fn link_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    match fault::point("link").and_then(|()| std::fs::hard_link(from, to)) {
        Err(error) if matches!(error_name(&error), "EPERM" | "ENOSYS" | "ENOTSUP") => {
            return match std::fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => rename(from, to),
                Err(error) => Err(error),
            };
        }
        done => done?,
    }
    fault::point("unlink")?;
    match std::fs::remove_file(from) {
        // Somebody has done it for us, who took this process for a dead one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The libuv name of an error: `ENOENT`; `UNKNOWN` where there is none.
pub(crate) fn error_name(error: &io::Error) -> &'static str {
    describe(error).1
}

/// The libuv text of an error: `no such file or directory`; the system's own where there is none.
pub(crate) fn error_text(error: &io::Error) -> String {
    match describe(error) {
        (_, "UNKNOWN", _) => error.to_string(),
        (_, _, text) => text.to_owned(),
    }
}

/// Has `act` called when the process exits, after what was registered later; a process that is killed calls nothing.
pub(crate) fn at_exit(act: extern "C" fn()) {
    unsafe extern "C" {
        fn atexit(act: extern "C" fn()) -> std::ffi::c_int;
    }
    // SAFETY:
    // - the function of C's library, which every system here has, by its declaration.
    // - `act` stays where it is: this library is not unloaded.
    let refused = unsafe { atexit(act) } != 0;
    debug_assert!(!refused, "no memory for one more function");
}

/// The libuv number of an error: `-2` for `ENOENT` on Linux; -4094 (`UNKNOWN`) where there is none.
pub(crate) fn error_number(error: &io::Error) -> i32 {
    describe(error).0
}

/// Number, name and text as libuv gives them.
type Description = (i32, &'static str, &'static str);

const UNKNOWN: Description = (-4094, "UNKNOWN", "unknown error");

fn describe(error: &io::Error) -> Description {
    let listed = |wanted: &dyn Fn(&(i32, Description)) -> bool| {
        os::ERRORS.iter().find(|entry| wanted(entry)).map(|&(_, description)| description)
    };
    if let Some(code) = error.raw_os_error() {
        return listed(&|entry| entry.0 == code).unwrap_or(UNKNOWN);
    }
    // Errors that the standard library raises before it asks the system.
    let name = match error.kind() {
        io::ErrorKind::InvalidInput => "EINVAL",
        io::ErrorKind::OutOfMemory => "ENOMEM",
        io::ErrorKind::IsADirectory => "EISDIR",
        io::ErrorKind::AlreadyExists => "EEXIST",
        io::ErrorKind::Unsupported => "ENODEV",
        io::ErrorKind::WriteZero | io::ErrorKind::UnexpectedEof => "EIO",
        _ => return UNKNOWN,
    };
    listed(&|entry| entry.1.1 == name).unwrap_or(UNKNOWN)
}
