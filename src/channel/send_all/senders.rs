//! The senders of a joint send: tuples, arrays and lists of handles.

use bytemuck::NoUninit;

use super::leg::{Leg, One};
use crate::channel::endpoint::Endpoint;
use crate::channel::sender::Sender;
use crate::kinds::joint::JointRing;
use crate::kinds::table::{Kind, Payload};

/// A handle that can be one of a [`SendAll`](crate::SendAll)'s: a [`Sender`] of an SPSC or an
/// MPMC channel, an [`AnySender`](crate::AnySender) of one, or a reference to either.
///
/// A publisher of a broadcast channel cannot: what it writes has no place in the order before
/// it is published.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be one of several senders that send together",
    note = "a `Sender` of an SPSC or MPMC channel can, or a reference to one"
)]
pub trait SendEnd: sealed::SendEnd {
    /// A message: a `T`, or `&[u8]`.
    type Message<'m>: 'm;
    /// What comes back of one that was not sent: a `T`, or `()`.
    type Unsent;

    #[doc(hidden)]
    fn endpoint(&self) -> &Endpoint;
    #[doc(hidden)]
    fn leg<'x, 'm>(&'x self, message: &'x Self::Message<'m>, position: usize) -> impl Leg;
    #[doc(hidden)]
    fn unsent(message: &Self::Message<'_>) -> Self::Unsent;
}

/// The senders of a [`SendAll`](crate::SendAll): a tuple of up to eight of them, an array, or
/// a `Vec`. Each is a [`SendEnd`].
pub trait Senders: sealed::Senders {
    /// One message for each sender: a tuple, an array, or a slice.
    type Messages<'m>;
    /// What comes back of messages that were not sent: a tuple, an array, or nothing of a
    /// slice, which the caller still has.
    type Unsent;

    #[doc(hidden)]
    fn endpoints(&self) -> Vec<&Endpoint>;
    #[doc(hidden)]
    fn with_legs<R>(
        &self,
        messages: &Self::Messages<'_>,
        act: impl FnOnce(&mut [&dyn Leg]) -> R,
    ) -> R;
    #[doc(hidden)]
    fn unsent(messages: &Self::Messages<'_>) -> Self::Unsent;
}

pub(in crate::channel) mod sealed {
    use super::{Kind, Payload, Sender};

    pub trait SendEnd {}
    impl<P: Payload, K: Kind> SendEnd for Sender<P, K> {}
    impl<E: SendEnd> SendEnd for &E {}

    pub trait Senders {}
    impl<E: SendEnd, const N: usize> Senders for [E; N] {}
    impl<E: SendEnd> Senders for Vec<E> {}
}

impl<P: Payload + NoUninit, K: Kind> SendEnd for Sender<P, K>
where
    P::Ring<K>: JointRing<Of = P>,
{
    type Message<'m> = P::Sent<'m>;
    type Unsent = P::Unsent;

    fn endpoint(&self) -> &Endpoint {
        &self.end
    }

    fn leg<'x, 'm>(&'x self, message: &'x P::Sent<'m>, position: usize) -> impl Leg {
        One::new(self, message, position)
    }

    fn unsent(message: &P::Sent<'_>) -> P::Unsent {
        P::unsent(message)
    }
}

impl<E: SendEnd> SendEnd for &E {
    type Message<'m> = E::Message<'m>;
    type Unsent = E::Unsent;

    fn endpoint(&self) -> &Endpoint {
        E::endpoint(self)
    }

    fn leg<'x, 'm>(&'x self, message: &'x E::Message<'m>, position: usize) -> impl Leg {
        E::leg(self, message, position)
    }

    fn unsent(message: &E::Message<'_>) -> E::Unsent {
        E::unsent(message)
    }
}

impl<E: SendEnd, const N: usize> Senders for [E; N] {
    type Messages<'m> = [E::Message<'m>; N];
    type Unsent = [E::Unsent; N];

    fn endpoints(&self) -> Vec<&Endpoint> {
        self.iter().map(E::endpoint).collect()
    }

    fn with_legs<R>(
        &self,
        messages: &[E::Message<'_>; N],
        act: impl FnOnce(&mut [&dyn Leg]) -> R,
    ) -> R {
        let legs: [_; N] = core::array::from_fn(|n| self[n].leg(&messages[n], n));
        act(&mut legs.each_ref().map(any))
    }

    fn unsent(messages: &[E::Message<'_>; N]) -> [E::Unsent; N] {
        messages.each_ref().map(E::unsent)
    }
}

impl<E: SendEnd> Senders for Vec<E> {
    type Messages<'m> = &'m [E::Message<'m>];
    type Unsent = ();

    fn endpoints(&self) -> Vec<&Endpoint> {
        self.iter().map(E::endpoint).collect()
    }

    #[track_caller]
    fn with_legs<R>(
        &self,
        messages: &&[E::Message<'_>],
        act: impl FnOnce(&mut [&dyn Leg]) -> R,
    ) -> R {
        assert!(self.len() == messages.len(), "one message for each sender");
        let each = self.iter().zip(*messages).enumerate();
        let legs: Vec<_> = each.map(|(n, (end, message))| end.leg(message, n)).collect();
        act(&mut legs.iter().map(any).collect::<Vec<_>>())
    }

    fn unsent(_: &&[E::Message<'_>]) {}
}

/// A closure would not do: in one, the compiler takes an `impl Leg` not to live long enough.
fn any<'x, L: Leg + 'x>(leg: &'x L) -> &'x dyn Leg {
    leg
}

macro_rules! tuples {
    ($($($end:ident $n:tt)+;)*) => {$(
        impl<$($end: SendEnd),+> sealed::Senders for ($($end,)+) {}

        impl<$($end: SendEnd),+> Senders for ($($end,)+) {
            type Messages<'m> = ($($end::Message<'m>,)+);
            type Unsent = ($($end::Unsent,)+);

            fn endpoints(&self) -> Vec<&Endpoint> {
                vec![$(self.$n.endpoint()),+]
            }

            fn with_legs<Out>(
                &self,
                messages: &Self::Messages<'_>,
                act: impl FnOnce(&mut [&dyn Leg]) -> Out,
            ) -> Out {
                let legs = ($(self.$n.leg(&messages.$n, $n),)+);
                act(&mut [$(&legs.$n as &dyn Leg),+])
            }

            fn unsent(messages: &Self::Messages<'_>) -> Self::Unsent {
                ($($end::unsent(&messages.$n),)+)
            }
        }
    )*};
}

tuples! {
    A 0;
    A 0 B 1;
    A 0 B 1 C 2;
    A 0 B 1 C 2 D 3;
    A 0 B 1 C 2 D 3 E 4;
    A 0 B 1 C 2 D 3 E 4 F 5;
    A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
}
