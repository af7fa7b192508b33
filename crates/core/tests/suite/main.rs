//! The tests of the crate's public interface, one module for each feature, in one binary.

#![cfg(test)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::float_cmp,
    reason = "the numbers of tests are small and exact"
)]

mod advice;
mod array;
mod checksum;
mod commit;
mod copied;
mod create;
mod create_faults;
mod dirty;
mod dtype;
mod formats;
mod fuzz;
mod grow;
mod grow_faults;
mod guard;
mod handle;
mod kernel;
mod layout;
mod lock;
mod mmap_format;
mod named;
mod npy;
mod npy_write;
mod npz;
mod open;
mod raw;
mod records;
mod reduce;
mod safetensors;
mod save;
mod search;
mod support;
mod windows;
