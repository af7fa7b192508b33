//! The names of the element types.

use std::collections::HashSet;

use mmap_ndarray_core::{ByteOrder, DType};

/// (dtype, bytes, long name, short name, numpy code, numpy's letter for the C type)
const NAMES: [(DType, usize, &str, &str, &str, &str); 11] = [
    (DType::Bool, 1, "bool", "bool", "|b1", "?"),
    (DType::Int8, 1, "int8", "i1", "|i1", "b"),
    (DType::Uint8, 1, "uint8", "u1", "|u1", "B"),
    (DType::Int16, 2, "int16", "i16", "<i2", "h"),
    (DType::Uint16, 2, "uint16", "u16", "<u2", "H"),
    (DType::Int32, 4, "int32", "i32", "<i4", "i"),
    (DType::Uint32, 4, "uint32", "u32", "<u4", "I"),
    (DType::Int64, 8, "int64", "i64", "<i8", "q"),
    (DType::Uint64, 8, "uint64", "u64", "<u8", "Q"),
    (DType::Float32, 4, "float32", "f32", "<f4", "f"),
    (DType::Float64, 8, "float64", "f64", "<f8", "d"),
];

#[test]
fn every_name_of_a_dtype_reads_as_that_dtype() {
    assert_eq!(NAMES.map(|row| row.0), DType::ALL);
    for (dtype, itemsize, long, short, code, letter) in NAMES {
        assert_eq!((dtype.itemsize(), dtype.name()), (itemsize, long));
        assert_eq!(dtype.to_string(), long);
        assert_eq!(dtype.npy_code(ByteOrder::Little), code);
        let native = Ok((dtype, ByteOrder::NATIVE));
        for name in [long, short, &code[1..], letter] {
            assert_eq!(DType::parse(name).map_err(|error| error.code()), native, "{name}");
        }
    }
}

#[test]
fn names_and_codes_are_distinct() {
    let distinct = |name: fn(DType) -> String| DType::ALL.map(name).into_iter().collect::<HashSet<_>>().len();
    assert_eq!(distinct(|dtype| dtype.name().to_owned()), 11);
    assert_eq!(distinct(|dtype| dtype.npy_code(ByteOrder::Big)), 11);
}

#[test]
fn a_code_carries_its_byte_order() {
    for dtype in DType::ALL {
        for byte_order in [ByteOrder::Little, ByteOrder::Big] {
            let code = dtype.npy_code(byte_order);
            let expected = if dtype.itemsize() == 1 { ByteOrder::NATIVE } else { byte_order };
            assert_eq!(DType::parse_numpy(&code).unwrap(), (dtype, expected), "{code}");
            for native in ["=", "|", ""] {
                let code = format!("{native}{}", &code[1..]);
                assert_eq!(DType::parse_numpy(&code).unwrap(), (dtype, ByteOrder::NATIVE), "{code}");
            }
        }
    }
    assert!(ByteOrder::NATIVE.is_native());
    assert_ne!(ByteOrder::Little.is_native(), ByteOrder::Big.is_native());
}

#[test]
fn numpy_counts_bytes_where_rust_would_count_bits() {
    assert_eq!(DType::parse("i8").unwrap().0, DType::Int64);
    assert_eq!(DType::parse("u8").unwrap().0, DType::Uint64);
    assert_eq!(DType::parse("f8").unwrap().0, DType::Float64);
    for short in ["i16", "i32", "i64", "u16", "u32", "u64", "f32", "f64"] {
        assert!(DType::parse(short).is_ok(), "{short}");
        assert!(DType::parse_numpy(short).is_err(), "{short} means nothing to numpy");
    }
}

#[test]
fn an_unsupported_dtype_is_told_why() {
    for (name, reason) in [
        ("|O", "pickle"),
        ("object", "pickle"),
        ("S5", "text"),
        ("<U5", "text"),
        ("str", "text"),
        ("<M8[ns]", "dates"),
        ("m8", "dates"),
        ("datetime64[ns]", "dates"),
        ("V8", "records"),
        ("f2", "half"),
        ("<f16", "half"),
        ("e", "half"),
        ("float16", "half"),
        ("bfloat16", "half"),
        ("<c8", "complex"),
        ("complex128", "complex"),
        ("f64x", "expected bool"),
        ("", "expected bool"),
        ("<", "expected bool"),
        ("<<f4", "expected bool"),
        (" f4", "expected bool"),
        ("f4 ", "expected bool"),
        ("<float32", "expected bool"),
        ("Float32", "expected bool"),
        ("f3", "expected bool"),
        ("f0", "expected bool"),
        ("b8", "expected bool"),
        ("?1", "expected bool"),
        ("u", "expected bool"),
        ("l", "expected bool"),
        ("f99999999999999999999", "expected bool"),
        ("é", "expected bool"),
    ] {
        let error = DType::parse(name).unwrap_err();
        assert_eq!(error.code(), "ERR_UNSUPPORTED_DTYPE", "{name}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("dtype {name} is not supported: ")), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let message = DType::parse(&"x".repeat(10_000)).unwrap_err().to_string();
    assert!(message.len() < 400, "{message}");
}
