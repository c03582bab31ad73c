//! The four rings behind one interface, and processes that hold something of
//! one of them.

use std::time::Duration;

use tombolo::{
    ByteKind, ByteReceiver, ByteSender, Fault, Kind, Receiver, RecvError, RecvTimeoutError,
    Segment, SendBytesError, Sender, TryRecvError, TrySendError,
};

use super::{Brief, Name, PATIENCE, Peer, thread_parked, tid, wait_until};

/// MPMC and SPSC of plain data, MPMC and SPSC of bytes.
pub(crate) const RINGS: [&str; 4] = ["mpmc", "spsc", "bytes-mpmc", "bytes-spsc"];
/// Messages that a channel of [`ends`] holds.
pub(crate) const CAPACITY: usize = 2;
const LONGEST: usize = 512;

type Page = [u64; LONGEST / 8];

/// A sender of numbers, each large enough to be torn.
pub(crate) trait Tx: Send {
    fn send(&self, n: u64) -> Result<(), Fault>;
    /// Whether there was room.
    fn try_send(&self, n: u64) -> Result<bool, Fault>;
    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault>;
    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault>;
    /// Writes in place, does something, and commits.
    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault>;
}

/// A receiver of such numbers: torn ones are a panic.
pub(crate) trait Rx: Send {
    fn recv(&self) -> Result<u64, Fault>;
    /// `None` if there is nothing, or nothing yet.
    fn try_recv(&self) -> Result<Option<u64>, Fault>;
    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault>;
    fn recv_batch(&self) -> Result<usize, Fault>;
    /// Takes in place, does something, reads and releases. The number, and
    /// how many readers have died over it.
    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault>;
}

#[track_caller]
fn whole(page: &Page) -> u64 {
    assert!(page.iter().all(|n| *n == page[0]), "torn: {page:?}");
    page[0]
}

#[track_caller]
fn whole_bytes(bytes: &[u8]) -> u64 {
    assert_eq!(bytes.len(), LONGEST);
    whole(bytemuck::pod_read_unaligned::<Page>(bytes).as_ref().try_into().unwrap())
}

fn received(error: RecvError) -> Fault {
    match error {
        RecvError::Fault(fault) => fault,
        error => panic!("{error}"),
    }
}

fn tried<R>(result: Result<R, TryRecvError>) -> Result<Option<R>, Fault> {
    match result {
        Ok(got) => Ok(Some(got)),
        Err(TryRecvError::Failed(error)) => Err(received(error)),
        Err(_) => Ok(None),
    }
}

fn timed<R>(result: Result<R, RecvTimeoutError>) -> Result<Option<R>, Fault> {
    match result {
        Ok(got) => Ok(Some(got)),
        Err(RecvTimeoutError::Failed(error)) => Err(received(error)),
        Err(_) => Ok(None),
    }
}

fn sent(result: Result<(), SendBytesError>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        Err(SendBytesError::Full) => Ok(false),
        Err(SendBytesError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error}"),
    }
}

impl<K: Kind> Tx for Sender<Page, K>
where
    Self: Send,
{
    fn send(&self, n: u64) -> Result<(), Fault> {
        Sender::send(self, [n; _]).map_err(|error| error.fault)
    }

    fn try_send(&self, n: u64) -> Result<bool, Fault> {
        match Sender::try_send(self, [n; _]) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Failed(error)) => Err(error.fault),
        }
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault> {
        match Sender::send_timeout(self, [n; _], time) {
            Ok(()) => Ok(true),
            Err(tombolo::SendTimeoutError::Timeout(_)) => Ok(false),
            Err(tombolo::SendTimeoutError::Failed(error)) => Err(error.fault),
        }
    }

    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault> {
        let pages: Vec<Page> = numbers.iter().map(|n| [*n; _]).collect();
        Sender::send_batch(self, &pages).map_err(|error| error.fault)
    }

    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault> {
        let mut grant = self.reserve()?;
        grant[0] = n;
        meanwhile();
        *grant = [n; _];
        grant.commit();
        Ok(())
    }
}

