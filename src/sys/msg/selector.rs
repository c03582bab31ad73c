//! Selects the message to receive.

/// Which message to receive. Of messages of one type it is always the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "msgtyp")]
pub enum Selector {
    /// The oldest.
    Any,
    /// The oldest of this type.
    Type(i64),
    /// The oldest of the lowest type that is at most this. If types stand for
    /// urgency, this is the most urgent message.
    UpTo(i64),
    /// The oldest that is not of this type.
    #[doc(alias = "MSG_EXCEPT")]
    Except(i64),
}

impl Selector {
    /// The number and the flag for the kernel; `None` for a type below 1, which
    /// would mean another selector.
    pub(super) const fn raw(self) -> Option<(i64, i32)> {
        match self {
            Selector::Any => Some((0, 0)),
            Selector::Type(kind @ 1..) => Some((kind, 0)),
            Selector::UpTo(kind @ 1..) => Some((-kind, 0)),
            Selector::Except(kind @ 1..) => Some((kind, libc::MSG_EXCEPT)),
            _ => None,
        }
    }

    /// Whether the selector chooses a message of type `kind`, if the best one so
    /// far is of type `best`.
    pub(super) const fn prefers(self, kind: i64, best: Option<i64>) -> bool {
        match (self, best) {
            (Selector::UpTo(most), Some(best)) => kind <= most && kind < best,
            (_, Some(_)) => false,
            (Selector::Any, None) => true,
            (Selector::Type(wanted), None) => kind == wanted,
            (Selector::UpTo(most), None) => kind <= most,
            (Selector::Except(other), None) => kind != other,
        }
    }
}
