//! The format of the seed: its own files, its own tests of the header, and files that lie.

use mmap_ndarray_core::format::write_header;
use mmap_ndarray_core::{ByteOrder, DType, Format, Order};

use crate::support::{fixture, manifest, numbers, order_of, outcome, read, read_alone, text};

/// (the id in the file, dtype, the seed's name, bytes)
const DTYPES: [(u8, DType, &str, u64); 4] = [
    (1, DType::Float32, "f32", 4),
    (2, DType::Float64, "f64", 8),
    (3, DType::Int32, "i32", 4),
    (4, DType::Int64, "i64", 8),
];

fn header(dtype: DType, shape: &[u64]) -> Vec<u8> {
    write_header(Format::Mmap, dtype.into(), shape, Order::C).unwrap()
}

/// A valid header with some of its bytes replaced.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut header = header(DType::Float64, &[3, 4]);
    header[at..at + bytes.len()].copy_from_slice(bytes);
    header
}

#[test]
fn the_seeds_files_are_read_and_their_headers_written_byte_for_byte() {
    for case in manifest("mmap") {
        let name = text(&case, "file");
        let file = fixture("mmap", name);
        let header = read(&file, None, true).unwrap_or_else(|error| panic!("{name}: {error}"));
        let strides: Vec<_> = header.strides().iter().map(|stride| stride.cast_unsigned()).collect();
        assert_eq!(header.format(), Format::Mmap, "{name}");
        assert_eq!(header.descr(), text(&case, "dtype"), "{name}");
        assert_eq!(header.shape(), numbers(&case, "shape"), "{name}");
        assert_eq!(strides, numbers(&case, "strides"), "{name}");
        assert_eq!(header.len(), case["len"].as_u64().unwrap(), "{name}");
        assert_eq!((header.data_offset(), header.file_len()), (64, file.len() as u64), "{name}");
        assert_eq!((order_of(&header), header.byte_order()), (Some(Order::C), ByteOrder::Little), "{name}");
        assert_eq!(self::header(header.dtype(), header.shape()), file[..64], "{name}");
    }
}

#[test]
fn hostile_files_are_refused_for_what_is_wrong_with_them() {
    for case in manifest("hostile") {
        let (name, category) = (text(&case, "file"), text(&case, "category"));
        let file = fixture("hostile", name);
        let (lenient, strict) = match category {
            "too-short" => ("ERR_FILE_TOO_SHORT", "ERR_FILE_TOO_SHORT"),
            "bad-magic" => ("ERR_INVALID_MAGIC", "ERR_INVALID_MAGIC"),
            "bad-version" => ("ERR_UNSUPPORTED_VERSION", "ERR_UNSUPPORTED_VERSION"),
            "bad-dtype" => ("ERR_UNSUPPORTED_DTYPE", "ERR_UNSUPPORTED_DTYPE"),
            "bad-shape" | "total-mismatch" => ("ERR_INVALID_HEADER", "ERR_INVALID_HEADER"),
            "trailing" => ("opens", "ERR_TRAILING_DATA"),
            "padding" => ("opens", "ERR_INVALID_HEADER"),
            other => panic!("{name}: unknown category {other}"),
        };
        assert_eq!(outcome(&read(&file, None, false)), lenient, "{name}");
        assert_eq!(outcome(&read(&file, None, true)), strict, "{name}");
    }
}

#[test]
fn header_round_trip() {
    for (name, dtype, shape) in [
        ("1d", DType::Float32, &[100_u64] as &[u64]),
        ("2d", DType::Float64, &[3, 4]),
        ("6d", DType::Int64, &[2, 3, 4, 5, 6, 7]),
        ("0d", DType::Int32, &[]),
        ("empty", DType::Float64, &[0, 5]),
    ] {
        let read = read_alone(&header(dtype, shape)).unwrap();
        assert_eq!((read.dtype(), read.shape()), (dtype, shape), "{name}");
    }
}

