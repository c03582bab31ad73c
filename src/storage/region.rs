//! Stretches of a segment that are a message's: what the guards of messages
//! in place are made of.
//!
//! Safe code reaches them by [copies](super::copy) only. A reference takes the
//! promise that no peer writes there ([`TrustedPeers`](super::TrustedPeers)).

#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use bytemuck::{AnyBitPattern, NoUninit};

use super::copy;
use super::memory::Memory;

/// Elements side by side, at least one, inside the memory and aligned. A view,
/// which keeps nobody else away.
pub struct Elements<'a, T> {
    first: NonNull<T>,
    count: usize,
    memory: PhantomData<&'a Memory>,
}

impl<T> Clone for Elements<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Elements<'_, T> {}

impl<T> fmt::Debug for Elements<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elements").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<'a, T> Elements<'a, T> {
    /// # Safety
    /// So many slots of `T`s are there, and one at least, inside memory that
    /// stays attached for `'a`; slots begin at multiples of the element's alignment and
    /// [unit](copy) there.
    #[inline]
    pub(crate) const unsafe fn new(first: NonNull<T>, count: usize) -> Self {
        Self { first, count, memory: PhantomData }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) const fn as_ptr(&self) -> *mut T {
        self.first.as_ptr()
    }

    /// The first element.
    #[inline]
    pub(crate) const fn first(&self) -> NonNull<T> {
        self.first
    }

    /// The element at `index`, if there is one.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Self> {
        // SAFETY: if the index is below their number, it is inside.
        let first = (index < self.count).then(|| unsafe { self.first.add(index) })?;
        // SAFETY: it is one of those that `new` was told of.
        Some(unsafe { Self::new(first, 1) })
    }

    /// Each of them by itself.
    pub(crate) fn each(self) -> impl ExactSizeIterator<Item = Self> {
        // SAFETY: below their number.
        (0..self.count).map(move |index| unsafe { self.first.add(index) }).map(|first| {
            // SAFETY: it is one of those that `new` was told of.
            unsafe { Self::new(first, 1) }
        })
    }

    /// Copies the first element out.
    #[inline]
    pub(crate) fn read(&self) -> T
    where
        T: AnyBitPattern,
    {
        let mut element = MaybeUninit::uninit();
        // SAFETY: `new` says that it is there; the room is this thread's own.
        unsafe { copy::load(self.first, element.as_mut_ptr(), 1) };
        // SAFETY: all its bytes are written, and any are a `T`.
        unsafe { element.assume_init() }
    }

    /// Copies all of them to the end of `into`.
    pub(crate) fn append_to(&self, into: &mut Vec<T>)
    where
        T: AnyBitPattern,
    {
        into.reserve(self.count);
        let room = into.spare_capacity_mut().as_mut_ptr().cast::<T>();
        // SAFETY: `new` says that so many are there; the room was reserved
        // just now.
        unsafe { copy::load(self.first, room, self.count) };
        // SAFETY: so many have just been written, and any bytes are a `T`.
        unsafe { into.set_len(into.len() + self.count) };
    }

    /// Copies elements in, from `index` on, as many as there is room for; says
    /// how many.
    #[inline]
    pub(crate) fn write(&self, index: usize, elements: &[T]) -> usize
    where
        T: NoUninit,
    {
        let count = elements.len().min(self.count.saturating_sub(index));
        if count > 0 {
            // SAFETY: the index is below their number.
            let to = unsafe { self.first.add(index) };
            // SAFETY: so many are there from `to` on, and the elements have no
            // padding.
            unsafe { copy::store(to, elements.as_ptr(), count) };
        }
        count
    }

    /// The first element itself.
    ///
    /// # Safety
    /// Nobody writes it for `'a`.
    #[inline]
    pub(crate) const unsafe fn as_ref(self) -> &'a T
    where
        T: AnyBitPattern,
    {
        // SAFETY: `new` says that it is there, and any bytes are a `T`; the
        // rest is the caller's.
        unsafe { self.first.as_ref() }
    }

    /// The first element itself.
    ///
    /// # Safety
    /// Nobody else reads or writes it for `'a`.
    #[inline]
    pub(crate) const unsafe fn as_mut(mut self) -> &'a mut T
    where
        T: AnyBitPattern,
    {
        // SAFETY: as for `as_ref`.
        unsafe { self.first.as_mut() }
    }

    /// The elements themselves.
    ///
    /// # Safety
    /// Nobody writes them for `'a`.
    #[inline]
    pub(crate) const unsafe fn as_slice(self) -> &'a [T]
    where
        T: AnyBitPattern,
    {
        // SAFETY: `new` says that so many are there, and any bytes are a `T`;
        // the rest is the caller's.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    /// The elements themselves.
    ///
    /// # Safety
    /// Nobody else reads or writes them for `'a`.
    #[inline]
    pub(crate) const unsafe fn as_mut_slice(self) -> &'a mut [T]
    where
        T: AnyBitPattern,
    {
        // SAFETY: as for `as_slice`.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.count) }
    }
}

/// Bytes of one message, inside the memory. A view, which keeps nobody else
/// away.
///
/// They begin at a multiple of 8, and what is behind them in the last word is
/// nobody's.
#[derive(Clone, Copy, Debug)]
pub struct ByteSpan<'a> {
    first: NonNull<u8>,
    length: usize,
    memory: PhantomData<&'a Memory>,
}

