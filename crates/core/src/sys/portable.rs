//! Stand-ins where a system does not say which pages are private or where a file has holes.

use std::fs::File;
use std::io;
use std::ops::Range;

/// There is no page map here.
#[derive(Debug)]
pub(crate) struct PageMap;

#[expect(clippy::unused_self, reason = "the same signatures on every system")]
impl PageMap {
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn scan(&self, _pages: Range<usize>, _found: &mut dyn FnMut(Range<usize>)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn read(&self, _pages: Range<usize>, _found: &mut dyn FnMut(Range<usize>)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Contents are copied here.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn clone_contents(_from: &File, _to: &File) -> io::Result<bool> {
    Ok(false)
}

/// All of a file is data here.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn next_data(_file: &File, from: u64, len: u64) -> io::Result<Option<Range<u64>>> {
    Ok((from < len).then_some(from..len))
}

/// Nothing reserves space inside a file here.
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
pub(crate) fn reserve_part(_file: &File, _part: Range<u64>) -> io::Result<()> {
    Ok(())
}

/// Private pages are only taken away by mapping the file again here.
///
/// # Safety
/// None is needed: nothing is done.
pub(crate) unsafe fn drop_private(_start: *mut u8, _len: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
