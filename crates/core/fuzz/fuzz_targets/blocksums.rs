#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mmap_ndarray_fuzz::blocksums(input));
