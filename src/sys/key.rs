//! Keys: the numbers under which System V objects are found.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use super::error::{Call, Error, Result};
use super::object::Object;

/// The name of a segment, a semaphore set or a queue: a 32-bit number, or
/// [`PRIVATE`](Key::PRIVATE) for an object that has no name.
///
/// They have separate name spaces, so one key can name one of each. Shown in hexadecimal, as `ipcs` does.
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
    /// The key that is none: every creation under it makes a new object,
    /// which can only be reached by its id.
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

    /// The key that [ftok(3)] derives from an existing file: the low 16 bits
    /// of its inode, the low 8 of its device and the 8 of `project`.
    ///
    /// Use it only to meet programs that do the same. It keeps 24 bits of the
    /// file's identity, so unrelated files share keys (half of the files under
    /// a `/usr` did), and a file that is deleted and written anew gets another
    /// key. Hashing a name is better.
    ///
    /// # Errors
    ///
    /// [`Invalid`](super::ErrorKind::Invalid) if `project` is 0, for which
    /// POSIX leaves the result open; otherwise whatever keeps the file from
    /// being examined.
    ///
    /// [ftok(3)]: https://man7.org/linux/man-pages/man3/ftok.3.html
    #[doc(alias = "ftok")]
    pub fn from_path(path: impl AsRef<Path>, project: u8) -> Result<Key> {
        let path = path.as_ref();
        let error = |errno| Error::new(Call::KeyFromPath, Object::Path(path.into()), errno);
        if project == 0 {
            return Err(error(Errno::EINVAL).because(
                "the project number is 0",
                "pass the same number from 1 to 255 in every program",
            ));
        }
        let file = std::fs::metadata(path)
            .map_err(|e| error(e.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)))?;
        let inode = file.ino() & 0xffff;
        let device = file.dev() & 0xff;
        let key = inode as u32 | (device as u32) << 16 | u32::from(project) << 24;
        Ok(Key(key.cast_signed()))
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
