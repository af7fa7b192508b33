//! The format of `numpy.savez`: a zip file of npy files.
//!
//! A member that is stored as it is can be mapped where it lies. One that is compressed cannot, and the error says how to
//! save it otherwise. Nothing is unpacked, so checksums are not looked at (the data is not read), and names stay names.
//!
//! The directory is read by `rawzip`: it reads from any position as it goes and allocates nothing by what a file says,
//! knows zip64, and has no dependencies; `zip` builds maps of the whole directory and brings its decompressors' plumbing.
//! What it takes on trust is proved here: a member lies inside of the file, before the directory, and apart from every
//! other.
//!
//! A field of a member of records is called `member.field`. A member's name may come with or without `.npy`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::HashSet;

use rawzip::{
    CompressionMethod, ErrorKind, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive, ZipArchiveEntryWayfinder,
    ZipLocator,
};

use super::npy::{self, Npy};
use super::source::{Source, failed};
use super::{Entry, Format, invalid_name};
use crate::error::{Error, Result, clip};
use crate::header::Header;

/// What such a file starts with: a member, or the end of an empty directory.
pub(super) const MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

const EXTENSION: &str = ".npy";
/// Bytes of the record that ends a directory, which no zip file is without.
const END_LEN: u64 = 22;

/// Reads the header of the array called `name`, or of the only one.
pub(super) fn read(source: &Source, name: Option<&str>, strict: bool) -> Result<Header> {
    let zip = Zip::open(source)?;
    let refused = || invalid_name(name, zip.members.iter().map(|member| member.name_of("")).collect());
    let (member, field) = match (name, &*zip.members) {
        (None, [only]) => (only, None),
        (None, _) => return Err(refused()),
        (Some(name), _) => zip.find(name).ok_or_else(refused)?,
    };
    let data = zip.data(member)?;
    let npy = data.npy(source)?;
    let header = npy.header(Format::Npz, field, |field| member.name_of(field))?;
    // The npy file ends with its member, as it would with a file.
    header.check_file_len(data.end, strict)?;
    Ok(header.in_file_of(source.len()))
}

/// Lists the arrays, and the fields of those of records.
///
/// A member that is compressed or encrypted is called that instead of its dtype, and has neither shape nor place.
pub(super) fn list(source: &Source) -> Result<Vec<Entry>> {
    let zip = Zip::open(source)?;
    let mut entries = Vec::new();
    for member in &zip.members {
        if let Some(hidden) = member.hidden() {
            let (name, dtype) = (member.name_of(""), hidden.to_owned());
            entries.push(Entry { name, dtype, shape: Vec::new(), offset: 0 });
            continue;
        }
        for entry in zip.data(member)?.npy(source)?.entries() {
            entries.push(Entry { name: member.name_of(&entry.name), ..entry });
        }
    }
    Ok(entries)
}

/// The directory of a zip file.
struct Zip<'a, 'b> {
    archive: ZipArchive<&'a Source<'b>>,
    /// Those that are npy files by their names, in the order of the directory.
    members: Vec<Member>,
}

struct Member {
    path: String,
    start: u64,
    /// Where the next member starts, or the directory: the end of this one is not behind it.
    limit: u64,
    len: u64,
    unpacked_len: u64,
    stored: bool,
    encrypted: bool,
    wayfinder: ZipArchiveEntryWayfinder,
}

/// The bytes of the file that are a member's npy file.
struct Data {
    start: u64,
    end: u64,
}

