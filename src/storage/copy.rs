//! Copies between a segment and memory that is this process's own.
//!
//! Others may write to the segment while a copy runs, and what they write may
//! be nonsense that makes two threads of this process use one slot. So each
//! access to the segment is a relaxed atomic one. Whatever a peer does meanwhile, a
//! copy ends with some bytes in this process's own memory, and nothing is
//! undefined. The bytes are looked at only there.
//!
//! Accesses that race must be of one size and aligned to it. Elements are
//! moved by the largest [unit](unit) that divides their size, and bytes by
//! words of 8. On x86-64 a run of words is moved by wider instructions, which
//! the compiler does not look into (`copy/wide.rs`). Miri and the sanitizers
//! see every word by itself.

#![allow(unsafe_code)]

use core::ptr::NonNull;

use crate::sync::Ordering;
use crate::sync::unstepped::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use crate::sys::crash;

#[cfg(all(target_arch = "x86_64", not(any(miri, tombolo_asan, tombolo_tsan))))]
mod wide;

/// Without wider instructions.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, tombolo_asan, tombolo_tsan)))))]
mod wide {
    /// # Safety
    /// None is needed: it does nothing.
    pub(crate) const unsafe fn load(_: *const u64, _: *mut u64, _: usize) -> usize {
        0
    }

    /// # Safety
    /// None is needed: it does nothing.
    pub(crate) const unsafe fn store(_: *mut u64, _: *const u64, _: usize) -> usize {
        0
    }
}

/// What one access to a segment moves.
trait Unit: Copy {
    /// # Safety
    /// `from` is readable and aligned.
    unsafe fn get(from: *const Self) -> Self;

    /// # Safety
    /// `to` is writable and aligned.
    unsafe fn put(self, to: *mut Self);
}

macro_rules! units {
    ($($unit:ty: $atomic:ty;)*) => {$(
        impl Unit for $unit {
            #[inline(always)]
            unsafe fn get(from: *const Self) -> Self {
                #[cfg(tombolo_tsan)]
                // SAFETY: by the caller. ThreadSanitizer is to see two threads
                // that keep to the protocol and race all the same.
                return unsafe { from.read_volatile() };
                #[cfg(not(tombolo_tsan))]
                {
                    // SAFETY: by the caller.
                    let atomic = unsafe { <$atomic>::from_ptr(from.cast_mut()) };
                    atomic.load(Ordering::Relaxed)
                }
            }

            #[inline(always)]
            unsafe fn put(self, to: *mut Self) {
                #[cfg(tombolo_tsan)]
                // SAFETY: by the caller, as above.
                return unsafe { to.write_volatile(self) };
                #[cfg(not(tombolo_tsan))]
                {
                    // SAFETY: by the caller.
                    let atomic = unsafe { <$atomic>::from_ptr(to) };
                    atomic.store(self, Ordering::Relaxed);
                }
            }
        }
    )*};
}

units! {
    u8: AtomicU8;
    u16: AtomicU16;
    u32: AtomicU32;
    u64: AtomicU64;
}

/// The bytes of an access to an element: the largest power of two, up to 8,
/// that divides its size. Slots begin at multiples of it.
const fn unit(size: usize) -> usize {
    match size.trailing_zeros() {
        _ if size == 0 => 0,
        0 => 1,
        1 => 2,
        2 => 4,
        _ => 8,
    }
}

/// # Safety
/// `from` is readable for so many, and aligned; `into` is writable for as
/// many, aligned or not, and this thread's alone.
#[inline(always)]
unsafe fn load_units<U: Unit>(from: *const U, into: *mut U, count: usize) {
    for n in 0..count {
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(n) };
        // SAFETY: as above.
        let into = unsafe { into.add(n) };
        // SAFETY: as above.
        let unit = unsafe { U::get(from) };
        // SAFETY: as above.
        unsafe { into.write_unaligned(unit) };
    }
}

/// # Safety
/// As for [`load_units`], the other way round.
#[inline(always)]
unsafe fn store_units<U: Unit>(to: *mut U, from: *const U, count: usize) {
    for n in 0..count {
        // SAFETY: within what the caller vouches for.
        let from = unsafe { from.add(n) };
        // SAFETY: as above.
        let to = unsafe { to.add(n) };
        // SAFETY: as above.
        let unit = unsafe { from.read_unaligned() };
        // SAFETY: as above.
        unsafe { unit.put(to) };
    }
}

/// # Safety
/// As for [`load_units`].
#[inline(always)]
unsafe fn load_words(from: *const u64, into: *mut u64, count: usize) {
    // SAFETY: by the caller.
    let done = unsafe { wide::load(from, into, count) };
    // SAFETY: no more than `count` are done.
    let from = unsafe { from.add(done) };
    // SAFETY: as above.
    let into = unsafe { into.add(done) };
    // SAFETY: the rest of what the caller vouches for.
    unsafe { load_units(from, into, count - done) };
}

