//! Keys: the numbers under which System V objects are found.

use std::fmt;

mod from_path;

/// The name of a segment, a semaphore set or a queue: a 32-bit number, or
/// [`PRIVATE`](Key::PRIVATE) for an object that has no name.
///
/// Each sort of object has its own name space, so one key can name one of each.
/// A key is displayed in hexadecimal, as `ipcs` does.
///
/// ```
/// use tombolo::sys::Key;
///
/// assert_eq!(Key::new(0xC0FFEE).to_string(), "0x00c0ffee");
/// assert!(Key::PRIVATE.is_private());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(i32);

impl Key {
    /// No key: every creation under it makes a new object, which processes can
    /// reach only by its id.
    #[doc(alias = "IPC_PRIVATE")]
    pub const PRIVATE: Key = Key(libc::IPC_PRIVATE);

    /// The key with this number. Zero is [`Key::PRIVATE`].
    pub const fn new(raw: i32) -> Key {
        Key(raw)
    }

    /// The number itself.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether this is [`Key::PRIVATE`].
    pub const fn is_private(self) -> bool {
        self.0 == libc::IPC_PRIVATE
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::LowerHex for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}
