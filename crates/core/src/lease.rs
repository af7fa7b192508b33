//! Several users of one mapping: the file's pages stay until the last has left.
//!
//! An `Arc<Mapping>` says that addresses are in use; a [`Lease`] says that the file behind them is. They differ because
//! closing takes the file away at once, while a pointer may live on in a buffer that is yet to be collected.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mapping::{Committing, Mapping, Refusal};

/// One user's claim on the file behind a mapping, from [`DynMmapArray::lease`](crate::DynMmapArray::lease) to
/// [`end`](Self::end) or drop.
///
/// When the last one ends the mapping is [retired](Mapping::retire). Whoever took none does not count.
#[derive(Debug)]
pub struct Lease {
    mapping: Arc<Mapping>,
    ended: AtomicBool,
}

impl Lease {
    /// One more user.
    ///
    /// # Errors
    /// Those of [`Mapping::enter`].
    pub(crate) fn new(mapping: &Arc<Mapping>) -> Result<Self, Refusal> {
        mapping.enter().map(|()| Self { mapping: Arc::clone(mapping), ended: AtomicBool::new(false) })
    }

    /// Gives the claim up. A second call does nothing.
    ///
    /// # Errors
    /// What the system said when the last user has left and the file's pages cannot be taken away.
    pub fn end(&self) -> io::Result<()> {
        self.leave(false)
    }
}

impl Lease {
    fn leave(&self, dropped: bool) -> io::Result<()> {
        if self.ended.swap(true, Ordering::AcqRel) { Ok(()) } else { self.mapping.leave(dropped) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nobody is left to tell; the pages go with the mapping.
        drop(self.leave(true));
    }
}

/// Work under way on the file behind a mapping: its pages stay for that long, though every lease ends meanwhile.
#[derive(Debug)]
pub(crate) struct Pin {
    mapping: Arc<Mapping>,
    commit: bool,
}

impl Pin {
    /// Begins work, which may be a commit.
    ///
    /// # Errors
    /// Those of [`Mapping::pin`].
    pub(crate) fn new(mapping: &Arc<Mapping>, commit: Option<Committing>) -> Result<Self, Refusal> {
        mapping.pin(commit).map(|()| Self { mapping: Arc::clone(mapping), commit: commit.is_some() })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // Nobody is left to tell; the pages go with the mapping.
        drop(self.mapping.unpin(self.commit));
    }
}
