//! The headers of numpy's format, as numpy itself writes them.

use mmap_ndarray_core::format::write_header;
use mmap_ndarray_core::{ByteOrder, DType, ElementType, Format, Order};

use crate::npy::npy;

/// Elements of most machines, whatever this one is.
fn little(dtype: DType) -> ElementType {
    ElementType { dtype, byte_order: ByteOrder::Little, complex: false }
}

#[test]
fn a_written_header_is_numpys_to_the_byte() {
    for (dtype, shape, order, expected) in [
        (
            DType::Float64,
            &[2_u64, 3] as &[u64],
            Order::C,
            "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }",
        ),
        (
            DType::Float64,
            &[3, 2],
            Order::Fortran,
            "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2), }",
        ),
        (DType::Float32, &[5], Order::Fortran, "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }"),
        (
            DType::Uint8,
            &[1, 7],
            Order::Fortran,
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 7), }",
        ),
        (DType::Bool, &[], Order::C, "{'descr': '|b1', 'fortran_order': False, 'shape': (), }"),
    ] {
        let header = write_header(Format::Npy, little(dtype), shape, order).unwrap();
        // All of these fit into 128 bytes: the rest is spaces and a line feed.
        let expected = format!("{expected:<117}\n");
        assert_eq!(header, npy(1, &expected), "{shape:?} {order}");
    }
}

#[test]
fn a_written_header_has_numpys_length() {
    let float64 =
        |shape: &[u64], order| write_header(Format::Npy, DType::Float64.into(), shape, order).unwrap().len();
    for (shape, order, len) in [
        (&[2_u64, 3] as &[u64], Order::C, 128),
        (&[3, 2], Order::Fortran, 128),
        (&[], Order::C, 128),
        (&[0], Order::C, 128),
        (&[1; 32], Order::C, 192),
        (&[1; 64], Order::C, 320),
    ] {
        assert_eq!(float64(shape, order), len, "{shape:?} {order}");
    }
    // An array that grows along its slowest axis keeps the length of its header.
    for exponent in 0..19 {
        let n = 10_u64.pow(exponent);
        let int8 =
            |shape: &[u64], order| write_header(Format::Npy, DType::Int8.into(), shape, order).unwrap().len();
        assert_eq!(int8(&[n, 2, 1], Order::C).max(int8(&[2, 2, n / 8], Order::Fortran)), 128, "{n}");
    }
}

#[test]
fn what_no_array_can_be_is_not_written() {
    for (name, shape) in [
        ("65 axes", &[1_u64; 65] as &[u64]),
        ("2^63 bytes", &[1 << 60]),
        ("a product of 2^66", &[1 << 33, 1 << 33]),
        ("that, and an axis of 0", &[0, 1 << 33, 1 << 33]),
        ("2^63 bytes with its header", &[(1 << 60) - 1]),
    ] {
        let error = write_header(Format::Npy, DType::Float64.into(), shape, Order::C).unwrap_err();
        assert_eq!(error.code(), "ERR_TOO_LARGE", "{name}: {error}");
    }
}
