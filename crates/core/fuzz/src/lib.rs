//! What any input at all may do to the public interface: one function for each fuzz target.
//!
//! The targets of libFuzzer call these, and so does `tests/suite/fuzz.rs` on a stable toolchain: what is asserted is
//! written once. A target never fails on a refusal. It fails where something refused should not have been, where two
//! answers about one file differ, and where an accepted layout reaches outside of its memory, which is a heap block of
//! exactly the right size, so that a sanitizer and Miri see it.

use std::io::Cursor;

use mmap_ndarray_core::checksum::BLOCK_SIZES;
use mmap_ndarray_core::format::{self, sniff, write_header};
use mmap_ndarray_core::kernel::{RawView, assign, fill};
use mmap_ndarray_core::layout::{byte_count, element_count};
use mmap_ndarray_core::{
    ByteOrder, Control, DType, ElementType, Entry, Error, Format, Header, Layout, Order, Raw, Request,
    Result, Sums,
};
use twox_hash::XxHash3_64;

/// Takes any input and panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 11] = [
    ("mmap", mmap),
    ("npy", npy),
    ("npy_text", npy_text),
    ("safetensors", safetensors),
    ("safetensors_text", safetensors_text),
    ("npz", npz),
    ("raw", raw),
    ("layout", layout),
    ("dtype", dtype),
    ("write", write),
    ("blocksums", blocksums),
];

/// Elements up to which what a layout reaches is walked.
const WALKED: u64 = if cfg!(miri) { 1 << 6 } else { 1 << 12 };

/// A whole `.mmap` file.
pub fn mmap(file: &[u8]) {
    check_file(file, Format::Mmap);
}

/// A whole `.npy` file.
pub fn npy(file: &[u8]) {
    check_file(file, Format::Npy);
}

/// The text of a `.npy` header, in files of each version whose lengths are right.
pub fn npy_text(text: &[u8]) {
    for version in 1..=3 {
        let len = match version {
            1 => (text.len() as u16).to_le_bytes().to_vec(),
            _ => (text.len() as u32).to_le_bytes().to_vec(),
        };
        check_file(&[b"\x93NUMPY" as &[u8], &[version, 0], &len, text, &[0; 96]].concat(), Format::Npy);
    }
}

/// A whole `.safetensors` file.
pub fn safetensors(file: &[u8]) {
    check_file(file, Format::Safetensors);
}

/// The text of a safetensors header, after one byte that says how many bytes of data follow it.
pub fn safetensors_text(input: &[u8]) {
    let Some((&data_len, text)) = input.split_first() else { return };
    let len = (text.len() as u64).to_le_bytes();
    check_file(&[&len as &[u8], text, &vec![0; data_len.into()]].concat(), Format::Safetensors);
}

/// A whole `.npz` file.
pub fn npz(file: &[u8]) {
    check_file(file, Format::Npz);
}

/// What a caller may say of a raw file of any length, and what a parser may say of any file.
pub fn raw(input: &[u8]) {
    let mut input = Input(input);
    let (file_len, element, order) = (input.number(), input.element(), input.order());
    let shape = input.list(Input::number);
    let strides = input.list(|input| input.number().cast_signed());
    let (first, has) = (input.number(), input.byte());
    let request = Raw {
        element,
        shape: (has & 1 != 0).then(|| shape.clone()),
        offset: first,
        strides: (has & 2 != 0).then(|| strides.clone()),
        order,
    };
    // Nothing is read, so there need be no bytes.
    let _ = open(&[], file_len, &Request { raw: Some(request), ..Request::default() });
    let descr = || element.name().to_owned();
    for header in [
        Header::new(Format::Raw, element, descr(), shape.clone(), order, first),
        Header::strided(Format::Raw, element, descr(), shape, first, strides, file_len),
    ] {
        match header {
            Ok(header) => assert_sound(&header, u64::MAX),
            Err(error) => assert_told(&error),
        }
    }
}