impl<'a, 'b> Zip<'a, 'b> {
    fn open(source: &'a Source<'b>) -> Result<Self> {
        if source.len() < END_LEN {
            return Err(Error::too_short("a zip directory", END_LEN, source.len()));
        }
        let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let archive = ZipLocator::new()
            .locate_in_reader(source, &mut buffer, source.len())
            .map_err(|(_, error)| unreadable(error))?;
        let directory = archive.directory_offset();
        let (mut members, mut starts) = (Vec::new(), Vec::new());
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(unreadable)? {
            let start = entry.local_header_offset();
            starts.push(start);
            let path = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            if !path.ends_with(EXTENSION) {
                continue;
            }
            if path.split(['/', '\\']).any(|part| part == "..") {
                return Err(invalid(format!("member {:?} has '..' in its name", clip(&path))));
            }
            members.push(Member {
                path,
                start,
                limit: directory,
                len: entry.compressed_size_hint(),
                unpacked_len: entry.uncompressed_size_hint(),
                stored: entry.compression_method() == CompressionMethod::STORE,
                encrypted: entry.flags().is_encrypted(),
                wayfinder: entry.wayfinder(),
            });
        }
        starts.sort_unstable();
        if starts.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(invalid("two members start at the same byte; expected each at a place of its own"));
        }
        let mut paths = HashSet::new();
        for member in &mut members {
            let next = starts.partition_point(|&start| start <= member.start);
            member.limit = starts.get(next).map_or(directory, |&next| next.min(directory));
            if !paths.insert(&*member.path) {
                return Err(invalid(format!("member {:?} occurs twice", clip(&member.path))));
            }
        }
        Ok(Self { archive, members })
    }

    /// The member that `name` is of, and the field of it.
    ///
    /// Dots may belong to either. The longest name of a member wins.
    fn find<'name>(&self, name: &'name str) -> Option<(&Member, Option<&'name str>)> {
        let called = |name: &str| {
            let member = |name: &str| self.members.iter().find(|member| member.path == name);
            member(&format!("{name}{EXTENSION}")).or_else(|| member(name))
        };
        let whole = called(name).map(|member| (member, None));
        whole.or_else(|| {
            name.rmatch_indices('.').find_map(|(dot, _)| {
                let (name, field) = name.split_at_checked(dot)?;
                Some((called(name)?, field.strip_prefix('.')))
            })
        })
    }

    /// Where a member's npy file lies, proved to lie in the file and apart from the others.
    fn data(&self, member: &Member) -> Result<Data> {
        let name = clip(&member.path);
        if let Some(hidden) = member.hidden() {
            let reason = format!(
                "member {name:?} is {hidden}, and cannot be mapped. Save the file again with numpy.savez, which stores arrays \
                 as they are, and not with savez_compressed"
            );
            return Err(Error::unsupported_dtype(hidden, reason));
        }
        let Member { len, unpacked_len, start, limit, .. } = *member;
        if len != unpacked_len {
            return Err(invalid(format!(
                "member {name:?} is stored in {len} bytes and has {unpacked_len}; expected as many"
            )));
        }
        let overlaps = || {
            invalid(format!(
                "member {name:?} starts at byte {start} and has {len} bytes; expected it to end before byte {limit}, where \
                 the next member or the directory starts"
            ))
        };
        if start.checked_add(len).is_none_or(|end| end >= limit) {
            return Err(overlaps());
        }
        let entry = self.archive.get_entry(member.wayfinder).map_err(unreadable)?;
        let (start, end) = entry.compressed_data_range();
        if end > limit {
            return Err(overlaps());
        }
        Ok(Data { start, end })
    }
}

impl Member {
    /// The name of a field of its array; that of the array for an empty one.
    fn name_of(&self, field: &str) -> String {
        let name = self.path.strip_suffix(EXTENSION).unwrap_or(&self.path);
        if field.is_empty() { name.to_owned() } else { format!("{name}.{field}") }
    }

    /// What keeps it from being mapped.
    fn hidden(&self) -> Option<&'static str> {
        match self {
            Self { encrypted: true, .. } => Some("encrypted"),
            Self { stored: false, .. } => Some("compressed"),
            _ => None,
        }
    }
}

impl Data {
    fn npy(&self, source: &Source) -> Result<Npy> {
        let len = usize::try_from(self.end.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let prefix = source.bytes(self.start, len.min(npy::MAX_HEADER_LEN))?;
        if !prefix.starts_with(npy::MAGIC) {
            return Err(invalid(format!("the member at byte {} is no npy file", self.start)));
        }
        npy::read(&prefix, self.start)
    }
}

fn unreadable(error: rawzip::Error) -> Error {
    match error.into_kind() {
        ErrorKind::IO(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => failed(error),
        ErrorKind::MissingEndOfCentralDirectory => invalid(
            "the directory at the end of the file is missing. The file was cut off, or is no zip file",
        ),
        kind => invalid(format!("its zip directory is not as expected: {}", rawzip::Error::from(kind))),
    }
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid_header(Format::Npz.name(), reason)
}
