//! Files that say nothing of themselves: any offset and any strides that stay inside of the file.

use std::fs;
use std::io::Cursor;

use half::bf16;
use mmap_ndarray_core::{
    CreateOptions, DType, DynMmapArray, ElementType, Format, Header, MmapArray, Mode, OpenOptions, Order,
    Raw, Request, Result, Writer, format,
};
use ndarray::{Array1, array};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{check, outcome, request};

fn raw(dtype: &str) -> Raw {
    let element = ElementType::parse(dtype).unwrap();
    Raw { element, shape: None, offset: 0, strides: None, order: Order::C }
}

fn read(len: usize, raw: Raw, strict: bool) -> Result<Header> {
    request(
        &vec![0; len],
        &Request { format: Some(Format::Raw), strict, raw: Some(raw), ..Request::default() },
    )
}

/// bytes of the file, dtype, shape, offset, strides; then shape, units between neighbours, bytes of a unit
type Accepted = (
    usize,
    &'static str,
    Option<&'static [u64]>,
    u64,
    Option<&'static [i64]>,
    &'static [u64],
    &'static [i64],
    u64,
);

#[test]
fn a_raw_file_is_what_the_caller_says() {
    let cases: &[Accepted] = &[
        (40, "<f4", None, 0, None, &[10], &[1], 4),
        (43, "<f4", None, 3, None, &[10], &[1], 4),
        (40, "<f4", None, 40, None, &[0], &[1], 4),
        (0, "|u1", None, 0, None, &[0], &[1], 1),
        (24, "<f4", Some(&[2, 3]), 0, None, &[2, 3], &[3, 1], 4),
        (100, "<f4", Some(&[2, 3]), 7, None, &[2, 3], &[3, 1], 4),
        (4, ">i4", Some(&[]), 0, None, &[], &[], 4),
        (0, "<f8", Some(&[3, 0]), 0, None, &[3, 0], &[0, 1], 8),
        (32, "<c8", None, 0, None, &[4, 2], &[2, 1], 4),
        (2, "bfloat16", None, 0, None, &[1], &[1], 2),
        // The vectors of an .fvecs: a count of 4 bytes before each.
        (48, "<f4", Some(&[3, 3]), 4, Some(&[4, 1]), &[3, 3], &[4, 1], 4),
        // One row for all, one row read backwards, one element for all.
        (12, "<f4", Some(&[5, 3]), 0, Some(&[0, 1]), &[5, 3], &[0, 1], 4),
        (12, "<f4", Some(&[3]), 8, Some(&[-1]), &[3], &[-1], 4),
        (8, "<f8", Some(&[1000, 1000]), 0, Some(&[0, 0]), &[1000, 1000], &[0, 0], 8),
        (24, "<c8", Some(&[3]), 16, Some(&[-1]), &[3, 2], &[-2, 1], 4),
        // Strides of axes that are not walked along.
        (4, "<f4", Some(&[1]), 0, Some(&[-9]), &[1], &[-9], 4),
        (4, "<f4", Some(&[0]), 0, Some(&[1_000_000]), &[0], &[1_000_000], 4),
    ];
    for &(len, dtype, shape, offset, strides, expected, steps, unit) in cases {
        let description = Raw {
            shape: shape.map(<[u64]>::to_vec),
            offset,
            strides: strides.map(<[i64]>::to_vec),
            ..raw(dtype)
        };
        let header =
            read(len, description.clone(), false).unwrap_or_else(|error| panic!("{description:?}: {error}"));
        assert_eq!(
            (header.shape(), header.strides(), header.unit()),
            (expected, steps, unit),
            "{description:?}"
        );
        assert_eq!(header.format(), Format::Raw);
        assert_eq!(header.element(), description.element);
        if !header.is_empty() {
            assert_eq!(header.data_offset() + header.offset() * unit, offset);
        }
    }
}

#[test]
fn fortran_order_is_column_after_column() {
    let header =
        read(24, Raw { shape: Some(vec![2, 3]), order: Order::Fortran, ..raw("<f4") }, true).unwrap();
    assert_eq!(header.strides(), [1, 2]);
}

/// what, bytes of the file, shape, offset, strides, code
type Refused = (&'static str, usize, Option<&'static [u64]>, u64, Option<&'static [i64]>, &'static str);