/// Offset, shape and strides as they come over the border, over memory of any length; then kernels over what is accepted.
pub fn layout(input: &[u8]) {
    let mut input = Input(input);
    let (element, unit) = (input.element(), 1 + usize::from(input.byte() % 9));
    let nbytes = usize::from(input.byte()) * 2;
    let memory_len = if input.byte() % 4 == 0 { input.number() } else { (nbytes / unit) as u64 };
    let shape = input.list(Input::number);
    let [target, source] = [(); 2].map(|()| {
        let strides = (0..shape.len()).map(|_| input.number().cast_signed()).collect();
        let result = Layout::new(input.number(), shape.clone(), strides, memory_len);
        result.inspect(|layout| assert_inside(layout, memory_len)).map_err(|error| assert_told(&error)).ok()
    });
    let mut memory: Box<[u8]> = (0..nbytes).map(|i| i.to_le_bytes()[0]).collect();
    let base = memory.as_mut_ptr();
    let [target, source] = [(target, element), (source, input.element())].map(|(layout, element)| {
        let layout = layout.filter(|layout| layout.len() <= WALKED)?;
        // SAFETY: all bytes of `memory`, which outlives the views and is not touched while they work.
        unsafe { RawView::new(base, nbytes, unit, element, &layout) }.ok()
    });
    let Some(target) = target else { return };
    if let Some(source) = source {
        assign(&target, &source).unwrap();
    }
    let value = vec![0xA5; element.dtype.itemsize()];
    fill(&target, &value).unwrap();
    let mut found = vec![0; target.len() * value.len()].into_boxed_slice();
    assign(&contiguous(&target, &mut found), &target).unwrap();
    // A truth value is stored as 1 where it is converted, and as it is where it is only copied.
    assert!(found.iter().all(|&byte| byte == 0xA5 || element.dtype == DType::Bool));
}

/// The name or code of a dtype.
pub fn dtype(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Ok(element) = ElementType::parse_numpy(&text) {
        assert_eq!(ElementType::parse(&text).unwrap(), element);
    }
    match ElementType::parse(&text) {
        Ok(element) => {
            let native = ElementType { byte_order: ByteOrder::NATIVE, ..element };
            assert_eq!(ElementType::parse(element.name()).unwrap(), native);
            if let Some(code) = element.npy_code() {
                assert_eq!(ElementType::parse_numpy(&code).unwrap(), element);
            }
        }
        Err(error) => assert_told(&error),
    }
}

/// The header of a new file: what is written is what is read.
pub fn write(input: &[u8]) {
    let mut input = Input(input);
    let format = Format::ALL[usize::from(input.byte()) % Format::ALL.len()];
    let (element, order, shape) = (input.element(), input.order(), input.list(Input::number));
    let bytes = match write_header(format, element, &shape, order) {
        Ok(bytes) if format != Format::Raw => bytes,
        Ok(bytes) => return assert!(bytes.is_empty()),
        Err(error) => return assert_told(&error),
    };
    let header = open(&bytes, u64::MAX, &Request::default()).unwrap();
    // An mmap file knows one byte order, whichever was asked for.
    let byte_order = if format == Format::Mmap { ByteOrder::Little } else { element.byte_order };
    assert_eq!((header.format(), header.element()), (format, ElementType { byte_order, ..element }));
    assert_eq!(whole(&header), shape);
    assert_eq!(header.data_offset(), bytes.len() as u64);
    assert_eq!(write_header(format, element, whole(&header), order).unwrap(), bytes);
}

/// A sidecar of checksums, as it is and with the hash that it should have.
pub fn blocksums(sidecar: &[u8]) {
    let own = |bytes: &[u8]| XxHash3_64::oneshot(bytes).to_le_bytes();
    let sealed = [sidecar, &own(sidecar)].concat();
    for bytes in [sidecar, &sealed] {
        let len = bytes.len() as u64;
        // It may have become shorter or longer since its length was asked for.
        for len in [len, len.saturating_mul(2).saturating_add(1), len.saturating_sub(1)] {
            match Sums::read(&mut &*bytes, len, Control::default()) {
                Ok(sums) => {
                    assert_eq!((sums.sidecar_len(), sums.blocks() * 8 + 40), (len, len));
                    assert!(BLOCK_SIZES.contains(&sums.block()));
                    assert_eq!(sums.blocks(), sums.covered().div_ceil(sums.block()));
                    let (rest, last) = bytes[..len as usize].split_at(len as usize - 8);
                    assert_eq!(last, own(rest));
                }
                Err(error) => assert_told(&error),
            }
        }
    }
}

