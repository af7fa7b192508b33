//! The names of the element types.

use std::collections::HashSet;

use mmap_ndarray_core::{ByteOrder, DType, ElementType};

/// (dtype, bytes, long name, short name, numpy code, numpy's letter for the C type; the last two where numpy has it)
type Names = (DType, usize, &'static str, &'static str, Option<&'static str>, &'static str);

const NAMES: [Names; 13] = [
    (DType::Bool, 1, "bool", "bool", Some("|b1"), "?"),
    (DType::Int8, 1, "int8", "i1", Some("|i1"), "b"),
    (DType::Uint8, 1, "uint8", "u1", Some("|u1"), "B"),
    (DType::Int16, 2, "int16", "i16", Some("<i2"), "h"),
    (DType::Uint16, 2, "uint16", "u16", Some("<u2"), "H"),
    (DType::Int32, 4, "int32", "i32", Some("<i4"), "i"),
    (DType::Uint32, 4, "uint32", "u32", Some("<u4"), "I"),
    (DType::Int64, 8, "int64", "i64", Some("<i8"), "q"),
    (DType::Uint64, 8, "uint64", "u64", Some("<u8"), "Q"),
    (DType::Float16, 2, "float16", "f16", Some("<f2"), "e"),
    (DType::Bfloat16, 2, "bfloat16", "bf16", None, "bfloat16"),
    (DType::Float32, 4, "float32", "f32", Some("<f4"), "f"),
    (DType::Float64, 8, "float64", "f64", Some("<f8"), "d"),
];

#[test]
fn every_name_of_a_dtype_reads_as_that_dtype() {
    assert_eq!(NAMES.map(|row| row.0), DType::ALL);
    for (dtype, itemsize, long, short, code, letter) in NAMES {
        assert_eq!((dtype.itemsize(), dtype.name()), (itemsize, long));
        assert_eq!(dtype.to_string(), long);
        let little = ElementType { byte_order: ByteOrder::Little, ..dtype.into() };
        assert_eq!((little.npy_code().as_deref(), little.size(), little.name()), (code, itemsize, long));
        for name in [long, short, code.map_or(long, |code| &code[1..]), letter] {
            assert_eq!(parse(name), Ok(dtype.into()), "{name}");
        }
    }
}

fn parse(name: &str) -> Result<ElementType, &'static str> {
    ElementType::parse(name).map_err(|error| error.code())
}

#[test]
fn names_and_codes_are_distinct() {
    let distinct = |names: Vec<String>| names.into_iter().collect::<HashSet<_>>().len();
    assert_eq!(distinct(DType::ALL.map(|dtype| dtype.name().to_owned()).to_vec()), 13);
    let codes = DType::ALL.into_iter().filter_map(|dtype| ElementType::from(dtype).npy_code());
    assert_eq!(distinct(codes.collect()), 12);
}

#[test]
fn a_complex_number_is_two_of_its_parts() {
    for (name, part, size, codes) in [
        ("complex64", DType::Float32, 8, ["<c8", ">c8", "=c8", "c8", "F"]),
        ("complex128", DType::Float64, 16, ["<c16", ">c16", "=c16", "c16", "D"]),
    ] {
        let complex = ElementType { complex: true, ..part.into() };
        assert_eq!(parse(name), Ok(complex));
        assert_eq!((complex.name(), complex.to_string().as_str(), complex.size()), (name, name, size));
        for code in codes {
            let byte_order = match code.as_bytes()[0] {
                b'<' => ByteOrder::Little,
                b'>' => ByteOrder::Big,
                _ => ByteOrder::NATIVE,
            };
            let element = ElementType { byte_order, ..complex };
            assert_eq!(parse(code), Ok(element), "{code}");
            assert_eq!(ElementType::parse_numpy(&element.npy_code().unwrap()).unwrap(), element, "{code}");
        }
    }
}

#[test]
fn a_code_carries_its_byte_order() {
    for dtype in DType::ALL {
        for byte_order in [ByteOrder::Little, ByteOrder::Big] {
            let Some(code) = (ElementType { byte_order, ..dtype.into() }).npy_code() else {
                assert_eq!(dtype, DType::Bfloat16);
                continue;
            };
            let expected = if dtype.itemsize() == 1 { ByteOrder::NATIVE } else { byte_order };
            let element = ElementType { byte_order: expected, ..dtype.into() };
            assert_eq!(ElementType::parse_numpy(&code).unwrap(), element, "{code}");
            for native in ["=", "|", ""] {
                let code = format!("{native}{}", &code[1..]);
                assert_eq!(ElementType::parse_numpy(&code).unwrap(), dtype.into(), "{code}");
            }
        }
    }
    assert!(ByteOrder::NATIVE.is_native());
    assert_ne!(ByteOrder::Little.is_native(), ByteOrder::Big.is_native());
}

#[test]
fn numpy_counts_bytes_where_rust_would_count_bits() {
    assert_eq!(ElementType::parse("i8").unwrap().dtype, DType::Int64);
    assert_eq!(ElementType::parse("u8").unwrap().dtype, DType::Uint64);
    assert_eq!(ElementType::parse("f8").unwrap().dtype, DType::Float64);
    for short in ["i16", "i32", "i64", "u16", "u32", "u64", "f32", "f64", "bf16", "bfloat16"] {
        assert!(ElementType::parse(short).is_ok(), "{short}");
        assert!(ElementType::parse_numpy(short).is_err(), "{short} means nothing to numpy");
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
        ("<f16", "extended"),
        ("f12", "extended"),
        ("g", "extended"),
        ("<c32", "extended"),
        ("complex256", "extended"),
        ("<bfloat16", "expected bool"),
        ("c4", "expected bool"),
        ("c64", "expected bool"),
        ("<complex64", "expected bool"),
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
        let error = ElementType::parse(name).unwrap_err();
        assert_eq!(error.code(), "ERR_UNSUPPORTED_DTYPE", "{name}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("dtype {name} is not supported: ")), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let message = ElementType::parse(&"x".repeat(10_000)).unwrap_err().to_string();
    assert!(message.len() < 400, "{message}");
}
