//! What an asynchronous handle keeps for its waits.

use core::hint::spin_loop;
use core::task::{Context, Poll};

use crate::channel::debts::Whom;
use crate::channel::endpoint::Endpoint;
use crate::channel::reactor::{Ask, Asked, At, Interest, Tell};
use crate::error::{Done, Fault};
use crate::ring::kernel::Refusal;
use crate::ring::wait::{Need, NotNow, Operation, Polled, Want, resolve};
use crate::wait::{WaitStrategy, costs};

/// How often a poll tries once more before the task gives way.
const NEAR: u32 = 6;
/// How often a task gives way to others before it is to be woken.
const YIELDS: u32 = 64;
/// So many waits at most do without, after some that giving way has not ended.
const MOST_WITHOUT: u32 = 255;

/// Whether to give way once more.
#[derive(Debug, Default)]
struct Yields {
    given: u32,
    /// How many waits are still to do without, and how many were to, last time.
    without: u32,
    length: u32,
}

impl Yields {
    fn gives(&mut self) -> bool {
        if self.given == 0 && self.without > 0 {
            self.without -= 1;
            self.given = YIELDS + 1;
        }
        self.given += 1;
        if self.given == YIELDS + 1 {
            self.length = (2 * self.length + 1).min(MOST_WITHOUT);
            self.without = self.length;
        }
        self.given <= YIELDS
    }

    /// Whether this wait is one that does without.
    const fn does_without(&self) -> bool {
        self.given > YIELDS || self.given == 0 && self.without > 0
    }

    /// The wait is over.
    fn end(&mut self) {
        if (1..=YIELDS).contains(&self.given) {
            self.length = 0;
        }
        self.given = 0;
    }
}

/// The handle that a task waits with, or the call that it waits for.
pub(super) trait Party {
    fn strategy(&self) -> WaitStrategy;
    /// Where the reactor waits in its place.
    fn at(&self) -> At<'_>;
    /// What it waits for there, if it needs this.
    fn ask(&self, need: Need) -> Ask;
    /// Counts a poll in vain of a task that is not woken; now and then, looks for the dead.
    fn in_vain(&self) -> Result<(), Fault>;
    /// Looks for the dead.
    fn scan(&self) -> Result<(), Fault>;
    /// A token that the reactor had to pass on could not be.
    fn owe(&self, refusal: Refusal);
}

/// One end of a channel, and what has refused its try.
impl<W: Fn() -> Want> Party for (&Endpoint, W) {
    fn strategy(&self) -> WaitStrategy {
        self.0.wait_strategy()
    }

    fn at(&self) -> At<'_> {
        self.0.at()
    }

    fn ask(&self, need: Need) -> Ask {
        let want = if need == Need::Resumption { Want::Change } else { (self.1)() };
        self.0.ask(want)
    }

    fn in_vain(&self) -> Result<(), Fault> {
        self.0.in_vain().map(drop)
    }

    fn scan(&self) -> Result<(), Fault> {
        self.0.participant().scan().map(drop)
    }

    fn owe(&self, refusal: Refusal) {
        self.0.owe(Whom::on(self.0.side), Done::GivenUp, refusal);
    }
}

/// One handle's.
#[derive(Default)]
pub(super) struct Waits {
    /// Made when it is needed.
    interest: Option<Interest>,
    /// Whether the reactor may be asked to wake a task.
    asks: bool,
    yields: Yields,
}

