//! The promise that peers do not write what another process holds.

#![allow(unsafe_code)]

use super::handle::Segment;
use super::participant::Participant;

/// The promise that the peers of one segment keep to the protocol, made by
/// [`Segment::trust_peers`]. A grant or a delivery needs it to give references into
/// shared memory.
///
/// It can be copied and passed around. It is valid for every sender and receiver of the
/// [`Segment`] that it came from, and of its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedPeers {
    /// In which it was given.
    membership: Membership,
}

/// One process's membership of one segment, told from every other that this
/// process has or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership(usize);

impl Segment {
    /// Promises that the peers of this segment keep to the protocol. With the token,
    /// messages can be read and written in place, by reference. Without it, they are
    /// copied, which stays defined whatever a peer writes.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let pages = segment.channel::<[u8; 4096]>("pages").capacity(4);
    /// let (mut sender, mut receiver) = (pages.sender()?, pages.receiver()?);
    /// // SAFETY: nobody else can write to an anonymous segment of this
    /// // process's user, whose programs all use this library.
    /// let trust = unsafe { segment.trust_peers() };
    ///
    /// let mut page = sender.reserve()?;
    /// page.as_mut(trust)[4095] = 7;
    /// page.commit()?;
    /// assert_eq!(receiver.take()?.as_ref(trust)[4095], 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// While any reference obtained with the token lives, only the holder of that grant
    /// or delivery may write to its message, through the guard, and only the holder may
    /// read a message that is being written. This binds every process with the right to
    /// write to the segment ([`Options::mode`](crate::Options::mode) decides which),
    /// forked children, and code of this process that attaches the segment by other
    /// means. A process that uses this library keeps to this if all processes that may
    /// write to the segment do. A process that writes to the segment in another way must
    /// do so as `docs/format.md` says.
    ///
    /// The promise does not cover the content of messages: any bytes are a value of a
    /// type that can be read in place, and lengths are checked.
    pub unsafe fn trust_peers(&self) -> TrustedPeers {
        TrustedPeers { membership: self.participant().membership() }
    }
}

impl Participant {
    pub(crate) const fn membership(&self) -> Membership {
        Membership(self.membership)
    }
}

impl TrustedPeers {
    /// Makes sure that the promise is one about the segment of this membership.
    ///
    /// # Panics
    /// If the promise was made for another segment: the caller's program has confused two
    /// segments.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn check(self, membership: Membership) {
        if self.membership != membership {
            mixed_up();
        }
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn mixed_up() -> ! {
    panic!("the peers of another segment are trusted, not those of this one")
}