#[test]
fn what_leaves_the_file_is_refused() {
    let cases: &[Refused] = &[
        ("half an element", 42, None, 0, None, "ERR_INVALID_HEADER"),
        ("half an element after an offset", 40, None, 1, None, "ERR_INVALID_HEADER"),
        ("an offset past the end", 40, None, 41, None, "ERR_FILE_TOO_SHORT"),
        ("an offset of 2^63", 40, Some(&[1]), 1 << 63, None, "ERR_FILE_TOO_SHORT"),
        ("an offset past the end, no elements", 40, Some(&[0]), 44, None, "ERR_FILE_TOO_SHORT"),
        ("one element too many", 40, Some(&[11]), 0, None, "ERR_FILE_TOO_SHORT"),
        ("one byte too few", 40, Some(&[10]), 1, None, "ERR_FILE_TOO_SHORT"),
        ("a stride past the end", 40, Some(&[2]), 0, Some(&[10]), "ERR_FILE_TOO_SHORT"),
        ("a stride before the start", 40, Some(&[2]), 0, Some(&[-1]), "ERR_OUT_OF_RANGE"),
        ("a stride one byte before it", 40, Some(&[2]), 3, Some(&[-1]), "ERR_OUT_OF_RANGE"),
        ("strides of both signs, before it", 40, Some(&[2, 2]), 4, Some(&[-2, 1]), "ERR_OUT_OF_RANGE"),
        ("more elements than there are", 40, Some(&[1 << 62]), 0, Some(&[0]), "ERR_OUT_OF_RANGE"),
        ("a product of 2^64", 40, Some(&[1 << 32, 1 << 32]), 0, Some(&[0, 0]), "ERR_OUT_OF_RANGE"),
        ("a stride of 2^62", 40, Some(&[2]), 0, Some(&[1 << 62]), "ERR_OUT_OF_RANGE"),
        ("a stride of -2^63", 40, Some(&[2]), 0, Some(&[i64::MIN]), "ERR_OUT_OF_RANGE"),
        ("a reach of 2^65", 40, Some(&[1 << 40]), 0, Some(&[1 << 60]), "ERR_OUT_OF_RANGE"),
        ("strides for other axes", 40, Some(&[2]), 0, Some(&[1, 1]), "ERR_OUT_OF_RANGE"),
        ("strides without a shape", 40, None, 0, Some(&[1]), "ERR_OUT_OF_RANGE"),
        ("65 axes", 40, Some(&[1; 65]), 0, None, "ERR_OUT_OF_RANGE"),
    ];
    for &(what, len, shape, offset, strides, code) in cases {
        let description = Raw {
            shape: shape.map(<[u64]>::to_vec),
            offset,
            strides: strides.map(<[i64]>::to_vec),
            ..raw("<f4")
        };
        for strict in [false, true] {
            assert_eq!(outcome(&read(len, description.clone(), strict)), code, "{what}");
        }
    }
    let error = read(42, Raw { offset: 1, ..raw("<f4") }, false).unwrap_err().to_string();
    assert!(
        error.contains("41 bytes from byte 1 on are no whole number of elements: 10 of float32 and 1 bytes"),
        "{error}"
    );
}

#[test]
fn strict_refuses_what_follows() {
    let shaped = |len| read(len, Raw { shape: Some(vec![2]), ..raw("<f4") }, true);
    assert_eq!(outcome(&shaped(8)), "opens");
    assert_eq!(outcome(&shaped(9)), "ERR_TRAILING_DATA");
}

#[test]
fn a_raw_description_goes_with_the_raw_format_alone() {
    for (format, description, code) in [
        (None, Some(raw("<f4")), "opens"),
        (Some(Format::Raw), Some(raw("<f4")), "opens"),
        (Some(Format::Raw), None, "ERR_OUT_OF_RANGE"),
        (Some(Format::Npy), Some(raw("<f4")), "ERR_OUT_OF_RANGE"),
    ] {
        let asked = Request { format, raw: description, ..Request::default() };
        assert_eq!(outcome(&request(&[0; 8], &asked)), code, "{format:?}");
    }
    let named = Request { name: Some("a".to_owned()), raw: Some(raw("<f4")), ..Request::default() };
    assert_eq!(outcome(&request(&[0; 8], &named)), "ERR_INVALID_ARG_VALUE");
}

