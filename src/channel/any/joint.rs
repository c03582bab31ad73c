//! A sender whose kind and type are known only when the program runs, as one of several that send
//! together.

use super::each::Any;
use super::sender::AnySender;
use crate::channel::endpoint::Endpoint;
use crate::channel::send_all::{Leg, One, SendEnd, sealed};
use crate::kinds::payload::{Bytes, Untyped};
use crate::kinds::table::{Mpmc, Spsc};
use crate::ring::joint::{Part, Ticket};
use crate::ring::wait::{NotNow, Want};

/// One of the senders, and its message.
enum AnyOne<'x, 'm: 'x> {
    Spsc(One<'x, 'm, Untyped, Spsc>),
    Mpmc(One<'x, 'm, Untyped, Mpmc>),
    SpscBytes(One<'x, 'm, Bytes, Spsc>),
    MpmcBytes(One<'x, 'm, Bytes, Mpmc>),
    /// A publisher, which none of several is: [`SendAll::new`](crate::SendAll::new) refuses it.
    Publisher(&'x Endpoint, usize),
}

macro_rules! of_one {
    ($one:expr, $leg:ident => $what:expr, $publisher:pat => $otherwise:expr) => {
        match $one {
            AnyOne::Spsc($leg) => $what,
            AnyOne::Mpmc($leg) => $what,
            AnyOne::SpscBytes($leg) => $what,
            AnyOne::MpmcBytes($leg) => $what,
            $publisher => $otherwise,
        }
    };
}

impl Part for AnyOne<'_, '_> {
    type Refused = NotNow;

    fn claim(&self, ticket: Ticket) -> Result<(), NotNow> {
        of_one!(self, leg => leg.claim(ticket), Self::Publisher(..) => Err(NotNow::Disorder))
    }

    fn abort(&self) {
        of_one!(self, leg => leg.abort(), Self::Publisher(..) => {});
    }

    fn write(&self) {
        of_one!(self, leg => leg.write(), Self::Publisher(..) => {});
    }

    fn publish(&self) {
        of_one!(self, leg => leg.publish(), Self::Publisher(..) => {});
    }
}

impl Leg for AnyOne<'_, '_> {
    fn end(&self) -> &Endpoint {
        of_one!(self, leg => leg.end(), Self::Publisher(end, _) => end)
    }

    fn position(&self) -> usize {
        of_one!(self, leg => leg.position(), Self::Publisher(_, position) => *position)
    }

    fn misfit(&self) -> Option<(usize, usize)> {
        of_one!(self, leg => leg.misfit(), Self::Publisher(..) => None)
    }

    fn look(&self) -> Result<(), NotNow> {
        of_one!(self, leg => leg.look(), Self::Publisher(..) => Err(NotNow::Disorder))
    }

    fn draft(&self) -> Result<(), NotNow> {
        of_one!(self, leg => leg.draft(), Self::Publisher(..) => Err(NotNow::Disorder))
    }

    fn discard(&self) {
        of_one!(self, leg => leg.discard(), Self::Publisher(..) => {});
    }

    fn may_reserve(&self) -> bool {
        of_one!(self, leg => leg.may_reserve(), Self::Publisher(..) => false)
    }

    fn wanted(&self) -> Want {
        of_one!(self, leg => leg.wanted(), Self::Publisher(..) => Want::Limit(0))
    }
}

impl sealed::SendEnd for AnySender {}

impl SendEnd for AnySender {
    type Message<'m> = &'m [u8];
    type Unsent = ();

    fn endpoint(&self) -> &Endpoint {
        self.its_end()
    }

    fn leg<'x, 'm>(&'x self, message: &'x Self::Message<'m>, position: usize) -> impl Leg {
        match self.senders() {
            Any::Spsc(end) => AnyOne::Spsc(One::new(end, message, position)),
            Any::Mpmc(end) => AnyOne::Mpmc(One::new(end, message, position)),
            Any::SpscBytes(end) => AnyOne::SpscBytes(One::new(end, message, position)),
            Any::MpmcBytes(end) => AnyOne::MpmcBytes(One::new(end, message, position)),
            Any::Broadcast(end) => AnyOne::Publisher(&end.end, position),
            Any::BroadcastBytes(end) => AnyOne::Publisher(&end.end, position),
            Any::Reliable(end) => AnyOne::Publisher(&end.end, position),
            Any::ReliableBytes(end) => AnyOne::Publisher(&end.end, position),
        }
    }

    fn unsent(_: &&[u8]) {}
}
