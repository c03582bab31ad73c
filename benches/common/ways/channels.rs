//! Tombolo's channels, in each way that they offer.

#![allow(unsafe_code)]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use tombolo::{
    ByteChannel, ByteReceiver, ByteSender, Channel, InPlace, Message, Mpmc, Receiver, Segment,
    Sender, Spsc, TrustedPeers,
};

use super::{BATCH, LAP, Way, each, in_parts, sum, together};

/// A kind of channel.
pub(crate) trait Ring: InPlace {
    const NAME: &'static str;
    const BYTES: &'static str;
    fn typed<T: Message>(channel: Channel<'_, T>) -> Channel<'_, T, Self>;
    fn bytes(channel: ByteChannel<'_>) -> ByteChannel<'_, Self>;
}

impl Ring for Spsc {
    const NAME: &'static str = "tombolo SPSC";
    const BYTES: &'static str = "tombolo SPSC bytes";
    fn typed<T: Message>(channel: Channel<'_, T>) -> Channel<'_, T, Self> {
        channel.spsc()
    }
    fn bytes(channel: ByteChannel<'_>) -> ByteChannel<'_, Self> {
        channel.spsc()
    }
}

impl Ring for Mpmc {
    const NAME: &'static str = "tombolo MPMC";
    const BYTES: &'static str = "tombolo MPMC bytes";
    fn typed<T: Message>(channel: Channel<'_, T>) -> Channel<'_, T, Self> {
        channel.mpmc()
    }
    fn bytes(channel: ByteChannel<'_>) -> ByteChannel<'_, Self> {
        channel.mpmc()
    }
}

/// A name that no other channel of this program has.
fn name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("way-{}", COUNT.fetch_add(1, Relaxed))
}

/// The cases in place are measured by reference, and by copies.
fn trust(segment: &Segment) -> TrustedPeers {
    // SAFETY: an anonymous segment, whose other participants are processes of
    // this benchmark.
    unsafe { segment.trust_peers() }
}

type Ends<K, const W: usize> = (Sender<[u64; W], K>, Receiver<[u64; W], K>);

fn ends<K: Ring, const W: usize>(segment: &Segment) -> Ends<K, W> {
    let name = name();
    let channel = K::typed(segment.channel(&name)).capacity(LAP as usize);
    (channel.sender().expect("an end"), channel.receiver().expect("an end"))
}

pub(crate) fn trying<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let push = move |numbers| {
        for n in numbers {
            tx.try_send([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&rx.try_recv().expect("a message")));
    Way::new::<W>(K::NAME, ["try_send", "try_recv"], push, pop)
}

pub(crate) fn blocking<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let push = move |numbers| {
        for n in numbers {
            tx.send([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&rx.recv().expect("a message")));
    Way::new::<W>(K::NAME, ["send", "recv"], push, pop)
}

/// What comes of a future that is ready at once.
#[inline(always)]
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

pub(crate) fn awaited<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let (mut tx, mut rx) = (tx.into_async(), rx.into_async());
    let push = move |numbers| {
        for n in numbers {
            at_once(tx.send([n; W])).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&at_once(rx.recv()).expect("a message")));
    Way::new::<W>(K::NAME, ["send, awaited", "recv, awaited"], push, pop)
}

/// One publisher and one subscriber; `reliable` if publishers wait for that one.
pub(crate) fn broadcast<const W: usize>(segment: &Segment, reliable: bool) -> Way {
    let name = name();
    let channel = segment.broadcast::<[u64; W]>(&name).capacity(LAP as usize).publishers(1);
    let tx = channel.publisher().expect("an end");
    let push = move |numbers| {
        for n in numbers {
            tx.try_send([n; W]).expect("room");
        }
    };
    let calls = ["try_send", "try_recv"];
    if reliable {
        let rx = channel.reliable_subscriber().expect("an end");
        let pop = move |count| each(count, || sum(&rx.try_recv().expect("a message")));
        return Way::new::<W>("broadcast, reliable", calls, push, pop);
    }
    let rx = channel.subscriber().expect("an end");
    let pop = move |count| each(count, || sum(&rx.try_recv().expect("a message")));
    Way::new::<W>("broadcast", calls, push, pop)
}

pub(crate) fn in_place<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (mut tx, mut rx) = ends::<K, W>(segment);
    let trust = trust(segment);
    let push = move |numbers| {
        for n in numbers {
            let mut grant = tx.reserve().expect("room");
            *grant.as_mut(trust) = [n; W];
            grant.commit().expect("sent");
        }
    };
    let pop = move |count| each(count, || sum(rx.take().expect("a message").as_ref(trust)));
    Way::new::<W>(K::NAME, ["reserve, commit", "take, drop"], push, pop)
}

pub(crate) fn in_place_copied<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (mut tx, mut rx) = ends::<K, W>(segment);
    let push = move |numbers| {
        for n in numbers {
            let mut grant = tx.reserve().expect("room");
            grant.write(&[n; W]);
            grant.commit().expect("sent");
        }
    };
    let pop = move |count| each(count, || sum(&rx.take().expect("a message").read()));
    Way::new::<W>(K::NAME, ["reserve, write, commit", "take, read, drop"], push, pop)
}

pub(crate) fn batches<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let mut sent = Vec::with_capacity(BATCH);
    let push = move |numbers| {
        in_parts(numbers, |part| {
            sent.clear();
            sent.extend(part.map(|n| [n; W]));
            tx.send_batch(&sent).expect("room");
            sent.len()
        });
    };
    let mut got = Vec::with_capacity(BATCH);
    let pop = move |count| {
        together(count, |most| {
            got.clear();
            let count = rx.recv_batch(&mut got, most).expect("messages");
            (count, got.iter().map(sum).fold(0, u64::wrapping_add))
        })
    };
    Way::new::<W>(K::NAME, ["send_batch of 64", "recv_batch of 64"], push, pop)
}

pub(crate) fn slices<const W: usize>(segment: &Segment) -> Way {
    let (mut tx, mut rx) = ends::<Spsc, W>(segment);
    let trust = trust(segment);
    let push = move |numbers| {
        in_parts(numbers, |part| {
            let mut grant = tx.reserve_slice((part.end - part.start) as usize).expect("room");
            let count = grant.len();
            grant.as_mut_slice(trust).iter_mut().zip(part).for_each(|(slot, n)| *slot = [n; W]);
            grant.commit(count).expect("sent");
            count
        });
    };
    let pop = move |count| {
        together(count, |most| {
            let slice = rx.take_slice(most).expect("messages");
            (slice.len(), slice.as_slice(trust).iter().map(sum).fold(0, u64::wrapping_add))
        })
    };
    Way::new::<W>(Spsc::NAME, ["reserve_slice of 64", "take_slice of 64"], push, pop)
}

type ByteEnds<K> = (ByteSender<K>, ByteReceiver<K>);

fn byte_ends<K: Ring>(segment: &Segment, longest: usize) -> ByteEnds<K> {
    let name = name();
    let channel = K::bytes(segment.bytes(&name)).capacity(LAP as usize, longest);
    (channel.sender().expect("an end"), channel.receiver().expect("an end"))
}

#[inline(always)]
fn sum_bytes<const W: usize>(message: &[u8]) -> u64 {
    sum(&bytemuck::pod_read_unaligned::<[u64; W]>(message))
}

pub(crate) fn bytes<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (mut tx, mut rx) = byte_ends::<K>(segment, 8 * W);
    let trust = trust(segment);
    let push = move |numbers| {
        for n in numbers {
            let mut room = tx.reserve(8 * W).expect("room");
            room.as_mut_slice(trust).copy_from_slice(bytemuck::bytes_of(&[n; W]));
            room.commit(8 * W).expect("sent");
        }
    };
    let pop =
        move |count| each(count, || sum_bytes::<W>(rx.take().expect("a message").as_slice(trust)));
    Way::new::<W>(K::BYTES, ["reserve, commit", "take, drop"], push, pop)
}

pub(crate) fn bytes_trying<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = byte_ends::<K>(segment, 8 * W);
    let push = move |numbers| {
        for n in numbers {
            tx.try_send(bytemuck::bytes_of(&[n; W])).expect("room");
        }
    };
    let mut got = Vec::with_capacity(8 * W);
    let pop = move |count| {
        each(count, || {
            got.clear();
            rx.try_recv(&mut got).expect("a message");
            sum_bytes::<W>(&got)
        })
    };
    Way::new::<W>(K::BYTES, ["try_send", "try_recv"], push, pop)
}

pub(crate) fn bytes_blocking<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = byte_ends::<K>(segment, 8 * W);
    let push = move |numbers| {
        for n in numbers {
            tx.send(bytemuck::bytes_of(&[n; W])).expect("room");
        }
    };
    let mut got = Vec::with_capacity(8 * W);
    let pop = move |count| {
        each(count, || {
            got.clear();
            rx.recv(&mut got).expect("a message");
            sum_bytes::<W>(&got)
        })
    };
    Way::new::<W>(K::BYTES, ["send", "recv"], push, pop)
}

/// Each message received in a batch is a `Vec` of its own: allocating it is
/// part of what this counts.
pub(crate) fn bytes_batches<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = byte_ends::<K>(segment, 8 * W);
    let push = move |numbers| {
        in_parts(numbers, |part| {
            let mut messages = [[0; W]; BATCH];
            let count = (part.end - part.start) as usize;
            messages.iter_mut().zip(part).for_each(|(message, n)| *message = [n; W]);
            let sent: [&[u8]; BATCH] = std::array::from_fn(|at| bytemuck::bytes_of(&messages[at]));
            tx.send_batch(&sent[..count]).expect("room");
            count
        });
    };
    let mut got = Vec::with_capacity(BATCH);
    let pop = move |count| {
        together(count, |most| {
            got.clear();
            let count = rx.recv_batch(&mut got, most).expect("messages");
            let sums = got.iter().map(|message| sum_bytes::<W>(message));
            (count, sums.fold(0, u64::wrapping_add))
        })
    };
    Way::new::<W>(K::BYTES, ["send_batch of 64", "recv_batch of 64"], push, pop)
}
