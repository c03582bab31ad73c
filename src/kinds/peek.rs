//! Looking at messages without taking them: for people. What is copied while others use the
//! channel counts only if the words that say whose it is are the same afterwards.

use crate::storage::{ByteSpan, ElementBytes};

/// What is at a position, to one who takes nothing.
#[derive(Debug)]
pub(crate) enum Peek {
    /// Nothing yet.
    Nothing,
    Found {
        message: Copied,
        /// Where the next one is.
        next: u64,
    },
    /// No message, but how many are missing here, as their publisher says.
    Missing {
        count: u64,
        /// Where the next one is.
        next: u64,
    },
    /// It has been taken, or was written over, also while it was copied. What there is
    /// begins here.
    Gone(u64),
}

/// The bytes of a message, as many as were wanted, and how many it has.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: usize,
}

impl Copied {
    pub(super) fn of_span(span: ByteSpan<'_>, most: usize) -> Self {
        let mut bytes = vec![0; span.len().min(most)];
        span.read(0, &mut bytes);
        Self { bytes, length: span.len() }
    }

    pub(super) fn of_element(element: ElementBytes<'_>, most: usize) -> Self {
        let mut bytes = Vec::new();
        element.append_to(&mut bytes);
        let length = bytes.len();
        bytes.truncate(most);
        Self { bytes, length }
    }
}