#[test]
fn bad_magic() {
    assert_eq!(outcome(&read_alone(&patched(0, b"NOPE"))), "ERR_INVALID_MAGIC");
}

#[test]
fn bad_version() {
    let error = read_alone(&patched(4, &[99])).unwrap_err();
    assert_eq!(error.code(), "ERR_UNSUPPORTED_VERSION");
    assert!(error.to_string().contains("mmap version 99"), "{error}");
}

#[test]
fn c_strides() {
    for (shape, strides) in
        [(&[5_u64] as &[u64], &[1_i64] as &[i64]), (&[3, 4], &[4, 1]), (&[2, 3, 4], &[12, 4, 1])]
    {
        assert_eq!(read_alone(&header(DType::Float32, shape)).unwrap().strides(), strides);
    }
}

#[test]
fn dtype_ids_are_distinct_and_have_their_element_sizes() {
    for (id, dtype, name, bytes) in DTYPES {
        let written = header(dtype, &[1]);
        let read = read_alone(&written).unwrap();
        assert_eq!((written[5], read.dtype(), read.descr(), read.data_len()), (id, dtype, name, bytes));
    }
}

#[test]
fn a_header_has_the_bytes_of_the_seed() {
    let expected = [
        b"MMAP\x01\x02\x02\x00" as &[u8],
        &12_u64.to_le_bytes(),
        &3_u64.to_le_bytes(),
        &4_u64.to_le_bytes(),
        &[0; 32],
    ];
    assert_eq!(header(DType::Float64, &[3, 4]), expected.concat());
}

#[test]
fn what_the_format_cannot_say_is_not_written() {
    for (name, dtype, shape, order, code, advice) in [
        ("dtype", DType::Uint8, &[2_u64] as &[u64], Order::C, "ERR_UNSUPPORTED_DTYPE", "npy"),
        ("seven axes", DType::Float32, &[1; 7], Order::C, "ERR_TOO_LARGE", "npy"),
        ("order", DType::Float32, &[2, 3], Order::Fortran, "ERR_OUT_OF_RANGE", "npy"),
        ("bytes", DType::Float64, &[1 << 60], Order::C, "ERR_TOO_LARGE", "bytes"),
        ("product", DType::Float64, &[1 << 33, 1 << 33], Order::C, "ERR_TOO_LARGE", "bytes"),
    ] {
        let error = write_header(Format::Mmap, dtype.into(), shape, order).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains(advice), "{name}: {error}");
    }
    // One row is in C order whichever way it is called.
    let row = write_header(Format::Mmap, DType::Float32.into(), &[1, 5], Order::Fortran).unwrap();
    assert_eq!(row, header(DType::Float32, &[1, 5]));
}

#[test]
fn the_first_thing_wrong_is_what_is_told() {
    let wrong = |ndim: u16, id: u8, version: u8| {
        let mut header = patched(4, &[version, id]);
        header[6..8].copy_from_slice(&ndim.to_le_bytes());
        outcome(&read_alone(&header))
    };
    assert_eq!(wrong(7, 9, 2), "ERR_UNSUPPORTED_VERSION");
    assert_eq!(wrong(7, 9, 1), "ERR_UNSUPPORTED_DTYPE");
    assert_eq!(wrong(7, 2, 1), "ERR_INVALID_HEADER");
    let error = read_alone(&patched(5, &[255])).unwrap_err();
    assert!(error.to_string().starts_with("dtype id 255 is not supported"), "{error}");
}

#[test]
fn strict_wants_zeros_after_the_shape_only() {
    for at in 32..64 {
        let mut file = patched(at, &[1]);
        file.resize(64 + 12 * 8, 0);
        assert_eq!(outcome(&read(&file, None, false)), "opens", "byte {at}");
        assert_eq!(outcome(&read(&file, None, true)), "ERR_INVALID_HEADER", "byte {at}");
    }
    let six_axes = [header(DType::Float32, &[1; 6]), vec![0; 4]].concat();
    assert_eq!(outcome(&read(&six_axes, None, true)), "opens");
}