/// What holds of a file, whatever its bytes, read as of `format` and as of what it says itself.
fn check_file(file: &[u8], format: Format) {
    let len = file.len() as u64;
    // A file may have become shorter since its length was asked for.
    for file_len in [len, len.saturating_mul(2).saturating_add(1)] {
        for strict in [false, true] {
            let _ = open(file, file_len, &Request { format: Some(format), strict, ..Request::default() });
        }
    }
    let sniffed = open(file, len, &Request::default());
    assert!(sniffed.is_err() || sniffed.is_ok_and(|header| sniff(file) == Some(header.format())));

    let unnamed = open(file, len, &Request { format: Some(format), ..Request::default() });
    let entries = match format::list(&mut Cursor::new(file), len, Some(format)) {
        Ok(entries) => entries,
        Err(error) => {
            assert_told(&error);
            return assert!(unnamed.is_err(), "opens and cannot be listed: {error}");
        }
    };
    assert!(unnamed.is_err() || entries.len() == 1, "opens without a name and holds {}", entries.len());
    for entry in entries.iter().take(8) {
        let request = Request { format: Some(format), name: Some(entry.name.clone()), ..Request::default() };
        let named = open(file, len, &request);
        // Fields and members may share a name; the first of those that can be meant is opened.
        if entries.iter().filter(|other| other.name == entry.name).count() == 1 {
            assert_same(entry, named);
        }
    }
}

/// What a list says of an array is what opening it finds.
fn assert_same(entry: &Entry, named: Result<Header>) {
    match named {
        Ok(header) => {
            assert_eq!((entry.dtype.as_str(), &*entry.shape), (header.element().name(), whole(&header)));
            assert!(header.is_empty() || entry.offset == header.data_offset(), "{entry:?}");
        }
        Err(error) => assert_ne!(error.code(), "ERR_INVALID_ARG_VALUE", "{entry:?} is listed: {error}"),
    }
}

/// Reads a header as whoever opens the file does, and walks the elements where there are few.
fn open(file: &[u8], file_len: u64, request: &Request) -> Result<Header> {
    let result = format::read(&mut Cursor::new(file), file_len, request);
    match &result {
        Ok(header) => {
            assert_sound(header, file_len);
            walk(file, header);
        }
        Err(error) => assert_told(error),
    }
    result
}

/// What whoever maps a file relies on.
pub fn assert_sound(header: &Header, file_len: u64) {
    let axes = header.shape().len() - usize::from(header.element().complex);
    assert!(axes <= 64);
    let itemsize = header.dtype().itemsize() as u64;
    assert_eq!(Some(header.len()), element_count(header.shape()));
    assert!(byte_count(header.shape(), header.dtype().itemsize()).is_some());
    assert_eq!(header.is_empty(), header.data_len() == 0);
    assert!(header.data_offset().checked_add(header.data_len()).unwrap() <= header.file_len());
    assert!(header.file_len() <= file_len);
    assert!(itemsize.is_multiple_of(header.unit()));
    // A 65th axis is that of complex parts, which no layout has.
    if header.is_empty() || header.shape().len() > 64 {
        return;
    }
    // The elements reach the first and the last byte of the data, and none outside of it.
    let layout = layout_of(header);
    assert_eq!(layout.extent(), Some((0, units(header))));
    assert_inside(&layout, units(header));
}

/// What whoever makes a pointer of a layout relies on.
fn assert_inside(layout: &Layout, memory_len: u64) {
    assert_eq!(layout.shape().len(), layout.strides().len());
    assert_eq!(Some(layout.len()), element_count(layout.shape()));
    assert_eq!(layout.is_empty(), layout.extent().is_none());
    let Some((low, high)) = layout.extent() else { return };
    assert!(low <= layout.offset() && layout.offset() < high && high <= memory_len);
    if layout.len() > WALKED {
        return;
    }
    let mut reached = vec![i128::from(layout.offset())];
    for (&n, &stride) in layout.shape().iter().zip(layout.strides()) {
        let steps = (0..i128::from(n)).map(|i| i * i128::from(stride));
        reached = steps.flat_map(|step| reached.iter().map(move |at| at + step)).collect();
    }
    let (first, last) = (reached.iter().min().unwrap(), reached.iter().max().unwrap());
    assert_eq!((*first, *last + 1), (low.into(), high.into()));
}