impl Waits {
    /// Goes on after an attempt that came to nothing.
    #[cold]
    #[inline(never)]
    pub(super) fn poll<O: Operation<Fault = Fault>>(
        &mut self,
        party: impl Party,
        op: &mut O,
        why: NotNow,
        cx: &Context<'_>,
    ) -> Poll<Result<O::Done, Fault>> {
        if let Some(refusal) = self.take_owed() {
            party.owe(refusal);
        }
        let polled = op.may_wait().and_then(|()| resolve(op, why));
        let need = match polled {
            Ok(Polled::Needs(need)) => need,
            Ok(Polled::Done(done)) => return self.ready(Ok(done)),
            Err(fault) => return self.ready(Err(fault)),
        };
        if let Some(done) = self.near(&party, op) {
            return self.ready(Ok(done));
        }
        match self.goes_on(&party) {
            Ok(false) => {}
            Ok(true) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Err(fault) => return self.ready(Err(fault)),
        }
        match self.ask(&party, need, cx) {
            Ok(Asked::Waits) => {}
            Ok(Asked::There) => cx.waker().wake_by_ref(),
            Err(fault) => return self.ready(Err(fault)),
        }
        // A canceller that came since the first time may have found nobody that asked. What it
        // has changed may be what this handle has found out.
        if let Err(fault) = op.may_wait() {
            return self.ready(Err(fault));
        }
        Poll::Pending
    }

    /// Tries a few times more, after longer and longer pauses: in an exchange, the answer comes
    /// within a microsecond or two, and each look takes the line from the other side.
    fn near<O: Operation>(&self, party: &impl Party, op: &mut O) -> Option<O::Done> {
        let tries = match party.strategy() {
            WaitStrategy::Adaptive if !self.yields.does_without() => NEAR,
            _ => 0,
        };
        for nth in 1..=tries {
            (0..nth * costs().transfer).for_each(|_| spin_loop());
            match op.attempt(false) {
                Ok(done) => return Some(done),
                Err(NotNow::Nothing | NotNow::Pending) => {}
                // It takes more to tell.
                Err(_) => return None,
            }
        }
        None
    }

    /// Whether the task tries again without being woken.
    fn goes_on(&mut self, party: &impl Party) -> Result<bool, Fault> {
        match party.strategy() {
            WaitStrategy::Adaptive => Ok(self.yields.gives()),
            WaitStrategy::Block => Ok(false),
            // Nobody tells it of a death.
            WaitStrategy::BusySpin => party.in_vain().map(|()| true),
        }
    }

    fn ask(&mut self, party: &impl Party, need: Need, cx: &Context<'_>) -> Result<Asked, Fault> {
        let interest = match &mut self.interest {
            Some(made) => made,
            none => {
                let made = Interest::new(&party.at(), || Tell::Task(None));
                none.insert(made.map_err(Fault::System)?)
            }
        };
        self.asks = true;
        match interest.ask(party.ask(need), Some(cx.waker())) {
            Ok(asked) => Ok(asked),
            Err(fault) => party.scan().and(Err(fault)),
        }
    }

    fn ready<R>(&mut self, result: Result<R, Fault>) -> Poll<Result<R, Fault>> {
        self.end();
        Poll::Ready(result)
    }

    /// The wait is over, or given up.
    #[inline]
    pub(super) fn end(&mut self) {
        self.yields.end();
        if self.asks {
            self.withdraw();
        }
    }

    #[cold]
    fn withdraw(&mut self) {
        self.asks = false;
        if let Some(interest) = &self.interest {
            interest.withdraw();
        }
    }

    /// Why a token that was to be passed on could not be, if so: from here on, the handle owes
    /// it.
    fn take_owed(&self) -> Option<Refusal> {
        self.interest.as_ref().filter(|_| self.asks)?.take_owed()
    }
}

/// Where the slow path of a future leaves what it has come to, if it has ended: elsewhere than
/// the fast path, whose result then stays in registers. In memory that would be read again at
/// once, in other pieces than it was written in. For that a processor waits until all stores
/// before it are done, also those to lines that the other side has.
pub(super) type Further<R> = Option<R>;

/// A handle that is awaited.
pub(super) trait Awaited {
    fn waits(&mut self) -> &mut Waits;
}

/// One wait of a future: when it is dropped, also half way, nothing is asked any more.
pub(super) struct Wait<'a, A: Awaited>(pub(super) &'a mut A);

impl<A: Awaited> Drop for Wait<'_, A> {
    fn drop(&mut self) {
        self.0.waits().end();
    }
}
