//! An operation of which only so much matters, for the models of waiting.

use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::wait::{Cause, Heard, NotNow, Operation, Seat, Session, Waited};

/// An operation of which only so much matters.
pub(crate) struct Plain<A, M, L> {
    pub(crate) attempt: A,
    pub(crate) more: M,
    pub(crate) look: L,
    /// The refusal with which it could not pass a token on.
    pub(crate) owed: Option<Refusal>,
}

impl<R, A, M, L> Operation for Plain<A, M, L>
where
    A: FnMut() -> Result<R, NotNow>,
    M: Fn() -> bool,
    L: FnMut(u16) -> Heard,
{
    type Done = R;
    type Fault = Cause;

    fn attempt(&mut self, _: bool) -> Result<R, NotNow> {
        (self.attempt)()
    }

    fn more(&self) -> bool {
        (self.more)()
    }

    fn scan(&mut self, sem: u16, _: bool) -> Result<Heard, Cause> {
        Ok((self.look)(sem))
    }

    fn owes(&mut self, refusal: Refusal) {
        self.owed = Some(refusal);
    }

    fn fault(&self, cause: Cause) -> Cause {
        cause
    }
}

impl<A, M, L> Plain<A, M, L> {
    /// Waits in a seat until this gives something, and may stay counted.
    pub(crate) fn block<K: Kernel, R>(&mut self, kernel: &K, seat: Seat<'_, K::Deadline>) -> R
    where
        Self: Operation<Done = R, Fault = Cause>,
    {
        done(Session::new(kernel, seat, None).block(self))
    }

    /// Waits in a seat until this gives something.
    pub(crate) fn wait<K: Kernel, R>(&mut self, kernel: &K, seat: Seat<'_, K::Deadline>) -> R
    where
        Self: Operation<Done = R, Fault = Cause>,
    {
        let mut session = Session::new(kernel, seat, None);
        let waited = session.block(self);
        session.deregister(self);
        done(waited)
    }
}

fn done<R>(waited: Result<Waited<R>, Cause>) -> R {
    match waited {
        Ok(Waited::Done(done)) => done,
        Ok(Waited::Needs(need)) => panic!("it needs {need:?}"),
        Ok(Waited::TimedOut) => panic!("there is no deadline"),
        Err(cause) => panic!("the set is still there: {cause:?}"),
    }
}