impl<K: Kind> Rx for Receiver<Page, K>
where
    Self: Send,
{
    fn recv(&self) -> Result<u64, Fault> {
        Receiver::recv(self).map(|page| whole(&page)).map_err(received)
    }

    fn try_recv(&self) -> Result<Option<u64>, Fault> {
        Ok(tried(Receiver::try_recv(self))?.map(|page| whole(&page)))
    }

    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault> {
        Ok(timed(Receiver::recv_timeout(self, time))?.map(|page| whole(&page)))
    }

    fn recv_batch(&self) -> Result<usize, Fault> {
        Receiver::recv_batch(self, &mut Vec::new(), 9).map_err(received)
    }

    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault> {
        let delivery = self.take()?;
        meanwhile();
        Ok((whole(&delivery), delivery.attempts()))
    }
}

impl<K: ByteKind> Tx for ByteSender<K>
where
    Self: Send,
{
    fn send(&self, n: u64) -> Result<(), Fault> {
        sent(ByteSender::send(self, bytemuck::bytes_of(&[n; LONGEST / 8]))).map(drop)
    }

    fn try_send(&self, n: u64) -> Result<bool, Fault> {
        sent(ByteSender::try_send(self, bytemuck::bytes_of(&[n; LONGEST / 8])))
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault> {
        sent(ByteSender::send_timeout(self, bytemuck::bytes_of(&[n; LONGEST / 8]), time))
    }

    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault> {
        let pages: Vec<Page> = numbers.iter().map(|n| [*n; _]).collect();
        let bytes: Vec<&[u8]> = pages.iter().map(bytemuck::bytes_of).collect();
        sent(ByteSender::send_batch(self, &bytes).map_err(|(_, error)| error)).map(drop)
    }

    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault> {
        let mut grant = match self.reserve(LONGEST) {
            Ok(grant) => grant,
            Err(error) => return sent(Err(error)).map(drop),
        };
        grant[0] = 1;
        meanwhile();
        grant.copy_from_slice(bytemuck::bytes_of(&[n; LONGEST / 8]));
        sent(grant.commit(LONGEST)).map(drop)
    }
}

impl<K: ByteKind> Rx for ByteReceiver<K>
where
    Self: Send,
{
    fn recv(&self) -> Result<u64, Fault> {
        let mut into = Vec::new();
        ByteReceiver::recv(self, &mut into).map(|_| whole_bytes(&into))
    }

    fn try_recv(&self) -> Result<Option<u64>, Fault> {
        let mut into = Vec::new();
        Ok(tried(ByteReceiver::try_recv(self, &mut into))?.map(|_| whole_bytes(&into)))
    }

    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault> {
        let mut into = Vec::new();
        Ok(timed(ByteReceiver::recv_timeout(self, &mut into, time))?.map(|_| whole_bytes(&into)))
    }

    fn recv_batch(&self) -> Result<usize, Fault> {
        ByteReceiver::recv_batch(self, &mut Vec::new(), 9)
    }

    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault> {
        let delivery = self.take()?;
        meanwhile();
        Ok((whole_bytes(&delivery), delivery.attempts()))
    }
}

/// The sending end of a ring, in a channel of this name.
pub(crate) fn sender(segment: &Segment, ring: &str, channel: &str) -> Box<dyn Tx> {
    let typed = segment.channel::<Page>(channel).capacity(CAPACITY);
    let bytes = segment.bytes(channel).capacity(CAPACITY, LONGEST);
    match ring {
        "mpmc" => Box::new(typed.sender().unwrap()),
        "spsc" => Box::new(typed.spsc().sender().unwrap()),
        "bytes-mpmc" => Box::new(bytes.sender().unwrap()),
        "bytes-spsc" => Box::new(bytes.spsc().sender().unwrap()),
        ring => panic!("{ring}"),
    }
}

/// The receiving end.
pub(crate) fn receiver(segment: &Segment, ring: &str, channel: &str) -> Box<dyn Rx> {
    let typed = segment.channel::<Page>(channel).capacity(CAPACITY);
    let bytes = segment.bytes(channel).capacity(CAPACITY, LONGEST);
    match ring {
        "mpmc" => Box::new(typed.receiver().unwrap()),
        "spsc" => Box::new(typed.spsc().receiver().unwrap()),
        "bytes-mpmc" => Box::new(bytes.receiver().unwrap()),
        "bytes-spsc" => Box::new(bytes.spsc().receiver().unwrap()),
        ring => panic!("{ring}"),
    }
}

/// Whether a ring has one sender and one receiver at a time.
pub(crate) fn single(ring: &str) -> bool {
    ring.ends_with("spsc")
}

/// How many messages fit in, and come out whole again.
pub(crate) fn room(segment: &Segment, ring: &str, channel: &str) -> usize {
    let (tx, rx) = (sender(segment, ring, channel), receiver(segment, ring, channel));
    while rx.try_recv().unwrap().is_some() {}
    let mut room = 0;
    while tx.try_send(room).unwrap() {
        room += 1;
    }
    (0..room).for_each(|n| assert_eq!(rx.try_recv().unwrap(), Some(n)));
    assert_eq!(rx.try_recv().unwrap(), None);
    room as usize
}

/// What a [`Holder`] can be in the middle of.
pub(crate) const HELD: [&str; 5] = ["grant", "delivery", "sender", "receiver", "recv"];
/// What a holder's delivery says, and what it sends itself.
pub(crate) const TAKEN: u64 = 40;
pub(crate) const SENT: u64 = 41;

/// A process in the middle of something, in a channel of its own.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) peer: Peer,
    pub(crate) ring: &'static str,
    pub(crate) held: &'static str,
}

