//! The one place where the bytes of a segment become references.
//!
//! A peer may write anything anywhere at any time, so nothing here is ever a
//! reference to plain data: words are atomics ([`Shared`]), and elements are
//! copied (`copy`, `region`).

#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::layout::{Header, LINE, Text};
use super::shared::Shared;
use crate::sync::Ordering;
use crate::sys::proc::ForkGuard;
use crate::sys::shm::Attachment;

/// A segment attached to this process.
#[derive(Debug)]
pub(crate) struct Memory {
    attachment: ManuallyDrop<Attachment>,
    len: usize,
    /// Of the process that joined. In a forked child everything stays
    /// attached, and goes with the child.
    guard: Option<ForkGuard>,
}

impl Memory {
    /// `None` for a segment that is too small to have a header.
    pub(crate) fn new(attachment: Attachment) -> Option<Self> {
        (!attachment.read_only()).then(|| Self::for_reading(attachment)).flatten()
    }

    /// The same where nothing is ever stored: attached for reading, perhaps.
    pub(crate) fn for_reading(attachment: Attachment) -> Option<Self> {
        let len = attachment.len();
        (len >= size_of::<Header>()).then(|| Self {
            attachment: ManuallyDrop::new(attachment),
            len,
            guard: None,
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn base(&self) -> NonNull<u8> {
        // SAFETY: an attachment is never at address zero.
        unsafe { NonNull::new_unchecked(self.attachment.as_ptr()) }
    }

    /// What is at `offset`, if all of it is inside and aligned.
    pub(crate) fn at<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `offset` is within the attachment, just checked.
        let here = unsafe { self.base().add(offset) };
        // SAFETY: in bounds and aligned (the base is page-aligned); the bytes
        // stay mapped as long as `self`, and `Shared` makes any value valid
        // and shared mutation defined.
        Some(unsafe { here.cast::<T>().as_ref() })
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: `new` checked the length, the base is page-aligned, and
        // `Header` is `Shared`.
        unsafe { self.base().cast::<Header>().as_ref() }
    }

    /// The address of `length` bytes at `offset`, if they are all inside.
    pub(crate) fn range(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(length)? > self.len || !offset.is_multiple_of(LINE) {
            return None;
        }
        // SAFETY: within the attachment, just checked.
        Some(unsafe { self.base().add(offset) })
    }

    /// Gives memory back to the kernel: all pages wholly inside these bytes, which are a
    /// stretch that [`range`](Self::range) has given. Where the kernel refuses, they stay.
    pub(crate) fn give_back(&self, first: NonNull<u8>, length: usize) {
        let offset = first.addr().get().wrapping_sub(self.base().addr().get());
        if let Some(end) = offset.checked_add(length) {
            let _ = self.attachment.give_back(offset..end);
        }
    }

    /// Whether this is a forked child of the process that joined.
    pub(crate) fn in_child(&self) -> bool {
        self.guard.is_some_and(|guard| guard.in_child())
    }

    /// Notes in which process it is detached.
    pub(crate) const fn guard(&mut self, guard: ForkGuard) {
        self.guard = Some(guard);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.in_child() {
            // SAFETY: the only drop of it, and nothing refers to the memory
            // any more: every reference borrows `self`.
            unsafe { ManuallyDrop::drop(&mut self.attachment) };
        }
    }
}

impl<const WORDS: usize> Text<WORDS> {
    /// Stores a text of at most `8 * WORDS` bytes; what is beyond is cut. Zeros are behind it: a
    /// process that died may have left a longer one.
    pub(crate) fn store(&self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(8 * WORDS)];
        let mut chunks = bytes.chunks(8);
        for word in &self.bytes {
            let (mut full, chunk) = ([0; 8], chunks.next().unwrap_or_default());
            full[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(full), Ordering::Relaxed);
        }
        self.len.store(bytes.len() as u64, Ordering::Relaxed);
    }

    /// The text, or `None` where it cannot be one.
    pub(crate) fn load(&self) -> Option<String> {
        let len = usize::try_from(self.len.load(Ordering::Relaxed)).ok()?;
        let bytes: Vec<u8> =
            self.bytes.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        String::from_utf8(bytes.get(..len)?.to_vec()).ok()
    }
}
