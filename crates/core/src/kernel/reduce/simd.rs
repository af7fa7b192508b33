//! One source for every processor.
//!
//! A kernel is plain code, inlined into two shells: one for any processor of the architecture, and one for x86-64 with
//! AVX2, chosen when it runs. That is all that the crates for it (multiversion, pulp, `fearless_simd`) would do
//! here: measured on sums and minima of 1 GiB they gave the speed of these shells, within noise. There is no shell for
//! AVX-512: what the compiler made of widening loops there was up to ten times slower. On arm64 NEON is always there.
//! Nothing uses fused multiplication, so that results are the same, bit for bit, in all shells.

/// Plain code that is worth compiling for more than one processor. `call` is to be `#[inline(always)]`.
pub(super) trait Kernel {
    type Output;
    fn call(self) -> Self::Output;
}

/// Calls a kernel in the widest shell that this processor runs.
#[inline]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY:
        // - the processor has what the shell needs, as just asked.
        return unsafe { wide(kernel) };
    }
    kernel.call()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline(never)]
fn wide<K: Kernel>(kernel: K) -> K::Output {
    kernel.call()
}
