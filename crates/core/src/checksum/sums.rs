//! The file of checksums, byte by byte.
//!
//! Its length follows from two numbers of its header, and its last eight bytes are the hash of all the others: so it is known to
//! be whole and undamaged before a block is called bad, and no memory is allocated by what it says. All numbers are little-endian:
//!
//! | byte | length | |
//! |---|---|---|
//! | 0 | 8 | `89 42 4C 4B 53 55 4D 0A`, which is `\x89BLKSUM\n` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | algorithm, 1: XXH3 with 64 bits and seed 0 |
//! | 16 | 8 | bytes of a block, 4096 to 2^30 |
//! | 24 | 8 | bytes of the file, n |
//! | 32 | 8 for each block | the hash of each block; the last one may be shorter, and a file without bytes has none |
//! | last 8 | 8 | the hash of everything before |

#![deny(clippy::indexing_slicing)]

use std::hash::Hasher;
use std::io::{self, Read};
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use twox_hash::XxHash3_64;

use crate::error::{Error, Result};
use crate::kernel::Control;

/// Bytes that a block may have.
pub const BLOCK_SIZES: RangeInclusive<u64> = 1 << 12..=1 << 30;

pub(super) const MAGIC: [u8; 8] = *b"\x89BLKSUM\n";
const VERSION: u32 = 1;
const XXH3: u32 = 1;
const HEADER_LEN: usize = 32;
pub(super) const SUM_LEN: usize = 8;

/// Bytes that are read at a time: they stay in the cache of a core until they are hashed.
pub(super) const PIECE: usize = 1 << 18;

/// What the header of a sidecar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    block: u64,
    covered: u64,
}

impl Sums {
    /// For `covered` bytes of a file, in blocks of `block` bytes.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a block outside of [`BLOCK_SIZES`].
    pub fn new(block: u64, covered: u64) -> Result<Self> {
        if BLOCK_SIZES.contains(&block) {
            return Ok(Self { block, covered });
        }
        let (least, most) = (BLOCK_SIZES.start(), BLOCK_SIZES.end());
        Err(Error::out_of_range(format!("a block has {block} bytes; expected {least} to {most}")))
    }

    /// Reads a sidecar of `len` bytes to its end, and makes sure that it is as it was written.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`]; [`Error::InvalidHeader`] for everything else that is no sidecar, and a damaged one;
    /// [`Error::Io`] with an empty path; [`Error::Aborted`].
    pub fn read(sidecar: &mut impl Read, len: u64, control: Control) -> Result<Self> {
        let mut header = [0; HEADER_LEN];
        fill(sidecar, &mut header)?;
        let sums = Self::parse(&header)?;
        if sums.sidecar_len() != len {
            return Err(invalid(format!(
                "{} blocks make {} bytes, and there are {len}",
                sums.blocks(),
                sums.sidecar_len()
            )));
        }
        let mut hash = XxHash3_64::new();
        hash.write(&header);
        let mut memory = Vec::new();
        let mut left = sums.blocks() * SUM_LEN as u64;
        while left > 0 {
            if control.is_cancelled() {
                return Err(Error::Aborted);
            }
            memory.resize(usize::try_from(left).unwrap_or(PIECE).min(PIECE), 0);
            fill(sidecar, &mut memory)?;
            hash.write(&memory);
            left -= memory.len() as u64;
        }
        let mut own = [0; SUM_LEN];
        fill(sidecar, &mut own)?;
        if hash.finish() == u64::from_le_bytes(own) {
            Ok(sums)
        } else {
            Err(invalid("its own hash is another"))
        }
    }

    fn parse(header: &[u8; HEADER_LEN]) -> Result<Self> {
        let (numbers, _) = header.as_chunks();
        let (halves, _) = header.as_chunks();
        let (&[magic, _, block, covered], &[_, _, version, algorithm, ..]) = (numbers, halves) else {
            return Err(invalid("it is cut off"));
        };
        if magic != MAGIC {
            return Err(invalid(format!("it starts with b\"{}\"", magic.escape_ascii())));
        }
        let (version, algorithm) = (u32::from_le_bytes(version), u32::from_le_bytes(algorithm));
        if version != VERSION {
            return Err(Error::unsupported_version(NAME, version.to_string(), "1"));
        }
        if algorithm != XXH3 {
            return Err(invalid(format!("algorithm {algorithm} is not known")));
        }
        Self::new(u64::from_le_bytes(block), u64::from_le_bytes(covered))
            .map_err(|error| invalid(error.to_string()))
    }

    /// The first bytes of the sidecar.
    pub(super) fn header(self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let (numbers, _) = header.as_chunks_mut();
        if let [magic, kind, block, covered] = numbers {
            *magic = MAGIC;
            *kind = (u64::from(XXH3) << 32 | u64::from(VERSION)).to_le_bytes();
            *block = self.block.to_le_bytes();
            *covered = self.covered.to_le_bytes();
        }
        header
    }

    /// Bytes of a block; the last one may have fewer.
    #[must_use]
    pub fn block(self) -> u64 {
        self.block
    }

    /// Bytes of the file that the checksums are of.
    #[must_use]
    pub fn covered(self) -> u64 {
        self.covered
    }

    /// How many blocks there are.
    #[must_use]
    pub fn blocks(self) -> u64 {
        self.covered.div_ceil(self.block)
    }

    /// Bytes of the sidecar: at most 2^55, as a block has no fewer than 2^12.
    #[must_use]
    pub fn sidecar_len(self) -> u64 {
        Self::place(self.blocks()) + SUM_LEN as u64
    }

    /// The bytes of a block in the file.
    pub(super) fn bytes(self, index: u64) -> Range<u64> {
        let start = index.saturating_mul(self.block);
        start..start.saturating_add(self.block).min(self.covered)
    }

    /// Where in the sidecar the hash of a block is.
    pub(super) fn place(index: u64) -> u64 {
        HEADER_LEN as u64 + index * SUM_LEN as u64
    }
}

const NAME: &str = "blocksums";

/// Says that it is no sidecar, or not any more.
pub(super) fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid_header(NAME, format!("{}; make the checksums anew", reason.into()))
}

/// Reads exactly so many bytes of a sidecar.
fn fill(sidecar: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    sidecar.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("it is cut off"),
        _ => Error::io("read", Path::new(""), error),
    })
}
