//! The differences between the handles of a type and those of bytes.

use bytemuck::{AnyBitPattern, CheckedBitPattern, NoUninit};
use tombolo::{
    Bytes, Delivery, Fault, Grant, Kind, Payload, Receiver, SendError, Sender, Spsc, TrySendError,
};

use super::ends::{Got, Patience, fault, timed, tried, unsent};

/// A payload whose messages are bytes.
pub(crate) trait Body: Payload + NoUninit + CheckedBitPattern + AnyBitPattern {
    /// Whether all messages are as long.
    const WHOLE: bool;
    fn of(bytes: &[u8]) -> Self::Sent<'_>;
    fn into_bytes(message: Self::Owned) -> Vec<u8>;
    /// Whether an error has given this message back.
    fn came_back(unsent: Self::Unsent, bytes: &[u8]) -> bool;
    fn recv<K: Kind>(rx: &Receiver<Self, K>, patience: Patience) -> Got<Vec<u8>>;
    /// A place for a message, of up to so many bytes if they are of any length.
    fn reserve<K: Kind>(
        tx: &mut Sender<Self, K>,
        longest: usize,
        patience: Patience,
    ) -> Result<Grant<'_, Self, K>, TrySendError>;
    fn write<K: Kind>(grant: &mut Grant<'_, Self, K>, bytes: &[u8]);
    fn commit<K: Kind>(grant: Grant<'_, Self, K>, length: usize) -> Result<(), SendError>;
    fn read<K: Kind>(delivery: &Delivery<'_, Self, K>) -> Vec<u8>;

    /// Sends the first `commit` of some that are written side by side; how many there was
    /// room for. `None` if these handles have no such call.
    fn grant_slice(
        _tx: &mut Sender<Self, Spsc>,
        _messages: &[Vec<u8>],
        _commit: usize,
    ) -> Option<Result<usize, Fault>> {
        None
    }

    /// Takes some side by side, and releases the first of them; those that were there.
    fn take_slice(
        _rx: &mut Receiver<Self, Spsc>,
        _most: usize,
        _release: usize,
    ) -> Option<Result<Vec<Vec<u8>>, Fault>> {
        None
    }
}

impl<const N: usize> Body for [u64; N] {
    const WHOLE: bool = true;

    fn of(bytes: &[u8]) -> Self {
        let mut page = [0; N];
        bytemuck::cast_slice_mut(&mut page)[..bytes.len()].copy_from_slice(bytes);
        page
    }

    fn into_bytes(page: Self) -> Vec<u8> {
        bytemuck::bytes_of(&page).to_vec()
    }

    fn came_back(unsent: Self, bytes: &[u8]) -> bool {
        Self::into_bytes(unsent) == bytes
    }

    fn recv<K: Kind>(rx: &Receiver<Self, K>, patience: Patience) -> Got<Vec<u8>> {
        let got = match patience {
            Patience::None => tried(rx.try_recv())?,
            Patience::For(time) => timed(rx.recv_timeout(time))?,
            Patience::Ever => Ok(rx.recv().map_err(fault)?),
        };
        Ok(got.map(Self::into_bytes))
    }

    fn reserve<K: Kind>(
        tx: &mut Sender<Self, K>,
        _longest: usize,
        patience: Patience,
    ) -> Result<Grant<'_, Self, K>, TrySendError> {
        match patience {
            Patience::None => tx.try_reserve(),
            _ => tx.reserve().map_err(TrySendError::from),
        }
    }

    fn write<K: Kind>(grant: &mut Grant<'_, Self, K>, bytes: &[u8]) {
        grant.write(&Self::of(bytes));
    }

    fn commit<K: Kind>(grant: Grant<'_, Self, K>, _length: usize) -> Result<(), SendError> {
        grant.commit()
    }

    fn read<K: Kind>(delivery: &Delivery<'_, Self, K>) -> Vec<u8> {
        Self::into_bytes(delivery.read())
    }

    fn grant_slice(
        tx: &mut Sender<Self, Spsc>,
        messages: &[Vec<u8>],
        commit: usize,
    ) -> Option<Result<usize, Fault>> {
        let granted = tx.reserve_slice(messages.len()).and_then(|mut grant| {
            let room = grant.len();
            let pages: Vec<Self> = messages.iter().map(|bytes| Self::of(bytes)).collect();
            assert_eq!(grant.write_at(0, &pages), room.min(pages.len()));
            grant.commit(commit)?;
            Ok(room)
        });
        Some(granted.map_err(unsent))
    }

    fn take_slice(
        rx: &mut Receiver<Self, Spsc>,
        most: usize,
        release: usize,
    ) -> Option<Result<Vec<Vec<u8>>, Fault>> {
        let taken = rx.take_slice(most).map(|slice| {
            let pages = slice.iter().map(Self::into_bytes).collect();
            slice.release(release);
            pages
        });
        Some(taken.map_err(fault))
    }
}

impl Body for Bytes {
    const WHOLE: bool = false;

    fn of(bytes: &[u8]) -> &[u8] {
        bytes
    }

    fn into_bytes(message: Vec<u8>) -> Vec<u8> {
        message
    }

    fn came_back((): (), _bytes: &[u8]) -> bool {
        true
    }

    fn recv<K: Kind>(rx: &Receiver<Self, K>, patience: Patience) -> Got<Vec<u8>> {
        let mut into = Vec::new();
        let got = match patience {
            Patience::None => tried(rx.try_recv(&mut into))?,
            Patience::For(time) => timed(rx.recv_timeout(&mut into, time))?,
            Patience::Ever => Ok(rx.recv(&mut into).map_err(fault)?),
        };
        Ok(got.map(|length| {
            assert_eq!(length, into.len());
            into
        }))
    }

    fn reserve<K: Kind>(
        tx: &mut Sender<Self, K>,
        longest: usize,
        patience: Patience,
    ) -> Result<Grant<'_, Self, K>, TrySendError> {
        match patience {
            Patience::None => tx.try_reserve(longest),
            _ => tx.reserve(longest).map_err(TrySendError::from),
        }
    }

    fn write<K: Kind>(grant: &mut Grant<'_, Self, K>, bytes: &[u8]) {
        assert_eq!(grant.write_at(0, bytes), bytes.len());
    }

    fn commit<K: Kind>(grant: Grant<'_, Self, K>, length: usize) -> Result<(), SendError> {
        grant.commit(length)
    }

    fn read<K: Kind>(delivery: &Delivery<'_, Self, K>) -> Vec<u8> {
        delivery.to_vec()
    }
}
