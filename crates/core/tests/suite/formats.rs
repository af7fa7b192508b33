//! What holds for every format: which one a file is of, and that no bytes at all bring the readers down.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use mmap_ndarray_core::format::{self, sniff, write_header};
use mmap_ndarray_core::layout::byte_count;
use mmap_ndarray_core::{ByteOrder, DType, ElementType, Format, Order, Request};
use proptest::prelude::*;

use crate::fuzz::targets::assert_sound;
use crate::support::{check, fixture, manifest, order_of, outcome, read, read_alone, text};

/// Every fixture that opens, in both formats.
fn good_files() -> Vec<(String, Vec<u8>)> {
    let files = ["mmap", "npy"].into_iter().flat_map(|folder| {
        manifest(folder).into_iter().map(move |case| {
            let name = text(&case, "file").to_owned();
            let file = fixture(folder, &name);
            (name, file)
        })
    });
    let good: Vec<_> = files.filter(|(_, file)| read(file, None, false).is_ok()).collect();
    assert!(good.len() > 40);
    good
}

/// The formats that are found from the first bytes and have a header to write.
const WRITTEN: [Format; 2] = [Format::Mmap, Format::Npy];

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(WRITTEN.to_vec())
}

fn elements() -> impl Strategy<Value = ElementType> {
    let complex = [DType::Float32, DType::Float64].map(|dtype| ElementType { complex: true, ..dtype.into() });
    prop::sample::select(DType::ALL.map(ElementType::from).into_iter().chain(complex).collect::<Vec<_>>())
}

fn orders() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::C, Order::Fortran])
}

/// Shapes of every size that there is, and some that there are not.
fn shapes() -> impl Strategy<Value = Vec<u64>> {
    let axis = prop_oneof![0_u64..9, 0..=1_u64 << 40, any::<u64>()];
    prop_oneof![prop::collection::vec(1_u64..3, 0..70), prop::collection::vec(axis, 0..5)]
}

#[test]
fn a_format_is_found_from_the_first_bytes() {
    for (prefix, format) in [
        (b"MMAP" as &[u8], Some(Format::Mmap)),
        (b"MMAP and more", Some(Format::Mmap)),
        (b"\x93NUMPY", Some(Format::Npy)),
        (b"\x93NUMPY\x01\x00", Some(Format::Npy)),
        (b"", None),
        (b"MMA", None),
        (b"mmap", None),
        (b"\x93NUMP", None),
        (b"PK\x03\x04", Some(Format::Npz)),
        (b"PK\x05\x06\0\0", Some(Format::Npz)),
        (b"PK\x01\x02", None),
        (b"\x02\0\0\0\0\0\0\0{}", Some(Format::Safetensors)),
        (b"\x40\0\0\0\0\0\0\0{\"weight", Some(Format::Safetensors)),
        (b"\x40\0\0\0\0\0\0\0{", None),
        (b"\x40\0\0\0\0\0\0\0{w", None),
        (b"\x40\0\0\0\0\0\0\0 {}", None),
    ] {
        assert_eq!(sniff(prefix), format, "{}", prefix.escape_ascii());
    }
    assert_eq!(Format::ALL.map(Format::name), ["mmap", "npy", "safetensors", "npz", "raw"]);
}

#[test]
fn a_file_that_ends_in_its_magic_is_too_short_and_not_of_another_kind() {
    for (file, format, expected) in [
        (b"" as &[u8], None, "ERR_FILE_TOO_SHORT"),
        (b"M", None, "ERR_FILE_TOO_SHORT"),
        (b"MMA", None, "ERR_FILE_TOO_SHORT"),
        (b"\x93", None, "ERR_FILE_TOO_SHORT"),
        (b"\x93NUMP", None, "ERR_FILE_TOO_SHORT"),
        (b"", Some(Format::Npy), "ERR_FILE_TOO_SHORT"),
        (b"N", None, "ERR_INVALID_MAGIC"),
        (b"MN", None, "ERR_INVALID_MAGIC"),
        (b"MMAQ", None, "ERR_INVALID_MAGIC"),
        (b"\0\0\0\0", None, "ERR_INVALID_MAGIC"),
        (b"\x93NUMPX", None, "ERR_INVALID_MAGIC"),
        (b"M", Some(Format::Npy), "ERR_INVALID_MAGIC"),
        (b"\x93", Some(Format::Mmap), "ERR_INVALID_MAGIC"),
    ] {
        assert_eq!(outcome(&read(file, format, false)), expected, "{}", file.escape_ascii());
    }
}

