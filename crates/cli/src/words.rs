//! Shared memory as words that several processes read and write.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use tombolo::sys::shm::{AttachOptions, Attachment, Shm};
use tombolo::sys::{self, Key};

/// Words of a shared-memory object. Nobody finds it by a key.
#[derive(Debug)]
pub struct Words(Attachment);

impl Words {
    /// Makes an object of so many words, all zero. It goes with the last
    /// process that has it, and until then can be opened by its id.
    pub fn create(words: u64) -> Result<Self, sys::Error> {
        let shm = Shm::options().create(Key::PRIVATE, 8 * words as usize)?;
        let memory = shm.attach();
        let removed = shm.remove();
        let words = Self(memory?);
        removed.map(|()| words)
    }

    /// The object with this id.
    pub fn open(id: i32) -> Result<Self, sys::Error> {
        Ok(Self(Shm::from_id(id).attach()?))
    }

    /// Another program's object, for reading.
    pub fn of(shm: Shm) -> Result<Self, sys::Error> {
        let options = AttachOptions { read_only: true, ..AttachOptions::default() };
        Ok(Self(shm.attach_with(options)?))
    }

    /// The id of the object.
    pub const fn id(&self) -> i32 {
        self.0.shm().id()
    }

    /// The word at `index`, counted in words. To one that is not there, the
    /// first.
    pub fn at(&self, index: u64) -> &AtomicU64 {
        let there = index < self.0.len() as u64 / 8;
        let index = if there { index as usize } else { 0 };
        // SAFETY: below the attachment's length, just made sure.
        let word = unsafe { self.0.as_non_null().cast::<AtomicU64>().add(index) };
        // SAFETY: aligned, as the attachment is to a page; mapped as long as
        // `self` lives; in this process reached by atomics only.
        unsafe { word.as_ref() }
    }

    /// The value of the word [at](Self::at) `index`.
    pub fn get(&self, index: u64) -> u64 {
        self.at(index).load(Ordering::Acquire)
    }
}
