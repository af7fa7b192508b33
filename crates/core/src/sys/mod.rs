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

#[cfg(not(any(unix, windows)))]
compile_error!("mmap-ndarray needs memory-mapped files: Unix or Windows");

pub(crate) use os::{
    Folder, MAPS_PAST_END, cut, has_name, identity, identity_at, keep_access_list, keep_owner, link, lock,
    map_again, never_wait, open_unnamed, owner_only, page_size, raw_file, read_exact_at, remove_abandoned,
    rename_new, replace_with_zeros, reserve, reserve_past, unlock, write_all_at, write_all_from,
};

use std::fs::File;
use std::io;
use std::path::Path;

use crate::fault;

/// What can be done with the zero pages that take the place of others.
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

/// Gives `from` the name `to`, whatever file had it, in one step.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("rename")?;
    std::fs::rename(from, to)
}

/// Gives `from` the name `to` in two steps; `EEXIST` if something has it.
fn link_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("link")?;
    std::fs::hard_link(from, to)?;
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