#[test]
fn a_format_asked_for_is_the_only_one_accepted() {
    for (name, file) in good_files() {
        let format = read(&file, None, false).unwrap().format();
        for asked in [Format::Mmap, Format::Npy, Format::Safetensors, Format::Npz] {
            let expected = if asked == format { "opens" } else { "ERR_INVALID_MAGIC" };
            assert_eq!(outcome(&read(&file, Some(asked), false)), expected, "{name} as {}", asked.name());
        }
    }
    for (format, message) in [
        (
            None,
            r#"the file starts with "\x89PNG\r\n\x1a\n"; expected "MMAP" or "\x93NUMPY" or a length and "{" or "PK\x03\x04"."#,
        ),
        (Some(Format::Npy), r#"the file starts with "\x89PNG\r\n\x1a\n"; expected "\x93NUMPY"."#),
    ] {
        let error = read(b"\x89PNG\r\n\x1a\n and so on", format, false).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn every_truncation_of_a_valid_file_is_told() {
    for (name, file) in good_files() {
        let end = usize::try_from(read(&file, None, false).unwrap().file_len()).unwrap();
        for len in 0..end {
            assert_eq!(
                outcome(&read(&file[..len], None, false)),
                "ERR_FILE_TOO_SHORT",
                "{name} cut to {len}"
            );
        }
        assert_eq!(outcome(&read(&file[..end], None, true)), "opens", "{name}");
        let longer = [&file[..end], &[0]].concat();
        assert_eq!(outcome(&read(&longer, None, false)), "opens", "{name}");
        assert_eq!(outcome(&read(&longer, None, true)), "ERR_TRAILING_DATA", "{name}");
    }
}

#[test]
fn every_change_of_one_byte_is_refused_or_sound() {
    for (_, mut file) in good_files() {
        let header_len = read(&file, None, false).unwrap().data_offset();
        for at in 0..usize::try_from(header_len).unwrap() {
            let byte = file[at];
            for other in [0, 1, 0x7f, 0xff, byte ^ 1, byte ^ 0x80, byte.wrapping_add(1), b'\'', b'(', b' '] {
                file[at] = other;
                if let Ok(header) = read(&file, None, false) {
                    assert_sound(&header, file.len() as u64);
                }
            }
            file[at] = byte;
        }
    }
}

#[test]
fn any_bytes_are_refused_or_sound() {
    let magic = prop::sample::select(vec![
        b"" as &[u8],
        b"\x40\0\0\0\0\0\0\0{\"a\":{",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"MMAP\x01\x01",
        b"MMAP\x01\x02\x01\x00",
        b"\x93NUMPY\x01\x00\x40\x00",
        b"\x93NUMPY\x03\x00\x40\x00\x00\x00{'",
    ]);
    // Bytes that mean something to a reader are more than they would be by chance.
    let byte =
        prop_oneof![any::<u8>(), prop::sample::select(b"\0\x01(){}[]'\":,+-0123456789LxTrue# \n\\".to_vec())];
    let file = (magic, prop::collection::vec(byte, 0..200), any::<bool>(), any::<u64>());
    check(4_000, &file, |(magic, bytes, strict, file_len)| {
        let bytes = [magic, &bytes].concat();
        let request = Request { strict, ..Request::default() };
        if let Ok(header) = format::read(&mut Cursor::new(&bytes), file_len, &request) {
            assert_sound(&header, file_len);
        }
        let _ = format::list(&mut Cursor::new(&bytes), bytes.len() as u64, None);
        Ok(())
    });
}

#[test]
fn what_is_written_is_read_back() {
    check(4_000, &(formats(), elements(), shapes(), orders()), |(format, element, shape, order)| {
        let Ok(bytes) = write_header(format, element, &shape, order) else {
            let refusable = format == Format::Mmap
                || element.dtype == DType::Bfloat16
                || byte_count(&shape, element.size()).is_none()
                || shape.len() > 64;
            prop_assert!(refusable, "{element} {shape:?} can be said in npy");
            return Ok(());
        };
        let header = read_alone(&bytes).unwrap();
        assert_sound(&header, u64::MAX);
        let whole = &header.shape()[..shape.len()];
        // An mmap file has one byte order, on machines of the other one too.
        let byte_order = if format == Format::Mmap { ByteOrder::Little } else { element.byte_order };
        let element = ElementType { byte_order, ..element };
        prop_assert_eq!((header.format(), header.element(), whole), (format, element, &*shape));
        prop_assert_eq!(order_of(&header), Some(order.canonical(&shape)));
        prop_assert_eq!(header.data_offset(), bytes.len() as u64);
        prop_assert_eq!(bytes.len() % 64, 0);
        prop_assert!(header.check_file_len(header.file_len(), true).is_ok());
        Ok(())
    });
}

/// A file that counts how often it is read from.
struct Counted {
    file: Cursor<Vec<u8>>,
    reads: usize,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        self.file.read(buffer)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_header_in_the_first_page_is_read_at_once() {
    for format in WRITTEN {
        let mut file = write_header(format, DType::Float64.into(), &[1 << 14], Order::C).unwrap();
        file.resize(file.len() + (8 << 14), 0);
        let len = file.len() as u64;
        let mut counted = Counted { file: Cursor::new(file), reads: 0 };
        let header = format::read(&mut counted, len, &Request::default()).unwrap();
        assert_eq!(header.shape(), [1 << 14], "{format:?}");
        assert_eq!(counted.reads, 1, "reads of an {format:?} file");
    }
}
