//! Runs of words on x86-64: 64 bytes at a time, then 16; long ones by one
//! instruction, which is as fast as `memcpy` there.
//!
//! The compiler must not look into these accesses, as others may race with
//! them, and knows no atomic access as wide. What the instructions do is what
//! relaxed loads and stores of the words would do one by one.

use core::arch::asm;
use core::arch::x86_64::__m128i;

/// Words in a block, and in a pair.
const BLOCK: usize = 8;
const PAIR: usize = 2;
/// From so many words on, one instruction moves all.
const LONG: usize = 128;

/// How many words are left, which the compiler learns here is no more than one.
#[inline(always)]
pub(super) const fn rest(words: usize) -> usize {
    words % PAIR
}

/// # Safety
/// `from` is readable and `to` writable for so many words.
#[inline(always)]
unsafe fn long(to: *mut u64, from: *const u64, count: usize) {
    // SAFETY: by the caller; whatever runs finds the direction flag clear.
    unsafe {
        asm!(
            "rep movsq",
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rcx") count => _,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// Those of [`load`], for the words of a block.
#[inline(always)]
unsafe fn load_block(from: *const u64, into: *mut u64) {
    let (a, b, c, d): (__m128i, __m128i, __m128i, __m128i);
    // SAFETY: reads the block, and nothing else.
    unsafe {
        asm!(
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            from = in(reg) from,
            a = out(xmm_reg) a,
            b = out(xmm_reg) b,
            c = out(xmm_reg) c,
            d = lateout(xmm_reg) d,
            options(nostack, preserves_flags, readonly),
        );
    }
    // SAFETY: by the caller.
    unsafe { into.cast::<[__m128i; 4]>().write_unaligned([a, b, c, d]) };
}

/// Copies words out of a segment, the first ones of `count`; says how many.
///
/// # Safety
/// `from` is readable and aligned; `into` is writable, aligned or not, and
/// this thread's alone.
#[inline(always)]
pub(super) unsafe fn load(from: *const u64, into: *mut u64, count: usize) -> usize {
    if count >= LONG {
        // SAFETY: by the caller.
        unsafe { long(into, from, count) };
        return count;
    }
    let mut done = 0;
    // Two at a time: the loop costs half as much.
    while count - done >= 2 * BLOCK {
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(done) };
        // SAFETY: as above.
        let into = unsafe { into.add(done) };
        // SAFETY: by the caller.
        unsafe { load_block(from, into) };
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(BLOCK) };
        // SAFETY: as above.
        let into = unsafe { into.add(BLOCK) };
        // SAFETY: by the caller.
        unsafe { load_block(from, into) };
        done += 2 * BLOCK;
    }
    if count - done >= BLOCK {
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(done) };
        // SAFETY: as above.
        let into = unsafe { into.add(done) };
        // SAFETY: by the caller.
        unsafe { load_block(from, into) };
        done += BLOCK;
    }
    while count - done >= PAIR {
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(done) };
        // SAFETY: as above.
        let into = unsafe { into.add(done) }.cast::<__m128i>();
        let pair: __m128i;
        // SAFETY: reads the pair, and nothing else.
        unsafe {
            asm!(
                "movups {pair}, [{from}]",
                from = in(reg) from,
                pair = lateout(xmm_reg) pair,
                options(nostack, preserves_flags, readonly),
            );
        }
        // SAFETY: by the caller.
        unsafe { into.write_unaligned(pair) };
        done += PAIR;
    }
    done
}

/// Copies words into a segment, the first ones of `count`; says how many.
///
/// # Safety
/// As for [`load`], the other way round.
#[inline(always)]
pub(super) unsafe fn store(to: *mut u64, from: *const u64, count: usize) -> usize {
    if count >= LONG {
        // SAFETY: by the caller.
        unsafe { long(to, from, count) };
        return count;
    }
    let mut done = 0;
    while count - done >= BLOCK {
        // SAFETY: within what the caller vouches for.
        let to = unsafe { to.add(done) };
        // SAFETY: as above.
        let from = unsafe { from.add(done) }.cast::<[__m128i; 4]>();
        // SAFETY: by the caller.
        let [a, b, c, d] = unsafe { from.read_unaligned() };
        // SAFETY: writes the block, and nothing else.
        unsafe {
            asm!(
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                to = in(reg) to,
                a = in(xmm_reg) a,
                b = in(xmm_reg) b,
                c = in(xmm_reg) c,
                d = in(xmm_reg) d,
                options(nostack, preserves_flags),
            );
        }
        done += BLOCK;
    }
    while count - done >= PAIR {
        // SAFETY: within what the caller vouches for.
        let to = unsafe { to.add(done) };
        // SAFETY: as above.
        let from = unsafe { from.add(done) }.cast::<__m128i>();
        // SAFETY: by the caller.
        let pair = unsafe { from.read_unaligned() };
        // SAFETY: writes the pair, and nothing else.
        unsafe {
            asm!(
                "movups [{to}], {pair}",
                to = in(reg) to,
                pair = in(xmm_reg) pair,
                options(nostack, preserves_flags),
            );
        }
        done += PAIR;
    }
    done
}
