//! Open arrays found again from another thread or process, by a name that is plain data.
//!
//! A [`Handle`] says which file, which array in it, and how it was opened. In the process that made it, it leads to the
//! very mapping; anywhere else, and after the array was closed, the file is opened again. It may come from anywhere and
//! is never trusted: what it leads to is what opening the path would have given as well.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::array::{DynMmapArray, OpenOptions};
use crate::error::{Error, Result};
use crate::header::Header;
use crate::lease::Lease;
use crate::mapping::Mapping;

/// What names an open array: made by [`DynMmapArray::to_handle`], taken by [`attach`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The file. Make it absolute before it travels to a process with another current folder.
    pub path: PathBuf,
    /// How to open it again, with the identity that it must have.
    pub options: OpenOptions,
    /// A random number of the process that made the handle.
    pub process: u128,
    /// The array among those of that process.
    pub id: u64,
}

/// An array that somebody has a handle of, for as long as it is mapped.
struct Named {
    /// One for each file that it had: a commit can put a new one in the place of the first.
    handles: Vec<Handle>,
    header: Header,
    /// Whether the file ended with the array when it was opened.
    whole: bool,
    /// One, or several of the same open file where memory is lent.
    mappings: Vec<Weak<Mapping>>,
}

static NAMED: Mutex<BTreeMap<u64, Named>> = Mutex::new(BTreeMap::new());

fn named() -> MutexGuard<'static, BTreeMap<u64, Named>> {
    // Nothing runs while the lock is held that could leave the map half changed.
    NAMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The random number of this process.
pub(crate) fn this_process() -> u128 {
    static TOKEN: OnceLock<u128> = OnceLock::new();
    *TOKEN.get_or_init(|| {
        let half = || u128::from(RandomState::new().hash_one(0));
        half() << 64 | half()
    })
}

/// Makes an array known under its handle.
pub(crate) fn publish(handle: &Handle, header: &Header, whole: bool, mapping: &Arc<Mapping>) {
    let mut named = named();
    if let Some(entry) = named.get_mut(&handle.id) {
        if !entry.handles.contains(handle) {
            entry.handles.push(handle.clone());
        }
        return entry.add(mapping);
    }
    named.retain(|_, entry| entry.mappings.iter().any(|mapping| mapping.strong_count() > 0));
    let (handles, header) = (vec![handle.clone()], header.clone());
    named.insert(handle.id, Named { handles, header, whole, mappings: vec![Arc::downgrade(mapping)] });
}

/// Makes another mapping of the file that has `id` known.
#[cfg(unix)]
pub(crate) fn publish_again(id: u64, mapping: &Arc<Mapping>) {
    if let Some(entry) = named().get_mut(&id) {
        entry.add(mapping);
    }
}

impl Named {
    fn add(&mut self, mapping: &Arc<Mapping>) {
        let new = Arc::downgrade(mapping);
        self.mappings.retain(|old| old.strong_count() > 0 && !old.ptr_eq(&new));
        self.mappings.push(new);
    }
}

/// The array that `handle` was made from, if it was made in this process, over each of its mappings that is there still.
fn find(handle: &Handle) -> Vec<DynMmapArray> {
    let named = named();
    match named.get(&handle.id) {
        // All of it: a handle that was changed is a name of something else.
        Some(Named { handles, header, whole, mappings }) if handles.contains(handle) => {
            let found = |mapping| DynMmapArray::found(handle, header.clone(), *whole, mapping);
            mappings.iter().filter_map(Weak::upgrade).map(found).collect()
        }
        _ => Vec::new(),
    }
}

/// Opens what `handle` names: the same mapping in the process that made it while the array is open there, else the
/// file, opened again.
///
/// The same mapping means that stores are seen at once in every mode, and that the lock is held together: it is given back
/// when the last user has left. A file that is opened again is locked again, and private pages are not among
/// what is found there.
///
/// # Errors
/// [`Error::Stale`] where the path names another file than the handle, or none, and those of
/// [`DynMmapArray::open`].
pub fn attach(handle: &Handle) -> Result<(DynMmapArray, Lease)> {
    for array in find(handle) {
        match array.for_another() {
            Err(Error::Closed { .. }) => {}
            found => return found,
        }
    }
    let array = DynMmapArray::open(&handle.path, &handle.options)?;
    let lease = array.lease()?;
    Ok((array, lease))
}
