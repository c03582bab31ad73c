//! No points: what everybody but the crash tests is built with.

/// Before a step.
#[inline(always)]
pub(crate) const fn point(_step: &'static str) {}

/// Whether there are points in this build.
pub(crate) const POINTS: bool = false;

/// Copies `from` into `to`, which is as long.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

/// Whether the dead are to be left as they are.
pub(crate) const fn recovery_is_off() -> bool {
    false
}
