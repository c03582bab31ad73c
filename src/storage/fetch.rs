//! Fetching a cache line before it is used.
//!
//! A processor's stores become visible in their order. So a store to a line that another
//! processor has read holds up all stores behind it until the line is there, and a ring
//! whose every line was read on its last lap waits for each line by itself. A line that is
//! asked for beforehand comes while others are being written. It changes nothing but the
//! time, whatever is at the address.

#![allow(unsafe_code)]

/// What these processors fetch at once.
pub(crate) const LINE: usize = 64;

#[cfg(all(target_arch = "x86_64", not(miri)))]
macro_rules! fetch {
    (write, $line:expr) => { fetch!("prefetchw [{}]", $line) };
    (read, $line:expr) => { fetch!("prefetcht0 [{}]", $line) };
    ($instruction:literal, $line:expr) => {
        // SAFETY: neither reads nor writes, and cannot fault. Processors without the
        // instruction take it for none.
        unsafe {
            core::arch::asm!($instruction, in(reg) $line.addr(), options(nomem, nostack, preserves_flags));
        }
    };
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
macro_rules! fetch {
    (write, $line:expr) => { fetch!("prfm pstl1keep, [{}]", $line) };
    (read, $line:expr) => { fetch!("prfm pldl1keep, [{}]", $line) };
    ($instruction:literal, $line:expr) => {
        // SAFETY: neither reads nor writes, and cannot fault.
        unsafe {
            core::arch::asm!($instruction, in(reg) $line.addr(), options(nomem, nostack, preserves_flags));
        }
    };
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
macro_rules! fetch {
    ($_:ident, $line:expr) => {
        let _ = $line;
    };
}

/// The line at this address is about to be written.
#[inline(always)]
pub(crate) fn to_write(line: *const u8) {
    fetch!(write, line);
}

/// The line at this address is about to be read.
#[inline(always)]
pub(crate) fn to_read(line: *const u8) {
    fetch!(read, line);
}
