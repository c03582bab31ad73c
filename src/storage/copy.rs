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
    /// Whatever number of words is left.
    pub(crate) const fn rest(words: usize) -> usize {
        words
    }

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
    unsafe { load_units(from, into, wide::rest(count - done)) };
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
    unsafe { store_units(to, from, wide::rest(count - done)) };
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

/// Copies `bytes` bytes of an element of `size` bytes, or of the room that it has.
///
/// # Safety
/// `from` is readable for so many bytes, and aligned to the [unit] of an element of
/// that size, which divides their number; `into` has room for as many, and is this thread's
/// alone.
unsafe fn load_of_element(from: NonNull<u8>, into: *mut u8, size: usize, bytes: usize) {
    let from = from.as_ptr().cast_const();
    match unit(size) {
        0 => {}
        // SAFETY: by the caller; the units divide the bytes.
        1 => unsafe { load_units::<u8>(from, into, bytes) },
        // SAFETY: as above.
        2 => unsafe { load_units::<u16>(from.cast(), into.cast(), bytes / 2) },
        // SAFETY: as above.
        4 => unsafe { load_units::<u32>(from.cast(), into.cast(), bytes / 4) },
        // SAFETY: as above.
        _ => unsafe { load_words(from.cast(), into.cast(), bytes / 8) },
    }
}

/// The other way round.
///
/// # Safety
/// `to` is writable for so many bytes, and aligned to the [unit] of an element of `size` bytes,
/// which divides their number.
unsafe fn store_of_element(to: *mut u8, bytes: &[u8], size: usize) {
    match unit(size) {
        0 => {}
        // SAFETY: by the caller; the units divide the bytes.
        1 => unsafe { store_units::<u8>(to, bytes.as_ptr(), bytes.len()) },
        // SAFETY: as above.
        2 => unsafe { store_units::<u16>(to.cast(), bytes.as_ptr().cast(), bytes.len() / 2) },
        // SAFETY: as above.
        4 => unsafe { store_units::<u32>(to.cast(), bytes.as_ptr().cast(), bytes.len() / 4) },
        // SAFETY: as above.
        _ => unsafe { store_words(to.cast(), bytes.as_ptr().cast(), bytes.len() / 8) },
    }
}

/// Copies an element of `size` bytes out of a segment, whatever it is.
///
/// # Safety
/// `from` is readable for so many bytes, and aligned to the [unit] of an element of
/// that size; `into` has room for as many, and is this thread's alone.
pub(crate) unsafe fn load_element(from: NonNull<u8>, into: *mut u8, size: usize) {
    // SAFETY: by the caller.
    unsafe { load_of_element(from, into, size, size) }
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
    if crash::POINTS {
        // SAFETY: by the caller.
        unsafe { store_of_element(to.as_ptr(), one, size) };
        crash::point("copy");
    }
    // SAFETY: within the element.
    let to = unsafe { to.as_ptr().add(half) };
    // SAFETY: by the caller.
    unsafe { store_of_element(to, other, size) };
}

/// The number that lies in place of an element of `size` bytes.
///
/// # Safety
/// `from` is readable for 8 bytes, and aligned to 8.
pub(crate) unsafe fn load_number(from: NonNull<u8>, size: usize) -> u64 {
    let mut number = [0; 8];
    // SAFETY: by the caller; every unit divides 8.
    unsafe { load_of_element(from, number.as_mut_ptr(), size, number.len()) };
    u64::from_ne_bytes(number)
}

/// Puts a number in place of an element of `size` bytes.
///
/// # Safety
/// `to` is writable for 8 bytes, and aligned to 8.
pub(crate) unsafe fn store_number(to: NonNull<u8>, size: usize, number: u64) {
    // SAFETY: by the caller; every unit divides 8.
    unsafe { store_of_element(to.as_ptr(), &number.to_ne_bytes(), size) };
}