/// # Safety
/// As for [`load_units`], the other way round.
#[inline(always)]
unsafe fn store_words(to: *mut u64, from: *const u64, count: usize) {
    // SAFETY: by the caller.
    let done = unsafe { wide::store(to, from, count) };
    // SAFETY: no more than `count` are done.
    let from = unsafe { from.add(done) };
    // SAFETY: as above.
    let to = unsafe { to.add(done) };
    // SAFETY: the rest of what the caller vouches for.
    unsafe { store_units(to, from, count - done) };
}

/// Copies `count` elements out of a segment, whatever they are.
///
/// # Safety
/// `from` is readable for so many, and in a slot of `T`s; `into` has room for
/// as many, and is this thread's alone.
#[inline(always)]
pub(crate) unsafe fn load<T>(from: NonNull<T>, into: *mut T, count: usize) {
    let (from, size) = (from.as_ptr().cast_const(), size_of::<T>());
    match const { unit(size_of::<T>()) } {
        0 => {}
        // SAFETY: by the caller; the units divide the elements.
        1 => unsafe { load_units::<u8>(from.cast(), into.cast(), count * size) },
        // SAFETY: as above.
        2 => unsafe { load_units::<u16>(from.cast(), into.cast(), count * size / 2) },
        // SAFETY: as above.
        4 => unsafe { load_units::<u32>(from.cast(), into.cast(), count * size / 4) },
        // SAFETY: as above.
        _ => unsafe { load_words(from.cast(), into.cast(), count * (size / 8)) },
    }
}

/// Copies `count` elements into a segment. In the middle a process can be
/// killed.
///
/// # Safety
/// `to` is writable for so many, and in a slot of `T`s; `from` has as many,
/// without padding.
#[inline(always)]
pub(crate) unsafe fn store<T>(to: NonNull<T>, from: *const T, count: usize) {
    let (to, unit) = (to.as_ptr(), const { unit(size_of::<T>()) });
    if unit == 0 {
        return;
    }
    let units = count * (size_of::<T>() / unit);
    let half = if crash::POINTS { units / 2 } else { 0 };
    let part = |first: usize, count: usize| {
        // SAFETY: within the elements.
        let to = unsafe { to.cast::<u8>().add(first * unit) };
        // SAFETY: as above.
        let from = unsafe { from.cast::<u8>().add(first * unit) };
        match unit {
            // SAFETY: by the caller; the units divide the elements.
            1 => unsafe { store_units::<u8>(to, from, count) },
            // SAFETY: as above.
            2 => unsafe { store_units::<u16>(to.cast(), from.cast(), count) },
            // SAFETY: as above.
            4 => unsafe { store_units::<u32>(to.cast(), from.cast(), count) },
            // SAFETY: as above.
            _ => unsafe { store_words(to.cast(), from.cast(), count) },
        }
    };
    if crash::POINTS {
        part(0, half);
        crash::point("copy");
    }
    part(half, units - half);
}

/// Copies an element of `size` bytes out of a segment, whatever it is.
///
/// # Safety
/// `from` is readable for so many bytes, and aligned to the [unit] of an element of
/// that size; `into` has room for as many, and is this thread's alone.
pub(crate) unsafe fn load_element(from: NonNull<u8>, into: *mut u8, size: usize) {
    let from = from.as_ptr().cast_const();
    match unit(size) {
        0 => {}
        // SAFETY: by the caller; the units divide the element.
        1 => unsafe { load_units::<u8>(from, into, size) },
        // SAFETY: as above.
        2 => unsafe { load_units::<u16>(from.cast(), into.cast(), size / 2) },
        // SAFETY: as above.
        4 => unsafe { load_units::<u32>(from.cast(), into.cast(), size / 4) },
        // SAFETY: as above.
        _ => unsafe { load_words(from.cast(), into.cast(), size / 8) },
    }
}

