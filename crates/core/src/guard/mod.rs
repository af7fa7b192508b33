//! A lost page becomes an error, not a dead process.
//!
//! When the file under a mapping is made shorter, when the disk is full under a hole of it, or when a read fails, the
//! system has no page to give and no call to fail: it raises a fault (SIGBUS; an in-page error on Windows), and the
//! process dies. The guard handles that fault for the mappings of this crate: it puts zero pages in place, notes
//! what was lost, and the next [`flush`](crate::DynMmapArray::flush) reports it. Faults of anybody else go to whoever
//! handled them before.
//!
//! A fault can come on any thread in the middle of anything, so the handler may take no lock and allocate nothing.
//! What it needs to know of a mapping therefore lies in a table of atomics that is only ever added to. A slot is
//! written under a version number: one that changes while the handler reads it belongs to a mapping that is being
//! made or taken down, so it is not the one whose page was just touched.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as os;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as os;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Why pages vanished under a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// The file was made shorter.
    Truncated,
    /// The disk, or a quota, was full when a hole of the file was written to.
    NoSpace,
    /// The storage failed.
    Io,
}

impl Loss {
    /// The name: `truncated`, `no-space` or `io`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::NoSpace => "no-space",
            Self::Io => "io",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Truncated, Self::NoSpace, Self::Io].into_iter().find(|loss| loss.code() == code)
    }

    /// What a slot holds for it; 0 is for nothing lost.
    fn code(self) -> u8 {
        match self {
            Self::Truncated => 1,
            Self::NoSpace => 2,
            Self::Io => 3,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the handler must know of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Address of its first page.
    pub(crate) start: usize,
    /// Bytes of its pages.
    pub(crate) len: usize,
    /// The open file: a descriptor or a handle; [`NO_FILE`] once zero pages have taken its place, which are usable only when
    /// the guard has made them so.
    pub(crate) file: isize,
    /// Byte of the file that is at `start`.
    pub(crate) offset: u64,
    /// Whether stores reach the file.
    pub(crate) shared: bool,
    /// Whether its pages may not be stored to until the guard has made them private.
    pub(crate) read_only: bool,
}

/// The file of a region that has none any more.
pub(crate) const NO_FILE: isize = -1;

/// The place of one mapping in the table.
#[derive(Debug)]
struct Slot {
    /// Odd while the slot is being written.
    version: AtomicU64,
    /// 0 for a slot that is free.
    start: AtomicUsize,
    len: AtomicUsize,
    file: AtomicUsize,
    offset: AtomicU64,
    shared: AtomicBool,
    read_only: AtomicBool,
    lost: AtomicU8,
    /// Bytes of the region up to the end of the array; what follows is kept for its growth.
    live: AtomicUsize,
    /// Whether zero pages have taken the place of some that follow.
    strayed: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            file: AtomicUsize::new(0),
            offset: AtomicU64::new(0),
            shared: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            lost: AtomicU8::new(0),
            live: AtomicUsize::new(0),
            strayed: AtomicBool::new(false),
        }
    }

    /// Writes the slot, or frees it; the table's lock is held.
    fn write(&self, region: Option<Region>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(region.map_or(0, |region| region.start), Ordering::Relaxed);
        if let Some(Region { start: _, len, file, offset, shared, read_only }) = region {
            self.len.store(len, Ordering::Relaxed);
            self.file.store(file.cast_unsigned(), Ordering::Relaxed);
            self.offset.store(offset, Ordering::Relaxed);
            self.shared.store(shared, Ordering::Relaxed);
            self.read_only.store(read_only, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// The region, unless the slot is free or being written.
    fn read(&self) -> Option<Region> {
        let version = self.version.load(Ordering::Acquire);
        let region = Region {
            start: self.start.load(Ordering::Relaxed),
            len: self.len.load(Ordering::Relaxed),
            file: self.file.load(Ordering::Relaxed).cast_signed(),
            offset: self.offset.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
            read_only: self.read_only.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let stable = version.is_multiple_of(2) && version == self.version.load(Ordering::Relaxed);
        (stable && region.start != 0).then_some(region)
    }

    /// The region has no file from here on; says whether it had one. Safe to call where a fault has stopped a thread.
    fn take_file(&self) -> bool {
        let none = NO_FILE.cast_unsigned();
        self.file.swap(none, Ordering::AcqRel) != none
    }

    /// Notes what was lost; the first loss stays.
    fn lose(&self, loss: Loss) {
        // Nothing to do about a failed exchange: something was noted before.
        let _ = self.lost.compare_exchange(0, loss.code(), Ordering::Release, Ordering::Relaxed);
    }
}

/// A part of the table; the next one is made when this is full, and none is ever freed.
struct Table {
    slots: [Slot; 64],
    next: OnceLock<Box<Table>>,
}

impl Table {
    const fn new() -> Self {
        Self { slots: [const { Slot::new() }; 64], next: OnceLock::new() }
    }
}

static TABLE: Table = Table::new();
/// Held by whoever writes the table or installs the handler.
static WRITER: Mutex<()> = Mutex::new(());
static DISABLED: AtomicBool = AtomicBool::new(false);

/// Every part of the table there is, the first one first.
fn parts() -> impl Iterator<Item = &'static Table> {
    std::iter::successors(Some(&TABLE), |part| part.next.get().map(AsRef::as_ref))
}

/// The mapping that has `address`. Safe to call where a fault has stopped a thread.
fn find(address: usize) -> Option<(&'static Slot, Region)> {
    parts().flat_map(|part| &part.slots).find_map(|slot| {
        let region = slot.read()?;
        address.checked_sub(region.start).is_some_and(|at| at < region.len).then_some((slot, region))
    })
}

/// Leaves faults alone from now on: for a process that handles them itself.
///
/// A page that is lost then ends the process, or goes to its own handler. Mappings that exist already stay guarded.
pub fn disable() {
    DISABLED.store(true, Ordering::Relaxed);
}

/// Whether new mappings are guarded.
pub(crate) fn is_enabled() -> bool {
    !DISABLED.load(Ordering::Relaxed)
}

/// Whether a mapping may be made that needs the guard as soon as it is stored to.
pub(crate) fn can_make_private() -> bool {
    is_enabled() && os::CAN_MAKE_PRIVATE
}

/// A mapping that the guard looks after, for as long as this lives.
///
/// It must go before the addresses are given back: a later mapping there is somebody else's.
#[derive(Debug)]
pub(crate) struct Registration(&'static Slot);

impl Registration {
    /// Puts `region` under the guard, and the handler in place if it is not.
    ///
    /// # Errors
    /// What the system said when asked to install the handler.
    pub(crate) fn new(region: Region) -> io::Result<Self> {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        os::arm(region.read_only)?;
        forget_overlaps(region);
        let slot = free_slot();
        slot.lost.store(0, Ordering::Relaxed);
        slot.live.store(region.len, Ordering::Relaxed);
        slot.strayed.store(false, Ordering::Relaxed);
        slot.write(Some(region));
        Ok(Self(slot))
    }

    /// What was lost, if anything was.
    pub(crate) fn lost(&self) -> Option<Loss> {
        Loss::from_code(self.0.lost.load(Ordering::Acquire))
    }

    /// Notes a loss that was found without a fault.
    pub(crate) fn lose(&self, loss: Loss) {
        self.0.lose(loss);
    }

    /// The array ends `live` bytes after the start of the region: a fault behind that is no loss.
    pub(crate) fn set_live(&self, live: usize) {
        self.0.live.store(live, Ordering::Release);
    }

    /// Whether somebody has touched pages behind the array since the last call: zero pages hide the file there.
    #[cfg(unix)]
    pub(crate) fn take_strayed(&self) -> bool {
        self.0.strayed.swap(false, Ordering::AcqRel)
    }

    /// Notes that zero pages hide the file behind the array.
    #[cfg(unix)]
    pub(crate) fn stray(&self) {
        self.0.strayed.store(true, Ordering::Release);
    }

    /// Whether a page of it must be made private before it is stored to.
    #[cfg(unix)]
    pub(crate) fn is_read_only(&self) -> bool {
        self.0.read_only.load(Ordering::Relaxed)
    }

    /// Another file is at the region's addresses.
    pub(crate) fn set_file(&self, file: isize) {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(region) = self.0.read() {
            self.0.write(Some(Region { file, ..region }));
        }
    }

    /// The region has no file any more: zero pages that the guard makes usable one by one have taken its place, or are
    /// about to. Says whether it had one.
    ///
    /// # Errors
    /// What the system said when asked to install the handler.
    pub(crate) fn forget_file(&self) -> io::Result<bool> {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        os::arm(true)?;
        Ok(self.0.take_file())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.write(None);
    }
}

/// Empties the regions that share an address with a new one: memory that was lent is given back to the system before anybody
/// can say so here. The table's lock is held. The slots stay those of whoever has them.
fn forget_overlaps(new: Region) {
    for slot in parts().flat_map(|part| &part.slots) {
        let Some(old) = slot.read() else { continue };
        if old.start < new.start + new.len && new.start < old.start + old.len {
            slot.write(Some(Region { len: 0, ..old }));
        }
    }
}

/// A slot that no mapping has; the table's lock is held.
fn free_slot() -> &'static Slot {
    let mut part = &TABLE;
    loop {
        if let Some(slot) = part.slots.iter().find(|slot| slot.start.load(Ordering::Relaxed) == 0) {
            return slot;
        }
        part = part.next.get_or_init(|| Box::new(Table::new()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: usize) -> Region {
        Region { start, len: 4096, file: 5, offset: 7, shared: true, read_only: false }
    }

    #[test]
    fn finds_each_of_many_mappings_and_forgets_those_that_are_gone() {
        // Addresses that no mapping of this process can have.
        let base = usize::MAX / 2;
        let registered: Vec<_> = (0..200)
            .map(|n| (region(base + n * 8192), Registration::new(region(base + n * 8192)).unwrap()))
            .collect();
        for (expected, registration) in &registered {
            for (address, found) in
                [(expected.start, true), (expected.start + 4095, true), (expected.start + 4096, false)]
            {
                assert_eq!(find(address).map(|(_, region)| region), found.then_some(*expected));
            }
            assert_eq!(registration.lost(), None);
        }
        let starts: Vec<usize> = registered.iter().map(|(region, _)| region.start).collect();
        drop(registered);
        assert!(starts.into_iter().all(|start| find(start).is_none()));
    }

    #[test]
    fn keeps_the_first_loss_and_starts_anew_with_each_mapping() {
        let start = usize::MAX / 4;
        let first = Registration::new(region(start)).unwrap();
        let (slot, _) = find(start).unwrap();
        slot.lose(Loss::NoSpace);
        slot.lose(Loss::Truncated);
        assert_eq!(first.lost(), Some(Loss::NoSpace));
        assert_eq!([first.forget_file().unwrap(), first.forget_file().unwrap()], [true, false]);
        assert_eq!(find(start).map(|(_, region)| region.file), Some(NO_FILE));
        drop(first);
        assert_eq!(Registration::new(region(start)).unwrap().lost(), None);
    }

    #[test]
    fn a_mapping_at_the_addresses_of_an_older_one_takes_them_over() {
        let start = usize::MAX / 8;
        let old = Registration::new(region(start)).unwrap();
        old.lose(Loss::Io);
        let beside = Registration::new(region(start + 4096)).unwrap();
        let new = Registration::new(Region { file: 9, ..region(start) }).unwrap();
        assert_eq!(find(start).map(|(_, region)| region.file), Some(9));
        assert_eq!(find(start + 4096).map(|(_, region)| region), Some(region(start + 4096)));
        // Whoever had them keeps what it knows, and takes nothing away.
        assert_eq!((old.lost(), new.lost()), (Some(Loss::Io), None));
        old.set_file(7);
        drop(old);
        assert_eq!(find(start).map(|(_, region)| region.file), Some(9));
        drop((new, beside));
        assert!(find(start).is_none());
    }
}