/// The last bytes of a message, from 1 to 7, as a word with zeros behind them. Each case
/// reads bytes twice rather than one by one.
///
/// # Safety
/// `bytes` has `tail` bytes, and ends with them; `whole` says that it has 8 or more.
#[inline(always)]
unsafe fn tail_word(end: *const u8, tail: usize, whole: bool) -> u64 {
    /// # Safety
    /// So many bytes are there before `end`.
    #[inline(always)]
    unsafe fn before<U: Copy>(end: *const u8, bytes: usize) -> U {
        // SAFETY: by the caller.
        let from = unsafe { end.sub(bytes) };
        // SAFETY: by the caller.
        unsafe { from.cast::<U>().read_unaligned() }
    }
    if whole {
        // SAFETY: by the caller.
        let last = unsafe { before::<u64>(end, 8) };
        return last >> (8 * (8 - tail));
    }
    if tail >= 4 {
        // SAFETY: by the caller.
        let first = unsafe { before::<u32>(end, tail) };
        // SAFETY: by the caller.
        let last = unsafe { before::<u32>(end, 4) };
        return u64::from(first) | u64::from(last) << (8 * (tail - 4));
    }
    // SAFETY: by the caller.
    let first: u8 = unsafe { before(end, tail) };
    // SAFETY: by the caller; the middle of three bytes, or the last of fewer.
    let middle: u8 = unsafe { before(end, tail - tail / 2) };
    // SAFETY: by the caller.
    let last: u8 = unsafe { before(end, 1) };
    u64::from(first) | u64::from(middle) << (8 * (tail / 2)) | u64::from(last) << (8 * (tail - 1))
}

/// Puts the first bytes of a word, from 1 to 7, at the end of a message.
///
/// # Safety
/// `tail` bytes are writable before `end`; with `whole`, 8 are, and those before the
/// tail are written.
#[inline(always)]
unsafe fn put_tail(end: *mut u8, tail: usize, whole: bool, word: u64) {
    /// # Safety
    /// So many bytes are writable before `end`.
    #[inline(always)]
    unsafe fn before<U>(end: *mut u8, bytes: usize, unit: U) {
        // SAFETY: by the caller.
        let to = unsafe { end.sub(bytes) };
        // SAFETY: by the caller.
        unsafe { to.cast::<U>().write_unaligned(unit) };
    }
    if whole {
        // SAFETY: by the caller.
        let to = unsafe { end.sub(tail + 8) };
        // SAFETY: the word before the tail is written.
        let old = unsafe { to.cast::<u64>().read_unaligned() };
        let last = old >> (8 * tail) | word << (8 * (8 - tail));
        // SAFETY: by the caller.
        return unsafe { before(end, 8, last) };
    }
    if tail >= 4 {
        // SAFETY: by the caller.
        unsafe { before(end, tail, word as u32) };
        // SAFETY: by the caller.
        return unsafe { before(end, 4, (word >> (8 * (tail - 4))) as u32) };
    }
    // SAFETY: by the caller.
    unsafe { before(end, tail, word as u8) };
    // SAFETY: by the caller; the middle of three bytes, or the last of fewer.
    unsafe { before(end, tail - tail / 2, (word >> (8 * (tail / 2))) as u8) };
    // SAFETY: by the caller.
    unsafe { before(end, 1, (word >> (8 * (tail - 1))) as u8) };
}

/// Copies a message of `count` bytes out of a segment, or the first of them.
///
/// # Safety
/// As for [`load_bytes`], from the beginning on.
#[inline(always)]
pub(crate) unsafe fn load_message(from: NonNull<u8>, into: *mut u8, count: usize) {
    let from = from.as_ptr().cast_const().cast::<u64>();
    let (words, tail) = (count / 8, count % 8);
    // SAFETY: by the caller.
    unsafe { load_words(from, into.cast(), words) };
    if tail > 0 {
        // SAFETY: some of the bytes are in it.
        let last = unsafe { from.add(words) };
        // SAFETY: by the caller.
        let last = unsafe { u64::get(last) };
        // SAFETY: there is room for so many.
        let end = unsafe { into.add(count) };
        // SAFETY: the words before the tail have just been written.
        unsafe { put_tail(end, tail, words > 0, last) };
    }
}

/// Copies `count` bytes out of a segment, from `offset` on.
///
/// # Safety
/// `from` is aligned to 8, and the words that the bytes are in are readable;
/// `into` has room for the bytes, and is this thread's alone.
#[inline]
pub(crate) unsafe fn load_bytes(from: NonNull<u8>, offset: usize, into: *mut u8, count: usize) {
    // What the first word has of them, if that is not all of the word.
    let first = offset % 8;
    let head = if first == 0 { 0 } else { (8 - first).min(count) };
    // SAFETY: some of the bytes are in it, or it is where they would begin.
    let word = unsafe { from.add(offset - first) };
    if head == 0 {
        // SAFETY: by the caller.
        return unsafe { load_message(word, into, count) };
    }
    // SAFETY: by the caller.
    let bytes = unsafe { u64::get(word.as_ptr().cast()) }.to_ne_bytes();
    for (n, &byte) in bytes[first..first + head].iter().enumerate() {
        // SAFETY: by the caller.
        let into = unsafe { into.add(n) };
        // SAFETY: as above.
        unsafe { into.write(byte) };
    }
    if count > head {
        // SAFETY: more of the bytes are in the next word.
        let word = unsafe { word.add(8) };
        // SAFETY: within the room.
        let into = unsafe { into.add(head) };
        // SAFETY: by the caller.
        unsafe { load_message(word, into, count - head) };
    }
}

