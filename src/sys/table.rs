//! Walking through one of the kernel's tables of objects.

use nix::errno::Errno;

/// What there is in a table with this last place. Objects that come and go
/// meanwhile may be missed.
pub(super) fn walk<S, T>(
    last: i32,
    stat: impl Fn(i32) -> Result<(i32, S), Errno>,
    make: impl Fn(i32, &S) -> T,
) -> Result<Vec<T>, Errno> {
    let mut found = Vec::new();
    for index in 0..=last {
        match stat(index) {
            Ok((id, stat)) => found.push(make(id, &stat)),
            // Nothing there.
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}