/// Copies an element into a segment. In the middle a process can be killed.
///
/// # Safety
/// `to` is writable for so many bytes, and aligned to the [unit] of an element of that
/// size.
pub(crate) unsafe fn store_element(to: NonNull<u8>, element: &[u8]) {
    let size = element.len();
    let half = if crash::POINTS { size / 16 * 8 } else { 0 };
    let (one, other) = element.split_at(half);
    let part = |to: *mut u8, bytes: &[u8]| match unit(size) {
        0 => {}
        // SAFETY: by the caller; the units divide the element.
        1 => unsafe { store_units::<u8>(to, bytes.as_ptr(), bytes.len()) },
        // SAFETY: as above.
        2 => unsafe { store_units::<u16>(to.cast(), bytes.as_ptr().cast(), bytes.len() / 2) },
        // SAFETY: as above.
        4 => unsafe { store_units::<u32>(to.cast(), bytes.as_ptr().cast(), bytes.len() / 4) },
        // SAFETY: as above.
        _ => unsafe { store_words(to.cast(), bytes.as_ptr().cast(), bytes.len() / 8) },
    };
    if crash::POINTS {
        part(to.as_ptr(), one);
        crash::point("copy");
    }
    // SAFETY: within the element.
    part(unsafe { to.as_ptr().add(half) }, other);
}

/// A part of a word.
#[derive(Clone, Copy)]
struct Part {
    /// Its first byte in the word, and how many it has.
    first: usize,
    count: usize,
}

/// Copies `count` bytes out of a segment, from `offset` on.
///
/// # Safety
/// `from` is aligned to 8, and the words that the bytes are in are readable;
/// `into` has room for the bytes, and is this thread's alone.
#[inline]
pub(crate) unsafe fn load_bytes(from: NonNull<u8>, offset: usize, into: *mut u8, count: usize) {
    let from = from.as_ptr().cast_const().cast::<u64>();
    let part = |word: usize, Part { first, count }: Part, into: *mut u8| {
        // SAFETY: some of the bytes are in it.
        let word = unsafe { from.add(word) };
        // SAFETY: by the caller.
        let word = unsafe { u64::get(word) }.to_ne_bytes();
        for (n, &byte) in word[first..first + count].iter().enumerate() {
            // SAFETY: by the caller.
            let into = unsafe { into.add(n) };
            // SAFETY: as above.
            unsafe { into.write(byte) };
        }
    };
    let (word, first) = (offset / 8, offset % 8);
    let head = if first == 0 { 0 } else { (8 - first).min(count) };
    if head > 0 {
        part(word, Part { first, count: head }, into);
    }
    let (word, words, tail) =
        (word + usize::from(head > 0), (count - head) / 8, (count - head) % 8);
    // SAFETY: within the bytes.
    let middle = unsafe { into.add(head) };
    // SAFETY: as above.
    let whole = unsafe { from.add(word) };
    // SAFETY: by the caller.
    unsafe { load_words(whole, middle.cast(), words) };
    if tail > 0 {
        // SAFETY: within the bytes.
        let into = unsafe { middle.add(8 * words) };
        part(word + words, Part { first: 0, count: tail }, into);
    }
}

/// Copies `bytes` into a segment, from `offset` on. With `last`, what is
/// behind them in their last word is nobody's and becomes 0; without, it
/// stays. In the middle a process can be killed.
///
/// # Safety
/// `to` is aligned to 8, and the words that the bytes come to be in are
/// writable.
#[inline]
pub(crate) unsafe fn store_bytes(to: NonNull<u8>, offset: usize, bytes: &[u8], last: bool) {
    if crash::POINTS {
        // In words, so that each half writes its own.
        let half = (offset + bytes.len() / 2) / 8 * 8;
        let (one, other) = bytes.split_at(half.saturating_sub(offset));
        // SAFETY: by the caller.
        unsafe { store_part(to, offset, one, false) };
        crash::point("copy");
        // SAFETY: by the caller.
        unsafe { store_part(to, offset + one.len(), other, last) };
    } else {
        // SAFETY: by the caller.
        unsafe { store_part(to, offset, bytes, last) };
    }
}