/// Every refusal has a code of the contract and a message that a person could read.
fn assert_told(error: &Error) {
    const CODES: [&str; 10] = [
        "ERR_INVALID_MAGIC",
        "ERR_UNSUPPORTED_VERSION",
        "ERR_INVALID_HEADER",
        "ERR_FILE_TOO_SHORT",
        "ERR_TRAILING_DATA",
        "ERR_UNSUPPORTED_DTYPE",
        "ERR_NOT_CONTIGUOUS",
        "ERR_TOO_LARGE",
        "ERR_OUT_OF_RANGE",
        "ERR_INVALID_ARG_VALUE",
    ];
    assert!(CODES.contains(&error.code()), "{}: {error}", error.code());
    let message = error.to_string();
    assert!(message.len() <= 4096, "a message of {} bytes: {message}", message.len());
}

/// Elements along each axis as the file counts them, complex ones whole.
fn whole(header: &Header) -> &[u64] {
    &header.shape()[..header.shape().len() - usize::from(header.element().complex)]
}

/// Positions that an element can have in the data.
fn units(header: &Header) -> u64 {
    (header.data_len() - header.dtype().itemsize() as u64) / header.unit() + 1
}

fn layout_of(header: &Header) -> Layout {
    let (shape, strides) = (header.shape().to_vec(), header.strides().to_vec());
    Layout::new(header.offset(), shape, strides, units(header)).unwrap()
}

/// Copies the elements out of a heap block that has the data's length.
fn walk(file: &[u8], header: &Header) {
    let data = usize::try_from(header.data_offset()).ok().and_then(|offset| file.get(offset..));
    let data = data.and_then(|data| data.get(..usize::try_from(header.data_len()).ok()?));
    let Some(data) = data.filter(|_| header.len() <= WALKED && !header.is_empty()) else { return };
    if header.shape().len() > 64 {
        return;
    }
    let mut memory: Box<[u8]> = data.into();
    let unit = usize::try_from(header.unit()).unwrap();
    // SAFETY: all bytes of `memory`, which outlives the view.
    let source = unsafe {
        RawView::new(memory.as_mut_ptr(), memory.len(), unit, header.element(), &layout_of(header))
    };
    let source = source.unwrap();
    let mut copy = vec![0; source.len() * source.dtype().itemsize()].into_boxed_slice();
    assign(&contiguous(&source, &mut copy), &source).unwrap();
}

/// A view of `memory` of the shape and dtype of `like`, without gaps.
fn contiguous(like: &RawView, memory: &mut [u8]) -> RawView {
    let shape = like.shape().iter().map(|&n| n as u64).collect();
    let layout = Layout::contiguous(shape, Order::C, like.len() as u64).unwrap();
    let itemsize = like.dtype().itemsize();
    // SAFETY: all bytes of `memory`, which the caller keeps for as long as the view.
    unsafe { RawView::new(memory.as_mut_ptr(), memory.len(), itemsize, like.dtype().into(), &layout) }
        .unwrap()
}

/// Bytes as the arguments of a call; once there are none left everything is 0.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// Mostly small, or close to where arithmetic ends; as signed it is negative as often.
    fn number(&mut self) -> u64 {
        let kind = self.byte();
        let small = u64::from(self.byte());
        let near = match kind >> 5 {
            0..=2 => small,
            3 | 4 => small % 8,
            5 => (1 << (small % 64)) - u64::from(small > 127),
            6 => i64::MAX.cast_unsigned() - small,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        };
        if kind % 4 == 3 { near.wrapping_neg() } else { near }
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = self.byte();
        // Rarely as many as there may be, and more.
        let count = if count >= 250 { count / 2 - 62 } else { count % 5 };
        (0..count).map(|_| item(self)).collect()
    }

    fn element(&mut self) -> ElementType {
        let byte = self.byte();
        let dtype = DType::ALL[usize::from(byte) % DType::ALL.len()];
        let complex = byte >= 128 && matches!(dtype, DType::Float32 | DType::Float64);
        let byte_order =
            if byte & 64 == 0 || dtype.itemsize() == 1 { ByteOrder::NATIVE } else { ByteOrder::Big };
        ElementType { dtype, byte_order, complex }
    }

    fn order(&mut self) -> Order {
        if self.byte().is_multiple_of(2) { Order::C } else { Order::Fortran }
    }
}
