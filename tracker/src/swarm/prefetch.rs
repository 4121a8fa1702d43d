//! Asks the processor for memory before it is needed. A visit to a swarm among thousands is mostly waiting
//! for memory, one line after the other; for a batch of visits all lines can be on their way at once. Nothing
//! but this instruction does it: a load would be waited for at the next lock.

/// What the processor fetches at once.
const LINE: usize = 64;

/// Asks for the first `most` bytes of a value. On processors that we do not know how to ask, nothing happens.
#[allow(unsafe_code)]
pub(super) fn prefetch<T: ?Sized>(value: &T, most: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of_val(value).min(most)).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = std::ptr::from_ref(value).cast::<i8>().wrapping_add(offset);
        // SAFETY: a hint, which neither reads nor fails, whatever the address; and these are of a value that
        // we may read.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, most, LINE);
}
