//! Without crash points: every build except that of the crash tests.

/// Before a step.
#[inline(always)]
pub(crate) const fn point(_step: &'static str) {}

/// Whether there are points in this build.
pub(crate) const POINTS: bool = false;

/// Whether the dead are to be left as they are.
pub(crate) const fn recovery_is_off() -> bool {
    false
}
