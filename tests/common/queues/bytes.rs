//! The ends of channels of bytes.

use tombolo::{
    ByteDelivery, ByteReceiver, ByteSender, Fault, Kind, SendTimeoutError, TrySendError,
};

use super::{Got, Grants, LONGEST, Patience, Rx, Tx, Verdict, fault, page, timed, tried, unsent};

/// An end of a channel of bytes.
pub(super) struct Bytes<E> {
    pub(super) end: E,
    pub(super) length: fn(u64) -> usize,
}

impl<E> Bytes<E> {
    /// Its number as far as it goes, and over again.
    fn message(&self, id: u64) -> Vec<u8> {
        bytemuck::bytes_of(&page(id))[..(self.length)(id)].to_vec()
    }

    #[track_caller]
    fn number(&self, message: &[u8]) -> u64 {
        let id = message.first_chunk().map_or(0, |id| u64::from_ne_bytes(*id));
        assert_eq!(message, self.message(id), "torn");
        id
    }
}

impl<K: Kind> Tx for Bytes<ByteSender<K>> {
    fn send(&mut self, id: u64, patience: Patience) -> Result<bool, Fault> {
        let message = self.message(id);
        match patience {
            Patience::None => match self.end.try_send(&message) {
                Ok(()) => Ok(true),
                Err(TrySendError::Full(())) => Ok(false),
                Err(error) => Err(error.into_fault().expect("no pause, and not too long")),
            },
            Patience::For(time) => match self.end.send_timeout(&message, time) {
                Ok(()) => Ok(true),
                Err(SendTimeoutError::Timeout(())) => Ok(false),
                Err(error) => Err(error.into_fault().expect("a message that is not too long")),
            },
            Patience::Ever => self.end.send(&message).map(|()| true).map_err(unsent),
        }
    }

    fn send_batch(&mut self, ids: &[u64]) -> Result<(), Fault> {
        let messages: Vec<Vec<u8>> = ids.iter().map(|id| self.message(*id)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        self.end.send_batch(&messages).map_err(|error| unsent(error.reason))
    }

    fn try_send_batch(&mut self, _ids: &[u64]) -> Option<Result<usize, Fault>> {
        None
    }

    fn grant(
        &mut self,
        id: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault> {
        let message = self.message(id);
        let granted = match patience {
            Patience::None => self.end.try_reserve(LONGEST),
            _ => self.end.reserve(LONGEST).map_err(TrySendError::from),
        };
        let mut grant = match granted {
            Ok(grant) => grant,
            Err(TrySendError::Full(())) => return Ok(false),
            Err(error) => return Err(error.into_fault().expect("no pause, and not too long")),
        };
        assert_eq!(grant.write_at(0, &message), message.len());
        meanwhile();
        match end {
            Grants::Commit => grant.commit(message.len()).map_err(unsent)?,
            Grants::Abort => grant.abort(),
            Grants::Drop => drop(grant),
        }
        Ok(true)
    }

    fn len(&self) -> usize {
        self.end.len()
    }
}

fn finish_bytes<K: Kind>(delivery: ByteDelivery<'_, K>, end: Verdict) {
    match end {
        Verdict::Release => delivery.release(),
        Verdict::GiveBack => delivery.give_back(),
        Verdict::Drop => drop(delivery),
    }
}

impl<K: Kind> Rx for Bytes<ByteReceiver<K>> {
    fn recv(&mut self, patience: Patience) -> Got<u64> {
        let mut into = Vec::new();
        let got = match patience {
            Patience::None => tried(self.end.try_recv(&mut into))?,
            Patience::For(time) => timed(self.end.recv_timeout(&mut into, time))?,
            Patience::Ever => Ok(self.end.recv(&mut into).map_err(fault)?),
        };
        Ok(got.map(|length| {
            assert_eq!(length, into.len());
            self.number(&into)
        }))
    }

    fn recv_batch(&mut self, most: usize) -> Result<Vec<u64>, Fault> {
        let mut into = Vec::new();
        let count = self.end.recv_batch(&mut into, most).map_err(fault)?;
        assert_eq!(count, into.len());
        Ok(into.iter().map(|message| self.number(message)).collect())
    }

    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64> {
        let reader = Bytes { end: (), length: self.length };
        let taken = match patience {
            Patience::None => tried(self.end.try_take())?,
            Patience::For(time) => timed(self.end.take_timeout(time))?,
            Patience::Ever => Ok(self.end.take().map_err(fault)?),
        };
        Ok(taken.map(|delivery| {
            let id = reader.number(&delivery.to_vec());
            meanwhile(id, delivery.attempts());
            finish_bytes(delivery, end);
            id
        }))
    }

    fn len(&self) -> usize {
        self.end.len()
    }
}