/// Copies a message into a segment. What is behind it in its last word is nobody's and
/// becomes 0. In the middle a process can be killed.
///
/// # Safety
/// As for [`store_bytes`], from the beginning on.
#[inline(always)]
pub(crate) unsafe fn store_message(to: NonNull<u8>, bytes: &[u8]) {
    if crash::POINTS {
        // SAFETY: by the caller.
        return unsafe { store_bytes(to, 0, bytes, true) };
    }
    // SAFETY: by the caller.
    unsafe { store_whole(to, bytes) };
}

/// # Safety
/// As for [`store_message`].
#[inline(always)]
unsafe fn store_whole(to: NonNull<u8>, bytes: &[u8]) {
    let to = to.as_ptr().cast::<u64>();
    let (words, tail) = (bytes.len() / 8, bytes.len() % 8);
    let range = bytes.as_ptr_range();
    // SAFETY: by the caller.
    unsafe { store_words(to, range.start.cast(), words) };
    if tail > 0 {
        // SAFETY: so many bytes are before their end.
        let word = unsafe { tail_word(range.end, tail, words > 0) };
        // SAFETY: some of the bytes come to be in it.
        let to = unsafe { to.add(words) };
        // SAFETY: by the caller.
        unsafe { word.put(to) };
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
unsafe fn store_part(to: NonNull<u8>, offset: usize, bytes: &[u8], last: bool) {
    let part = |word: NonNull<u64>, first: usize, bytes: &[u8]| {
        // SAFETY: by the caller.
        let mut new = unsafe { u64::get(word.as_ptr()) }.to_ne_bytes();
        for (to, &byte) in new[first..].iter_mut().zip(bytes) {
            *to = byte;
        }
        // SAFETY: by the caller.
        unsafe { u64::from_ne_bytes(new).put(word.as_ptr()) };
    };
    let first = offset % 8;
    // SAFETY: some of the bytes come to be in it, or it is where they would begin.
    let mut word = unsafe { to.add(offset - first) };
    let head = if first == 0 { 0 } else { (8 - first).min(bytes.len()) };
    let (head, rest) = bytes.split_at(head);
    if !head.is_empty() {
        part(word.cast(), first, head);
        if rest.is_empty() {
            return;
        }
        // SAFETY: more of the bytes come to be in the next one.
        word = unsafe { word.add(8) };
    }
    // What ends within a word that others have a part of.
    let shared = if last { 0 } else { rest.len() % 8 };
    let (whole, tail) = rest.split_at(rest.len() - shared);
    // SAFETY: by the caller.
    unsafe { store_whole(word, whole) };
    if !tail.is_empty() {
        // SAFETY: the tail comes to be in it.
        let word = unsafe { word.add(whole.len()) };
        part(word.cast(), 0, tail);
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

    /// Every tail, of a message that is shorter than a word and of a longer one; and sizes
    /// around each way that words are moved.
    fn lengths() -> impl Iterator<Item = usize> {
        let long = if cfg!(miri) { 100 } else { usize::MAX };
        (0..=17).chain([63, 64, 65, 200, 1_024, 2_055]).filter(move |&length| length < long)
    }

    #[test]
    fn bytes_are_copied_to_and_from_any_offset_and_nothing_else_is_touched() {
        for length in lengths() {
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
                // Others: what the copies must not reach.
                let mut room = vec![0xEE; length + 16];
                // SAFETY: as above.
                unsafe { load_bytes(start(&memory), offset, room[8..].as_mut_ptr(), length) };
                assert_eq!(room[8..][..length], message, "{length} at {offset}");
                let around = room[..8].iter().chain(&room[8 + length..]);
                assert!(around.clone().all(|&byte| byte == 0xEE), "{length} at {offset}");
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
