//! Array files larger than memory as ndarrays: memory-mapped, in read-only, read-write and copy-on-write modes.
//!
//! This carries on `MmapArray` of scirs2-core, reads and writes its file format, and adds those of numpy and safetensors
//! and files that say nothing of themselves. It knows nothing of Node.js; the npm package `mmap-ndarray` is one of its
//! callers.
//!
//! ```
//! use mmap_ndarray_core::MmapArray;
//! use ndarray::array;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("example.npy");
//! let written = MmapArray::create(&path, &array![[1.0_f32, 2.0], [3.0, 4.0]])?;
//! assert_eq!(written.shape(), &[2, 2]);
//!
//! let read = MmapArray::<f32>::open_read_only(&path)?;
//! assert_eq!(read.to_owned_array()?, array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
//! # Ok::<(), mmap_ndarray_core::Error>(())
//! ```
//!
//! Data flows one way: path → [`header`] → [`mapping`] → view. Parsers take bytes and give a [`Header`], never see a
//! path or a mapping, and are the only place where a hostile file is refused. No safe function makes a Rust reference
//! to mapped bytes, because another process may write them: see [`mapping::Mapping`].

// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod advice;
pub mod array;
pub mod checksum;
pub mod commit;
pub mod create;
pub mod dirty;
mod draft;
pub mod dtype;
pub mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
#[cfg(not(feature = "fault-injection"))]
mod fault;
mod file;
pub mod format;
pub mod grow;
pub mod guard;
pub mod handle;
pub mod header;
pub mod kernel;
pub mod layout;
mod lease;
pub mod mapping;
pub mod mode;
mod sys;

pub use advice::Advice;
pub use array::{DynMmapArray, MmapArray, OpenOptions};

pub use checksum::{BadBlock, Sums, Verified};
pub use commit::{BegunCommit, Commit, CommitOptions};
pub use create::{CreateOptions, Writer};
pub use dirty::Tracking;
pub use dtype::{ByteOrder, DType, ElementType};
pub use error::{Error, Result};
pub use file::{Identity, Lock, list};
pub use format::{Entry, Format, Raw, Request};
pub use grow::{Grown, Growth};
pub use guard::Loss;
pub use handle::{Handle, attach};
pub use header::Header;
pub use kernel::{Bool, Control, Element};
pub use layout::{Layout, Order};
pub use lease::Lease;
pub use mapping::Mapping;
pub use mode::Mode;

/// The blocks of the page about this crate, which `cargo test` runs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust.md")]
mod page {}