/// The channel that is a holder's.
pub(crate) fn channel_of(ring: &str, held: &str) -> String {
    format!("{ring}/{held}")
}

impl Holder {
    /// A test file with holders calls [`hold`] in its `child_entry`.
    pub(crate) fn start(
        name: &Name,
        segment: &Segment,
        ring: &'static str,
        held: &'static str,
    ) -> Holder {
        let peer = Peer::start("hold", &[name, &ring, &held]);
        Self::of(peer, segment, ring, held)
    }

    /// The same with a peer that was given a role of its own.
    pub(crate) fn of(
        mut peer: Peer,
        segment: &Segment,
        ring: &'static str,
        held: &'static str,
    ) -> Holder {
        if held == "delivery" {
            sender(segment, ring, &channel_of(ring, held)).send(TAKEN).unwrap();
        }
        peer.expect("open");
        peer.tell("go");
        if held == "recv" {
            peer.wait_until_parked();
        } else {
            peer.expect("held");
        }
        Holder { peer, ring, held }
    }

    pub(crate) fn channel(&self) -> String {
        channel_of(self.ring, self.held)
    }

    /// Has it go on, and checks that all was as if nothing had happened.
    pub(crate) fn conclude(mut self, segment: &Segment) {
        let channel = self.channel();
        match self.held {
            "grant" | "sender" => {
                let rx = receiver(segment, self.ring, &channel);
                assert_eq!(rx.try_recv().unwrap(), None, "{channel}");
                self.peer.tell("on");
                self.peer.expect("done");
                assert_eq!(rx.recv().unwrap(), SENT, "{channel}");
            }
            "delivery" => {
                self.peer.tell("on");
                self.peer.expect(&format!("got {TAKEN} after 0"));
            }
            _ => {
                self.peer.tell("on");
                sender(segment, self.ring, &channel).send(TAKEN).unwrap();
                self.peer.expect(&format!("got {TAKEN}"));
            }
        }
        assert_eq!(self.peer.join(), 0, "{channel}");
        assert!(room(segment, self.ring, &channel) >= CAPACITY, "{channel}");
    }

    /// Has it die, and checks that whoever waits goes on without it.
    pub(crate) fn dies(&self, segment: &Segment, kill: impl FnOnce(&Peer)) {
        let channel = self.channel();
        if !single(self.ring) && self.held == "delivery" {
            let mut rx = receiver(segment, self.ring, &channel);
            let got = while_waiting(segment, move || rx.delivery(&mut || ()), || kill(&self.peer));
            assert_eq!(got.unwrap(), (TAKEN, 1), "{channel}");
        } else if !single(self.ring) && self.held == "grant" {
            let rx = receiver(segment, self.ring, &channel);
            let tx = sender(segment, self.ring, &channel);
            while tx.try_send(5).unwrap() {}
            // In the way of what was sent, or of what is to be.
            let got = while_waiting(segment, move || tx.send(6), || kill(&self.peer));
            got.unwrap();
            (1..CAPACITY).for_each(|_| assert_eq!(rx.recv().unwrap(), 5, "{channel}"));
            assert_eq!(rx.recv().unwrap(), 6, "{channel}");
        } else if self.held == "grant" || self.held == "sender" {
            let rx = receiver(segment, self.ring, &channel);
            let told = while_waiting(segment, move || rx.recv(), || kill(&self.peer));
            assert!(matches!(told, Err(Fault::Disconnected { .. })), "{channel}: {told:?}");
        } else {
            let tx = sender(segment, self.ring, &channel);
            while tx.try_send(TAKEN).unwrap() {}
            let told = while_waiting(segment, move || tx.send(6), || kill(&self.peer));
            assert!(matches!(told, Err(Fault::Disconnected { .. })), "{channel}: {told:?}");
            let rx = receiver(segment, self.ring, &channel);
            assert_eq!(rx.try_recv().unwrap(), Some(TAKEN), "{channel}");
        }
        assert!(room(segment, self.ring, &channel) >= CAPACITY, "{channel}");
    }

