//! How a file is mapped: what a store does, and what it costs.

use std::fmt;

use crate::error::{Error, Result};

/// How an array is opened.
///
/// | mode | mapping | a store |
/// |---|---|---|
/// | `ReadOnly` (`r`) | private, copy-on-write | is refused; through raw memory it stays in this process |
/// | `ReadWrite` (`r+`) | shared | reaches the file |
/// | `CopyOnWrite` (`c`) | private, copy-on-write | stays in this process |
///
/// `ReadOnly` is a private mapping as well, because JavaScript has no read-only memory: a store to a page that
/// the processor protects would end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `r`: reads only.
    ReadOnly,
    /// `r+`: writes reach the file.
    ReadWrite,
    /// `c`: writes stay in memory; the first store to a page copies that page.
    CopyOnWrite,
}

impl Mode {
    /// Reads a mode from numpy's short name or its long one.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "r" | "readonly" => Ok(Self::ReadOnly),
            "r+" | "readwrite" => Ok(Self::ReadWrite),
            "c" | "copyonwrite" => Ok(Self::CopyOnWrite),
            _ => Err(Error::out_of_range(format!(
                "mode is {text:?}; expected 'r', 'r+', 'c' or their long names readonly, readwrite, copyonwrite"
            ))),
        }
    }

    /// The short name: `r`, `r+` or `c`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "r",
            Self::ReadWrite => "r+",
            Self::CopyOnWrite => "c",
        }
    }

    /// Whether the array may be written through its methods.
    #[must_use]
    pub const fn writable(self) -> bool {
        !matches!(self, Self::ReadOnly)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
