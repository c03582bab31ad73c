//! The keys that ftok(3) derives from files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use super::Key;
use crate::sys::error::{Call, Error, Result};
use crate::sys::object::Object;

impl Key {
    /// The key that [ftok(3)] derives from an existing file: the low 16 bits
    /// of its inode, the low 8 of its device and the 8 of `project`.
    ///
    /// Use it only to meet programs that do the same. The key keeps 24 bits of
    /// the file's identity, so unrelated files share keys (half of the files
    /// under a `/usr` did). A file that is deleted and written anew gets another
    /// key. A hash of a name is a better key.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::sys::ErrorKind::Invalid) if `project` is 0, for which
    /// POSIX leaves the result open; otherwise the error that stat(2) gives for
    /// the file.
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