#[test]
fn any_description_is_refused_or_reads_inside_of_the_file() {
    let length = prop_oneof![0_u64..5, 0..=1_u64 << 62, any::<u64>()];
    let stride = prop_oneof![-3_i64..4, any::<i64>()];
    let dtypes = prop::sample::select(vec!["|u1", "<f4", "<c16", "bfloat16"]);
    let axes = prop::collection::vec((length, stride), 0..4);
    let offset = prop_oneof![0_u64..300, any::<u64>()];
    let values = (dtypes, axes, offset, 0_u64..400, any::<[bool; 3]>());
    check(20_000, &values, |(dtype, axes, offset, file_len, [shaped, strided, strict])| {
        let (shape, strides): (Vec<_>, Vec<_>) = axes.into_iter().unzip();
        let description =
            Raw { offset, shape: shaped.then_some(shape), strides: strided.then_some(strides), ..raw(dtype) };
        let asked = Request { raw: Some(description), strict, ..Request::default() };
        if let Ok(header) = format::read(&mut Cursor::new([]), file_len, &asked) {
            crate::fuzz::targets::assert_sound(&header, file_len);
        }
        Ok(())
    });
}

#[test]
fn raw_files_are_written_without_a_header() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.bin");
    MmapArray::create(&path, &array![[1_i16, 2, 3], [4, 5, 6]]).unwrap();
    let expected: Vec<u8> = (1_i16..7).flat_map(i16::to_ne_bytes).collect();
    assert_eq!(fs::read(&path).unwrap(), expected);

    let path = folder.path().join("b.RAW");
    let mut options = CreateOptions::for_path(&path).unwrap();
    options.order = Order::Fortran;
    let written = MmapArray::create_with(&path, &array![[1_i16, 2, 3], [4, 5, 6]], &options).unwrap();
    assert_eq!((written.header().format(), written.strides()), (Format::Raw, &[1_i64, 2] as &[i64]));
    let expected: Vec<u8> = [1_i16, 4, 2, 5, 3, 6].into_iter().flat_map(i16::to_ne_bytes).collect();
    assert_eq!(fs::read(&path).unwrap(), expected);

    // What npy has no code for.
    let path = folder.path().join("c.raw");
    let values = Array1::from_vec(vec![bf16::from_f32(1.5), bf16::NEG_INFINITY]);
    let written = MmapArray::create(&path, &values).unwrap();
    assert_eq!(
        (written.header().descr(), written.to_owned_array().unwrap()),
        ("bfloat16", values.into_dyn())
    );
}

#[test]
fn a_raw_file_without_elements_has_no_bytes() {
    let folder = TempDir::new().unwrap();
    for reserve in [true, false] {
        let path = folder.path().join(format!("{reserve}.raw"));
        let mut options = CreateOptions::new(Format::Raw);
        options.reserve = reserve;
        let writer = Writer::begin(&path, DType::Float64, &[3, 0], &options).unwrap();
        let array = DynMmapArray::from_writer(writer).unwrap();
        assert_eq!((array.shape(), array.len()), (&[3_u64, 0] as &[u64], 0));
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        let mut options = OpenOptions::new(Mode::ReadWrite);
        options.raw = Some(raw("<f8"));
        assert_eq!(DynMmapArray::open(&path, &options).unwrap().shape(), [0]);
    }
}

#[test]
fn elements_that_share_bytes_are_not_borrowed_for_writing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.bin");
    MmapArray::create(&path, &array![1.0_f32, 2.0, 3.0, 4.0]).unwrap();
    for (shape, strides, first, shared) in [
        (&[4_u64] as &[u64], &[1_i64] as &[i64], 0, false),
        (&[4], &[-1], 12, false),
        (&[2, 2], &[1, 2], 0, false),
        (&[3, 4], &[0, 1], 0, true),
        (&[3, 2], &[1, 1], 0, true),
        (&[2, 2], &[-1, 2], 4, false),
    ] {
        let mut options = OpenOptions::new(Mode::CopyOnWrite);
        let (shape, strides) = (Some(shape.to_vec()), Some(strides.to_vec()));
        options.raw = Some(Raw { shape, strides, offset: first, ..raw("f4") });
        let array = MmapArray::<f32>::open(&path, &options).unwrap();
        let code = array.raw_view_mut().err().map(|error| error.code());
        assert_eq!(code, shared.then_some("ERR_NOT_CONTIGUOUS"), "{options:?}");
        // Reading is the same either way.
        let expected = array.to_owned_array().unwrap();
        // SAFETY:
        // - nobody else has the file.
        assert_eq!(unsafe { array.view() }, expected, "{options:?}");
    }
}
