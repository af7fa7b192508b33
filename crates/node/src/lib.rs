//! The border between Node.js and `mmap-ndarray-core`: conversions only, no logic.
//!
//! Every name that JavaScript sees here starts with `Native`, or is a function that only `src/native.ts` calls. The
//! rules that hold for each entry:
//! - `catch_unwind`: a panic becomes a JavaScript error, never the end of the process.
//! - `&self` only: napi-rs tracks borrows at run time, and work under way would make a `&mut self` method throw.
//! - numbers are checked in `convert.rs` before use, though TypeScript has checked them before.
//! - an error is made into JavaScript in `error.rs`, whether thrown or rejected with.

#![expect(clippy::missing_errors_doc, reason = "the errors are those of the core, which documents them")]
#![expect(clippy::needless_pass_by_value, reason = "napi-rs hands arguments over by value")]
#![expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "values of JavaScript borrow from the Env they are made with"
)]

pub mod array;
mod buffer;
pub mod checksum;
pub mod commit;
pub mod convert;
pub mod error;
pub mod grow;
pub mod open;
pub mod reduce;
pub mod search;
mod task;
pub mod writer;