/// # Safety
/// As for [`store_bytes`].
#[inline(always)]
unsafe fn store_part(to: NonNull<u8>, offset: usize, bytes: &[u8], last: bool) {
    let to = to.as_ptr().cast::<u64>();
    let part = |word: usize, first: usize, bytes: &[u8], fresh: bool| {
        // SAFETY: some of the bytes come to be in it.
        let word = unsafe { to.add(word) };
        // SAFETY: by the caller.
        let old = if fresh { 0 } else { unsafe { u64::get(word) } };
        let mut new = old.to_ne_bytes();
        for (to, &byte) in new[first..].iter_mut().zip(bytes) {
            *to = byte;
        }
        // SAFETY: by the caller.
        unsafe { u64::from_ne_bytes(new).put(word) };
    };
    let (word, first) = (offset / 8, offset % 8);
    let head = if first == 0 { 0 } else { (8 - first).min(bytes.len()) };
    let (head, rest) = bytes.split_at(head);
    if !head.is_empty() {
        part(word, first, head, false);
    }
    let word = word + usize::from(!head.is_empty());
    let words = rest.len() / 8;
    let (whole, tail) = rest.split_at(8 * words);
    // SAFETY: within the words.
    let middle = unsafe { to.add(word) };
    // SAFETY: by the caller.
    unsafe { store_words(middle, whole.as_ptr().cast(), words) };
    if !tail.is_empty() {
        part(word + words, 0, tail, last);
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;
    use std::thread;

    use super::*;

    /// Words that stand in for a segment.
    fn shared(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|n| AtomicU64::new(u64::from_ne_bytes([n as u8; 8]))).collect()
    }

    fn start(shared: &[AtomicU64]) -> NonNull<u8> {
        NonNull::from(shared).cast()
    }

    fn bytes(shared: &[AtomicU64]) -> Vec<u8> {
        shared.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect()
    }

    /// Sizes around each way that words are moved.
    const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 16, 63, 64, 65, 200, 1_024, 2_055];

    #[test]
    fn bytes_are_copied_to_and_from_any_offset_and_nothing_else_is_touched() {
        let long = if cfg!(miri) { 100 } else { usize::MAX };
        for length in LENGTHS.into_iter().filter(|&length| length < long) {
            for offset in 0..9 {
                let memory = shared((offset + length).div_ceil(8) + 1);
                let mut expected = bytes(&memory);
                let message: Vec<u8> = (0..length).map(|n| (n * 31 + offset) as u8).collect();
                // SAFETY: so many words are there.
                unsafe { store_bytes(start(&memory), offset, &message, false) };
                expected[offset..offset + length].copy_from_slice(&message);
                assert_eq!(bytes(&memory), expected, "{length} at {offset}");
                let mut into = vec![0; length];
                // SAFETY: as above, and there is room for them.
                unsafe { load_bytes(start(&memory), offset, into.as_mut_ptr(), length) };
                assert_eq!(into, message, "{length} at {offset}");
                // SAFETY: as above.
                unsafe { store_bytes(start(&memory), offset, &message, true) };
                if length > 0 {
                    let end = (offset + length).next_multiple_of(8);
                    // A head that ends within its word is no last one.
                    if offset.is_multiple_of(8) || offset / 8 < (offset + length - 1) / 8 {
                        expected[offset + length..end].fill(0);
                    }
                    assert_eq!(bytes(&memory), expected, "{length} at {offset}");
                }
            }
        }
    }

    fn elements<const SIZE: usize>() {
        for count in [1, 2, 3, 9] {
            let memory = shared((SIZE * count).div_ceil(8) + 1);
            let mut expected = bytes(&memory);
            let own: Vec<[u8; SIZE]> = (0..count).map(|n| [n as u8 ^ 0x5A; SIZE]).collect();
            // SAFETY: there is room for so many, aligned to what divides them.
            unsafe { store(start(&memory).cast::<[u8; SIZE]>(), own.as_ptr(), count) };
            expected[..SIZE * count].copy_from_slice(&own.concat());
            assert_eq!(bytes(&memory), expected, "{count} of {SIZE}");
            let mut into = vec![[0; SIZE]; count];
            // SAFETY: so many are there, and there is room for them.
            unsafe { load(start(&memory).cast::<[u8; SIZE]>(), into.as_mut_ptr(), count) };
            assert_eq!(into, own);
        }
    }

    #[test]
    fn elements_of_every_size_are_copied_and_nothing_else_is_touched() {
        elements::<0>();
        elements::<1>();
        elements::<2>();
        elements::<3>();
        elements::<4>();
        elements::<12>();
        elements::<8>();
        elements::<24>();
        elements::<64>();
        elements::<72>();
        if !cfg!(miri) {
            elements::<1_024>();
            elements::<1_032>();
        }
    }

    #[test]
    fn copies_may_race_with_copies() {
        let memory = shared(9);
        let rounds = if cfg!(miri) { 20 } else { 2_000 };
        thread::scope(|scope| {
            for value in [0x11_u8, 0x22] {
                let memory = &memory;
                scope.spawn(move || {
                    for _ in 0..rounds {
                        // SAFETY: so many words are there.
                        unsafe { store_bytes(start(memory), 0, &[value; 67], true) };
                        // SAFETY: as above.
                        unsafe { store_bytes(start(memory), 3, &[value; 7], false) };
                    }
                });
            }
            for _ in 0..rounds {
                let mut into = [0_u8; 67];
                // SAFETY: as above, and there is room for them.
                unsafe { load_bytes(start(&memory), 0, into.as_mut_ptr(), into.len()) };
                let known = |&byte: &u8| byte < 9 || byte == 0x11 || byte == 0x22;
                assert!(into.iter().all(known), "{into:?}");
            }
        });
    }
}
