//! Channels between threads with the same calls: `kanal`, `flume`,
//! `crossbeam-channel` and the standard library's. Each is used with the calls
//! that wait, with which its documentation begins, and also with calls that do not
//! wait, if it has them.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::mpsc;

use crate::failure::Failure;
use crate::harness::{Message, Rx, Subject, Tx};
use crate::ours::threads::{Pair, Threads};
use crate::versions::version;

pub(crate) const KANAL: &str = concat!("kanal ", version!("kanal"), ", between threads");
pub(crate) const KANAL_TRYING: &str =
    concat!("kanal ", version!("kanal"), ", trying, between threads");
pub(crate) const FLUME: &str = concat!("flume ", version!("flume"), ", between threads");
pub(crate) const FLUME_TRYING: &str =
    concat!("flume ", version!("flume"), ", trying, between threads");
pub(crate) const CROSSBEAM: &str =
    concat!("crossbeam-channel ", version!("crossbeam_channel"), ", between threads");
pub(crate) const CROSSBEAM_TRYING: &str =
    concat!("crossbeam-channel ", version!("crossbeam_channel"), ", trying, between threads");
pub(crate) const STD: &str = concat!("sync_channel of std ", version!("std"), ", between threads");
pub(crate) const STD_TRYING: &str =
    concat!("sync_channel of std ", version!("std"), ", trying, between threads");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Threads::<Channel<Kanal, Waiting>>::new()),
        Box::new(Threads::<Channel<Kanal, Trying>>::new()),
        Box::new(Threads::<Channel<Flume, Waiting>>::new()),
        Box::new(Threads::<Channel<Flume, Trying>>::new()),
        Box::new(Threads::<Channel<Crossbeam, Waiting>>::new()),
        Box::new(Threads::<Channel<Crossbeam, Trying>>::new()),
        Box::new(Threads::<Channel<Std, Waiting>>::new()),
        Box::new(Threads::<Channel<Std, Trying>>::new()),
    ]
}

/// The other end is gone.
struct Gone;

/// The common interface of the libraries.
trait Library: 'static {
    const NAME: &str;
    const NAME_TRYING: &str;
    type Sender<T: Send>: Send;
    type Receiver<T: Send>: Send;

    fn bounded<T: Send>(slots: usize) -> (Self::Sender<T>, Self::Receiver<T>);
    fn send<T: Send>(sender: &Self::Sender<T>, message: T) -> Result<(), Gone>;
    fn recv<T: Send>(receiver: &Self::Receiver<T>) -> Result<T, Gone>;
    /// Whether there was room.
    fn try_send<T: Send + Copy>(sender: &Self::Sender<T>, message: T) -> Result<bool, Gone>;
    fn try_recv<T: Send>(receiver: &Self::Receiver<T>) -> Result<Option<T>, Gone>;

    fn clone_sender<T: Send>(sender: &Self::Sender<T>) -> Option<Self::Sender<T>>;
    fn clone_receiver<T: Send>(receiver: &Self::Receiver<T>) -> Option<Self::Receiver<T>>;
}

/// A library, used in one way.
struct Channel<L, Y>(PhantomData<(L, Y)>);

/// By the calls that wait.
struct Waiting;
/// By those that do not, repeated.
struct Trying;

trait Way: Send + 'static {
    const TRYING: bool;
}

impl Way for Waiting {
    const TRYING: bool = false;
}

impl Way for Trying {
    const TRYING: bool = true;
}

struct Sending<const W: usize, L: Library, Y>(L::Sender<Message<W>>, PhantomData<Y>);
struct Receiving<const W: usize, L: Library, Y>(L::Receiver<Message<W>>, PhantomData<Y>);

impl<L: Library, Y: Way> Pair for Channel<L, Y> {
    const NAME: &str = if Y::TRYING { L::NAME_TRYING } else { L::NAME };
    type Tx<const W: usize> = Sending<W, L, Y>;
    type Rx<const W: usize> = Receiving<W, L, Y>;

    fn pair<const W: usize>(slots: usize) -> (Self::Tx<W>, Self::Rx<W>) {
        let (sender, receiver) = L::bounded(slots);
        (Sending(sender, PhantomData), Receiving(receiver, PhantomData))
    }

    fn next_tx<const W: usize>(tx: &Self::Tx<W>) -> Option<Self::Tx<W>> {
        L::clone_sender(&tx.0).map(|sender| Sending(sender, PhantomData))
    }

    fn next_rx<const W: usize>(rx: &Self::Rx<W>) -> Option<Self::Rx<W>> {
        L::clone_receiver(&rx.0).map(|receiver| Receiving(receiver, PhantomData))
    }
}

fn gone(_: Gone) -> Failure {
    Failure::Broken("the other end has gone".to_owned())
}