impl<'a> ByteSpan<'a> {
    /// # Safety
    /// So many bytes, made up to words, are inside memory that stays attached
    /// for `'a`, and `first` is aligned to 8.
    #[inline(always)]
    pub(crate) const unsafe fn new(first: NonNull<u8>, length: usize) -> Self {
        Self { first, length, memory: PhantomData }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) const fn as_ptr(&self) -> *mut u8 {
        self.first.as_ptr()
    }

    /// Copies bytes out, from `offset` on, as many as there are; says how many.
    #[inline]
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        // SAFETY: there is room for so many.
        unsafe { self.read_to(offset, into.as_mut_ptr(), into.len()) }
    }

    /// The same, to where no bytes are yet.
    #[inline]
    pub(crate) fn read_uninit(&self, offset: usize, into: &mut [MaybeUninit<u8>]) -> usize {
        // SAFETY: as above.
        unsafe { self.read_to(offset, into.as_mut_ptr().cast(), into.len()) }
    }

    /// # Safety
    /// `into` can be written for `room` bytes.
    #[inline]
    unsafe fn read_to(&self, offset: usize, into: *mut u8, room: usize) -> usize {
        if offset == 0 {
            let count = room.min(self.length);
            // SAFETY: so many are there; the room is the caller's.
            unsafe { copy::load_message(self.first, into, count) };
            return count;
        }
        let count = room.min(self.length.saturating_sub(offset));
        // An offset beyond the end names no address inside.
        if count > 0 {
            // SAFETY: so many are there from `offset` on; the room is the caller's.
            unsafe { copy::load_bytes(self.first, offset, into, count) };
        }
        count
    }

    /// Copies all of them to the end of `into`.
    #[inline]
    pub(crate) fn append_to(&self, into: &mut Vec<u8>) {
        into.reserve(self.length);
        let room = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: all of them; the room was reserved just now.
        unsafe { copy::load_message(self.first, room, self.length) };
        // SAFETY: so many have just been written.
        unsafe { into.set_len(into.len() + self.length) };
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut into = Vec::with_capacity(self.length);
        self.append_to(&mut into);
        into
    }

    /// Copies a whole message in, or as much of it as there is room for.
    #[inline(always)]
    pub(crate) fn fill(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.length)];
        // SAFETY: there is room for so many, made up to words.
        unsafe { copy::store_message(self.first, bytes) };
    }

    /// Copies bytes in, from `offset` on, as many as there is room for; says
    /// how many.
    #[inline]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> usize {
        if offset == 0 && bytes.len() >= self.length {
            self.fill(bytes);
            return self.length;
        }
        let room = self.length.saturating_sub(offset);
        let bytes = &bytes[..bytes.len().min(room)];
        if !bytes.is_empty() {
            // SAFETY: there is room for so many from `offset` on, made up to words.
            unsafe { copy::store_bytes(self.first, offset, bytes, bytes.len() == room) };
        }
        bytes.len()
    }

    /// The bytes themselves.
    ///
    /// # Safety
    /// Nobody writes them for `'a`.
    pub(crate) const unsafe fn as_slice(self) -> &'a [u8] {
        // SAFETY: inside the memory (`new`); the rest is the caller's.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.length) }
    }

    /// The bytes themselves.
    ///
    /// # Safety
    /// Nobody else reads or writes them for `'a`.
    pub(crate) const unsafe fn as_mut_slice(self) -> &'a mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.length) }
    }
}

/// The bytes of elements of one size, whose type is not known. A view, which keeps nobody
/// else away.
#[derive(Clone, Copy, Debug)]
pub struct ElementBytes<'a> {
    first: NonNull<u8>,
    size: usize,
    /// From the start of one element to the start of the next one.
    stride: usize,
    count: usize,
    memory: PhantomData<&'a Memory>,
}

impl<'a> ElementBytes<'a> {
    /// # Safety
    /// From `first` on there are so many elements of `size` bytes, each `stride` bytes
    /// behind the one before, inside memory that stays attached for `'a`; and each begins
    /// at a multiple of its [unit](copy).
    pub(crate) const unsafe fn new(
        first: NonNull<u8>,
        (size, stride): (usize, usize),
        count: usize,
    ) -> Self {
        Self { first, size, stride, count, memory: PhantomData }
    }

    /// How many bytes an element has.
    pub(crate) const fn len(&self) -> usize {
        self.size
    }

    pub(crate) const fn as_ptr(&self) -> *mut u8 {
        self.first.as_ptr()
    }

    /// Each of them by itself.
    pub(crate) fn each(self) -> impl Iterator<Item = Self> {
        // SAFETY: below their number.
        (0..self.count).map(move |index| unsafe { self.first.add(index * self.stride) }).map(
            move |first| {
                // SAFETY: it is one of those that `new` was told of.
                unsafe { Self::new(first, (self.size, self.stride), 1) }
            },
        )
    }

    /// Copies an element in, to where the element with this index is, if there is one and
    /// it is of that size; says how many bytes it has, or 0.
    pub(crate) fn write(&self, index: usize, element: &[u8]) -> usize {
        if index >= self.count || element.len() != self.size {
            return 0;
        }
        // SAFETY: the index is below their number.
        let to = unsafe { self.first.add(index * self.stride) };
        // SAFETY: there is room for so many bytes, and `new` says how they are aligned.
        unsafe { copy::store_element(to, element) };
        self.size
    }

    /// Copies the first element to the end of `into`.
    pub(crate) fn append_to(&self, into: &mut Vec<u8>) {
        into.reserve(self.size);
        let room = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `new` says that one is there; the room was reserved just now.
        unsafe { copy::load_element(self.first, room, self.size) };
        // SAFETY: so many have just been written.
        unsafe { into.set_len(into.len() + self.size) };
    }
}