    /// Checks that nobody has taken anything from it.
    #[track_caller]
    pub(crate) fn is_unharmed(&self, segment: &Segment) {
        let channel = self.channel();
        assert!(!segment.sweep().unwrap(), "{channel}: swept");
        let listed = segment.channels();
        let found = listed.iter().find(|found| found.name == channel).unwrap();
        assert_eq!(found.senders + found.receivers, 1, "{channel}: taken for dead");
        match (self.held, single(self.ring)) {
            ("grant", false) => {
                assert_eq!(receiver(segment, self.ring, &channel).try_recv().unwrap(), None);
            }
            ("delivery", false) => {
                assert_eq!(receiver(segment, self.ring, &channel).try_recv().unwrap(), None);
                let tx = sender(segment, self.ring, &channel);
                let mut sent = 0;
                while tx.try_send(7).unwrap() {
                    sent += 1;
                }
                // What the holder has is in the way when its turn comes.
                assert!(sent < CAPACITY, "{channel}");
                let rx = receiver(segment, self.ring, &channel);
                (0..sent).for_each(|_| assert_eq!(rx.try_recv().unwrap(), Some(7), "{channel}"));
                assert_eq!(rx.try_recv().unwrap(), None, "{channel}");
            }
            _ => {}
        }
    }
}

/// What a call comes to that sleeps when `then` is done.
fn while_waiting<R: Send>(
    segment: &Segment,
    call: impl FnOnce() -> R + Send,
    then: impl FnOnce(),
) -> R {
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            tell.send(tid()).unwrap();
            call()
        });
        let waiter_tid = told.recv().unwrap();
        wait_until(|| waiter.is_finished() || thread_parked(waiter_tid));
        assert!(!waiter.is_finished(), "it does not wait");
        then();
        let deadline = std::time::Instant::now() + PATIENCE;
        while !waiter.is_finished() {
            if std::time::Instant::now() > deadline {
                // Which wakes it, so that the test can end.
                segment.remove().unwrap();
                panic!("nobody has woken it");
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        waiter.join().unwrap()
    })
}

/// What the process of a [`Holder`] does.
pub(crate) fn hold(brief: &Brief, segment: &Segment, prepare: &mut dyn FnMut()) {
    let (ring, held) = (brief.text(1), brief.text(2));
    let channel = channel_of(ring, held);
    let mut meanwhile = || {
        prepare();
        brief.say("held");
        brief.hear();
    };
    brief.say("open");
    brief.hear();
    match held {
        "grant" => {
            sender(segment, ring, &channel).grant(SENT, &mut meanwhile).unwrap();
            brief.say("done");
        }
        "sender" => {
            let tx = sender(segment, ring, &channel);
            meanwhile();
            tx.send(SENT).unwrap();
            brief.say("done");
        }
        "delivery" => {
            let (n, deaths) = receiver(segment, ring, &channel).delivery(&mut meanwhile).unwrap();
            brief.say(format!("got {n} after {deaths}"));
        }
        "receiver" => {
            let rx = receiver(segment, ring, &channel);
            meanwhile();
            brief.say(format!("got {}", rx.recv().unwrap()));
        }
        "recv" => {
            let rx = receiver(segment, ring, &channel);
            brief.say(format!("got {}", rx.recv().unwrap()));
        }
        held => panic!("{held}"),
    }
}