impl<const W: usize, L: Library, Y: Way> Tx<W> for Sending<W, L, Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            if Y::TRYING {
                while !L::try_send(&self.0, [number; W]).map_err(gone)? {
                    spin_loop();
                }
            } else {
                L::send(&self.0, [number; W]).map_err(gone)?;
            }
        }
        Ok(())
    }
}

impl<const W: usize, L: Library, Y: Way> Rx<W> for Receiving<W, L, Y> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        if !Y::TRYING {
            see(&L::recv(&self.0).map_err(gone)?);
            return Ok(1);
        }
        loop {
            if let Some(message) = L::try_recv(&self.0).map_err(gone)? {
                see(&message);
                return Ok(1);
            }
            spin_loop();
        }
    }
}

/// The calls that have the same names everywhere.
macro_rules! alike {
    ($sender:ty, $receiver:ty, $bounded:path) => {
        type Sender<T: Send> = $sender;
        type Receiver<T: Send> = $receiver;

        fn bounded<T: Send>(slots: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
            $bounded(slots)
        }

        #[inline(always)]
        fn send<T: Send>(sender: &Self::Sender<T>, message: T) -> Result<(), Gone> {
            sender.send(message).map_err(|_| Gone)
        }

        #[inline(always)]
        fn recv<T: Send>(receiver: &Self::Receiver<T>) -> Result<T, Gone> {
            receiver.recv().map_err(|_| Gone)
        }

        fn clone_sender<T: Send>(sender: &Self::Sender<T>) -> Option<Self::Sender<T>> {
            Some(sender.clone())
        }
    };
}

/// Those that say in an error that there is no room, or nothing.
macro_rules! try_by_errors {
    ($try_send:path, $try_recv:path) => {
        #[inline(always)]
        fn try_send<T: Send + Copy>(sender: &Self::Sender<T>, message: T) -> Result<bool, Gone> {
            use $try_send as Error;
            match sender.try_send(message) {
                Ok(()) => Ok(true),
                Err(Error::Full(_)) => Ok(false),
                Err(Error::Disconnected(_)) => Err(Gone),
            }
        }

        #[inline(always)]
        fn try_recv<T: Send>(receiver: &Self::Receiver<T>) -> Result<Option<T>, Gone> {
            use $try_recv as Error;
            match receiver.try_recv() {
                Ok(message) => Ok(Some(message)),
                Err(Error::Empty) => Ok(None),
                Err(Error::Disconnected) => Err(Gone),
            }
        }
    };
}

macro_rules! several_receivers {
    () => {
        fn clone_receiver<T: Send>(receiver: &Self::Receiver<T>) -> Option<Self::Receiver<T>> {
            Some(receiver.clone())
        }
    };
}

struct Kanal;

impl Library for Kanal {
    const NAME: &str = KANAL;
    const NAME_TRYING: &str = KANAL_TRYING;
    alike!(kanal::Sender<T>, kanal::Receiver<T>, kanal::bounded);
    several_receivers!();

    #[inline(always)]
    fn try_send<T: Send + Copy>(sender: &Self::Sender<T>, message: T) -> Result<bool, Gone> {
        sender.try_send(message).map_err(|_| Gone)
    }

    #[inline(always)]
    fn try_recv<T: Send>(receiver: &Self::Receiver<T>) -> Result<Option<T>, Gone> {
        receiver.try_recv().map_err(|_| Gone)
    }
}

struct Flume;

impl Library for Flume {
    const NAME: &str = FLUME;
    const NAME_TRYING: &str = FLUME_TRYING;
    alike!(flume::Sender<T>, flume::Receiver<T>, flume::bounded);
    try_by_errors!(flume::TrySendError, flume::TryRecvError);
    several_receivers!();
}

struct Crossbeam;

impl Library for Crossbeam {
    const NAME: &str = CROSSBEAM;
    const NAME_TRYING: &str = CROSSBEAM_TRYING;
    alike!(
        crossbeam_channel::Sender<T>,
        crossbeam_channel::Receiver<T>,
        crossbeam_channel::bounded
    );
    try_by_errors!(crossbeam_channel::TrySendError, crossbeam_channel::TryRecvError);
    several_receivers!();
}

struct Std;

impl Library for Std {
    const NAME: &str = STD;
    const NAME_TRYING: &str = STD_TRYING;
    alike!(mpsc::SyncSender<T>, mpsc::Receiver<T>, mpsc::sync_channel);
    try_by_errors!(mpsc::TrySendError, mpsc::TryRecvError);

    /// It has one receiver.
    fn clone_receiver<T: Send>(_: &Self::Receiver<T>) -> Option<Self::Receiver<T>> {
        None
    }
}
