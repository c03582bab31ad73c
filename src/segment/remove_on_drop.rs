//! A segment that is removed at the end of a scope.

use super::handle::Segment;

/// Removes its segment when it is dropped, also by a panic: see
/// [`Segment::remove_on_drop`].
#[derive(Debug)]
#[must_use = "the segment is removed when this is dropped: bind it to a name, as in `let _gone`"]
pub struct RemoveOnDrop {
    segment: Segment,
}

impl Segment {
    /// Removes the segment at the end of the scope, whether that returns, fails or
    /// panics. Processes that still use it get [`Fault::Closed`](crate::Fault::Closed).
    ///
    /// This is for tests, and for programs that own their segment. A process that is
    /// killed, or aborts, drops nothing. So remove what an earlier run may have left
    /// before you create the segment, or use an [anonymous](Self::anonymous) one, whose
    /// memory is always freed with the last process.
    ///
    /// ```
    /// use tombolo::{OpenError, Segment};
    ///
    /// let name = format!("my-test/{}", std::process::id());
    /// let failed = std::panic::catch_unwind(|| {
    ///     let segment = Segment::create(&name).unwrap();
    ///     let _gone = segment.remove_on_drop();
    ///     panic!("an assertion that fails");
    /// });
    /// assert!(failed.is_err());
    /// assert!(matches!(Segment::open(&name), Err(OpenError::NotFound { .. })));
    /// ```
    pub fn remove_on_drop(&self) -> RemoveOnDrop {
        RemoveOnDrop { segment: self.clone() }
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // There is no caller to report an error to: another process was faster, or this
        // is a forked child, which removes nothing.
        let _ = self.segment.remove();
    }
}
