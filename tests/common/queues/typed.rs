//! The ends of channels of plain data.

use tombolo::{
    Delivery, Fault, Kind, Mpmc, Receiver, SendTimeoutError, Sender, Spsc, TrySendError,
};

use super::{
    Got, Grants, Page, Patience, Rx, Tx, Verdict, fault, number, page, timed, tried, unsent,
};

impl<K: Kind> Tx for Sender<Page, K>
where
    Self: Slices,
{
    fn send(&mut self, id: u64, patience: Patience) -> Result<bool, Fault> {
        let back = match patience {
            Patience::None => match self.try_send(page(id)) {
                Ok(()) => return Ok(true),
                Err(TrySendError::Full(back)) => back,
                Err(error) => return Err(error.into_fault().expect("a segment not paused")),
            },
            Patience::For(time) => match self.send_timeout(page(id), time) {
                Ok(()) => return Ok(true),
                Err(SendTimeoutError::Timeout(back)) => back,
                Err(error) => return Err(error.into_fault().expect("a fault")),
            },
            Patience::Ever => {
                return Sender::send(self, page(id)).map(|()| true).map_err(unsent);
            }
        };
        assert_eq!(back, page(id), "another message came back");
        Ok(false)
    }

    fn send_batch(&mut self, ids: &[u64]) -> Result<(), Fault> {
        let pages: Vec<Page> = ids.iter().map(|id| page(*id)).collect();
        Sender::send_batch(self, &pages).map_err(|error| unsent(error.reason))
    }

    fn try_send_batch(&mut self, ids: &[u64]) -> Option<Result<usize, Fault>> {
        let pages: Vec<Page> = ids.iter().map(|id| page(*id)).collect();
        Some(Sender::try_send_batch(self, &pages).map_err(|error| unsent(error.reason)))
    }

    fn grant(
        &mut self,
        id: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault> {
        let granted = match patience {
            Patience::None => self.try_reserve(),
            _ => self.reserve().map_err(TrySendError::from),
        };
        let mut grant = match granted {
            Ok(grant) => grant,
            Err(TrySendError::Full(())) => return Ok(false),
            Err(error) => return Err(error.into_fault().expect("a segment not paused")),
        };
        grant.write(&page(id));
        meanwhile();
        match end {
            Grants::Commit => grant.commit().map_err(unsent)?,
            Grants::Abort => grant.abort(),
            Grants::Drop => drop(grant),
        }
        Ok(true)
    }

    fn grant_slice(&mut self, ids: &[u64], commit: usize) -> Option<Result<usize, Fault>> {
        self.granted(ids, commit)
    }

    fn len(&self) -> usize {
        Sender::len(self)
    }
}

/// What only the handles of an SPSC channel can do.
trait Slices {
    fn granted(&mut self, _ids: &[u64], _commit: usize) -> Option<Result<usize, Fault>> {
        None
    }

    fn taken(&mut self, _most: usize, _release: usize) -> Option<Result<Vec<u64>, Fault>> {
        None
    }
}

impl Slices for Sender<Page, Mpmc> {}
impl Slices for Receiver<Page, Mpmc> {}

impl Slices for Sender<Page, Spsc> {
    fn granted(&mut self, ids: &[u64], commit: usize) -> Option<Result<usize, Fault>> {
        let granted = self.reserve_slice(ids.len()).and_then(|mut grant| {
            let room = grant.len();
            let pages: Vec<Page> = ids.iter().copied().map(page).collect();
            assert_eq!(grant.write_at(0, &pages), room.min(ids.len()));
            grant.commit(commit)?;
            Ok(room)
        });
        Some(granted.map_err(unsent))
    }
}

impl Slices for Receiver<Page, Spsc> {
    fn taken(&mut self, most: usize, release: usize) -> Option<Result<Vec<u64>, Fault>> {
        let taken = self.take_slice(most).map(|slice| {
            let ids = slice.iter().map(|page| number(&page)).collect();
            slice.release(release);
            ids
        });
        Some(taken.map_err(fault))
    }
}

fn finish<K: Kind>(delivery: Delivery<'_, Page, K>, end: Verdict) {
    match end {
        Verdict::Release => delivery.release(),
        Verdict::GiveBack => delivery.give_back(),
        Verdict::Drop => drop(delivery),
    }
}

impl<K: Kind> Rx for Receiver<Page, K>
where
    Self: Slices,
{
    fn recv(&mut self, patience: Patience) -> Got<u64> {
        let got = match patience {
            Patience::None => tried(self.try_recv())?,
            Patience::For(time) => timed(self.recv_timeout(time))?,
            Patience::Ever => Ok(Receiver::<Page, K>::recv(self).map_err(fault)?),
        };
        Ok(got.map(|page| number(&page)))
    }

    fn recv_batch(&mut self, most: usize) -> Result<Vec<u64>, Fault> {
        let mut into = Vec::new();
        let count = Receiver::recv_batch(self, &mut into, most).map_err(fault)?;
        assert_eq!(count, into.len());
        Ok(into.iter().map(number).collect())
    }

    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64> {
        let taken = match patience {
            Patience::None => tried(self.try_take())?,
            Patience::For(time) => timed(self.take_timeout(time))?,
            Patience::Ever => Ok(Receiver::take(self).map_err(fault)?),
        };
        Ok(taken.map(|delivery| {
            let id = number(&delivery.read());
            meanwhile(id, delivery.attempts());
            finish(delivery, end);
            id
        }))
    }

    fn take_slice(&mut self, most: usize, release: usize) -> Option<Result<Vec<u64>, Fault>> {
        self.taken(most, release)
    }

    fn len(&self) -> usize {
        Receiver::len(self)
    }
}
