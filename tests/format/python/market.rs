//! The Python client as a child process, and a segment with one channel for it.

use super::*;

pub(super) const CLIENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/format/python_client.py");

/// Whether there is a Python that can run the client. Says so if not.
pub(super) fn python() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        if !cfg!(target_arch = "x86_64") {
            eprintln!("SKIPPED: everything with Python peers, whose atomics are for x86-64");
            return false;
        }
        let new = "import sys, ctypes; sys.exit(sys.version_info < (3, 9))";
        let found = Command::new("python3").args(["-c", new]).status();
        let found = found.is_ok_and(|status| status.success());
        if !found {
            eprintln!(
                "SKIPPED: everything with Python peers, for want of python3 (3.9) with ctypes"
            );
        }
        found
    })
}

/// A process of one of the clients in the segment, killed with the test.
pub(super) struct Python {
    pub(super) child: Child,
    ears: ChildStdin,
    said: Said<String>,
}

impl Python {
    pub(super) fn join(name: &str) -> Python {
        let mut command = Command::new("python3");
        command.args([CLIENT, name]).env("PYTHONDONTWRITEBYTECODE", "1");
        Python::start(command)
    }

    /// Starts a client, in any language, with this command.
    pub(super) fn start(mut command: Command) -> Python {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, said) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let python = Python { ears: child.stdin.take().unwrap(), child, said };
        python.expect("joined");
        python
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(super) fn tell(&mut self, command: &str) {
        writeln!(self.ears, "{command}").unwrap();
    }

    #[track_caller]
    pub(super) fn said(&self) -> String {
        self.said.recv_timeout(PATIENCE).expect("Python says something")
    }

    #[track_caller]
    pub(super) fn expect(&self, what: &str) {
        assert_eq!(self.said(), what);
    }

    #[track_caller]
    pub(super) fn ask(&mut self, command: &str, answer: &str) {
        self.tell(command);
        assert_eq!(self.said(), answer, "to {command}");
    }

    pub(super) fn open(&mut self, kind: &str, side: &str) {
        self.ask(&format!("open c {kind} {side}"), "open");
    }

    /// Has it sleep in a call.
    #[track_caller]
    pub(super) fn park(&mut self, command: &str) {
        self.tell(command);
        let pid = self.pid();
        wait_until(|| parked(pid));
        assert!(self.said.try_recv().is_err());
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn leave(mut self) {
        self.ask("leave", "left");
    }

    /// What it has got by `drain`, up to the end of all senders; it leaves then.
    pub(super) fn drained(self) -> Vec<String> {
        let said = self.said();
        let (got, why) = said.split_once(" Disconnected ").unwrap();
        assert_eq!(why, "sender");
        let got = got.split(',').skip(1).map(str::to_owned).collect();
        self.leave();
        got
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The nth message of both sides, as Python tells it.
pub(super) fn number(n: u64) -> String {
    format!("got {n}")
}

pub(super) fn filler(n: u64) -> Vec<u8> {
    (0..n * 37 % 201).map(|k| (n + k) as u8).collect()
}

pub(super) fn bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("got {hex}")
}

/// Any sender.
pub(super) enum Tx {
    Spsc(Sender<u64, Spsc>),
    Mpmc(Sender<u64, Mpmc>),
    SpscBytes(ByteSender<Spsc>),
    MpmcBytes(ByteSender<Mpmc>),
    Broadcast(Publisher<u64>),
    BroadcastBytes(Publisher<Bytes>),
}

impl Tx {
    pub(super) fn open(segment: &Segment, kind: &str) -> Result<Tx, ChannelError> {
        Ok(match kind {
            "spsc" => Tx::Spsc(segment.channel("c").spsc().sender()?),
            "mpmc" => Tx::Mpmc(segment.channel("c").sender()?),
            "spsc-bytes" => Tx::SpscBytes(segment.bytes("c").spsc().sender()?),
            "broadcast" => Tx::Broadcast(segment.broadcast("c").publisher()?),
            "broadcast-bytes" => Tx::BroadcastBytes(segment.broadcast_bytes("c").publisher()?),
            _ => Tx::MpmcBytes(segment.bytes("c").sender()?),
        })
    }

    /// Sends the nth message; why not, in words. As for [`Rx::recv`].
    pub(super) fn send(&self, n: u64) -> Result<(), String> {
        let began = Instant::now();
        let sent = self.send_at_all(n);
        if began.elapsed() < PATIENCE { sent } else { Err(format!("too late: {sent:?}")) }
    }

    pub(super) fn send_at_all(&self, n: u64) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        match self {
            Tx::Spsc(tx) => tx.send_deadline(n, until).map_err(|error| error.to_string()),
            Tx::Mpmc(tx) => tx.send_deadline(n, until).map_err(|error| error.to_string()),
            Tx::SpscBytes(tx) => tx.send_deadline(&filler(n), until).map_err(|e| e.to_string()),
            Tx::MpmcBytes(tx) => tx.send_deadline(&filler(n), until).map_err(|e| e.to_string()),
            Tx::Broadcast(tx) => tx.send_deadline(n, until).map_err(|error| error.to_string()),
            Tx::BroadcastBytes(tx) => {
                tx.send_deadline(&filler(n), until).map_err(|error| error.to_string())
            }
        }
    }

    pub(super) fn try_send(&self, n: u64) -> bool {
        match self {
            Tx::Spsc(tx) => tx.try_send(n).is_ok(),
            Tx::Mpmc(tx) => tx.try_send(n).is_ok(),
            Tx::SpscBytes(tx) => tx.try_send(&filler(n)).is_ok(),
            Tx::MpmcBytes(tx) => tx.try_send(&filler(n)).is_ok(),
            Tx::Broadcast(tx) => tx.try_send(n).is_ok(),
            Tx::BroadcastBytes(tx) => tx.try_send(&filler(n)).is_ok(),
        }
    }
}

/// Any receiver; of a broadcast channel, one that publishers wait for.
pub(super) enum Rx {
    Spsc(Receiver<u64, Spsc>),
    Mpmc(Receiver<u64, Mpmc>),
    SpscBytes(ByteReceiver<Spsc>),
    MpmcBytes(ByteReceiver<Mpmc>),
    Broadcast(ReliableSubscriber<u64>),
    BroadcastBytes(ReliableSubscriber<Bytes>),
}

impl Rx {
    pub(super) fn open(segment: &Segment, kind: &str) -> Result<Rx, ChannelError> {
        Ok(match kind {
            "spsc" => Rx::Spsc(segment.channel("c").spsc().receiver()?),
            "mpmc" => Rx::Mpmc(segment.channel("c").receiver()?),
            "spsc-bytes" => Rx::SpscBytes(segment.bytes("c").spsc().receiver()?),
            "broadcast" => Rx::Broadcast(segment.broadcast("c").reliable_subscriber()?),
            "broadcast-bytes" => {
                Rx::BroadcastBytes(segment.broadcast_bytes("c").reliable_subscriber()?)
            }
            _ => Rx::MpmcBytes(segment.bytes("c").receiver()?),
        })
    }

    /// Receives a message; why not, in words. A message that comes only with the end
    /// of all patience comes too late: nobody has been woken for it.
    pub(super) fn recv(&self) -> Result<String, String> {
        let began = Instant::now();
        let got = self.recv_at_all();
        if began.elapsed() < PATIENCE { got } else { Err(format!("too late: {got:?}")) }
    }

    pub(super) fn recv_at_all(&self) -> Result<String, String> {
        let mut into = Vec::new();
        let got = match self {
            Rx::Spsc(rx) => {
                return rx.recv_timeout(PATIENCE).map(number).map_err(|e| e.to_string());
            }
            Rx::Mpmc(rx) => {
                return rx.recv_timeout(PATIENCE).map(number).map_err(|e| e.to_string());
            }
            Rx::Broadcast(rx) => {
                return rx.recv_timeout(PATIENCE).map(number).map_err(|e| e.to_string());
            }
            Rx::BroadcastBytes(rx) => rx.recv_timeout(&mut into, PATIENCE),
            Rx::SpscBytes(rx) => rx.recv_timeout(&mut into, PATIENCE),
            Rx::MpmcBytes(rx) => rx.recv_timeout(&mut into, PATIENCE),
        };
        got.map(|_| bytes(&into)).map_err(|error| error.to_string())
    }
}

/// The nth message, as Python and [`Rx`] tell it.
pub(super) fn nth(kind: &str, n: u64) -> String {
    if kind.ends_with("bytes") { bytes(&filler(n)) } else { number(n) }
}

pub(super) const NO_SENDER: &str = "the channel is disconnected: its last sender has gone";
pub(super) const NO_RECEIVER: &str = "the channel is disconnected: its last receiver has gone";

/// A segment with a channel `c`, removed with the test.
pub(super) struct Market {
    pub(super) segment: Segment,
    pub(super) name: Name,
    pub(super) kind: String,
    pub(super) capacity: usize,
}

impl Market {
    pub(super) fn new(kind: &str, capacity: usize) -> Market {
        Self::with(kind, capacity, 8, false)
    }

    pub(super) fn with(kind: &str, capacity: usize, redeliver: u8, symmetric: bool) -> Market {
        let name = Name::new();
        let options = Segment::options().size(1 << 20).participants(8).channels(4);
        let segment = options.symmetric_fences(symmetric).create(&name).unwrap();
        match kind {
            "spsc" => drop(segment.channel::<u64>("c").capacity(capacity).spsc().sender().unwrap()),
            "mpmc" => {
                let channel = segment.channel::<u64>("c").capacity(capacity);
                drop(channel.redeliver(redeliver).sender().unwrap());
            }
            "spsc-bytes" => {
                drop(segment.bytes("c").capacity(capacity, 200).spsc().sender().unwrap())
            }
            "broadcast" => {
                drop(segment.broadcast::<u64>("c").capacity(capacity).publisher().unwrap());
            }
            "broadcast-bytes" => {
                drop(segment.broadcast_bytes("c").capacity(capacity, 200).publisher().unwrap());
            }
            _ => {
                let channel = segment.bytes("c").capacity(capacity, 200);
                drop(channel.redeliver(redeliver).sender().unwrap());
            }
        }
        Market { segment, name, kind: kind.to_owned(), capacity }
    }

    pub(super) fn tx(&self) -> Tx {
        Tx::open(&self.segment, &self.kind).unwrap()
    }

    pub(super) fn rx(&self) -> Rx {
        Rx::open(&self.segment, &self.kind).unwrap()
    }

    /// A receiver, in a thread that says what it has got, and why that is all.
    pub(super) fn collects(&self) -> thread::JoinHandle<(Vec<String>, String)> {
        let rx = self.rx();
        thread::spawn(move || {
            let mut got = Vec::new();
            loop {
                match rx.recv() {
                    Ok(message) => got.push(message),
                    Err(why) => break (got, why),
                }
            }
        })
    }

    pub(super) fn nth(&self, n: u64) -> String {
        nth(&self.kind, n)
    }

    pub(super) fn python(&self, side: &str) -> Python {
        let mut python = Python::join(&self.name);
        python.open(&self.kind, side);
        python
    }

    /// A process of the library's with one end.
    pub(super) fn rust(&self, side: &str) -> Peer {
        let peer = Peer::start("puppet", &[&self.name, &self.kind, &side]);
        peer.expect("open");
        peer
    }

    /// A word of the channel's control, by its documented offset.
    pub(super) fn control(&self, offset: usize) -> u64 {
        let words = Words::behind(&self.segment);
        let (participants, channels) = (words.get(7) as usize, words.get(8) as usize);
        let infos = (512 + 8 * participants).next_multiple_of(128);
        let journal = (infos + 128 * participants).next_multiple_of(128);
        let directory = journal + 128 * 128;
        assert!(channels > 0 && words.get(directory / 8) == 1);
        words.get((words.get(directory / 8 + 6) as usize + offset) / 8)
    }

    /// Finds the one that has just been killed, as whoever waits would.
    #[track_caller]
    pub(super) fn sweep(&self) {
        wait_until(|| self.segment.sweep().unwrap());
        assert_eq!(self.segment.participants().len(), 1);
    }

    /// Sends until it is full, takes it all out, and so twice: nothing has
    /// been lost of the room.
    #[track_caller]
    pub(super) fn holds_its_capacity(&self) {
        let (tx, rx) = (self.tx(), self.rx());
        for round in 0..2 {
            for n in 0..self.capacity as u64 {
                assert!(tx.try_send(n), "{n} of round {round}");
            }
            for n in 0..self.capacity as u64 {
                assert_eq!(rx.recv().unwrap(), self.nth(n), "round {round}");
            }
        }
    }
}

pub(super) const ITEMS_WAITING: usize = 8;
pub(super) const SPACE_WAITING: usize = 16;
pub(super) const SLOTS_WAITING: usize = 24;
pub(super) const TOMBSTONES: usize = 144;
pub(super) const ORPHANED: usize = 152;
pub(super) const DROPPED: usize = 160;

/// Runs in a thread, and returns when that sleeps.
pub(super) fn parked_thread<R: Send + 'static>(
    call: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(tid()).unwrap();
        call()
    });
    let tid = told.recv().unwrap();
    wait_until(|| thread_parked(tid));
    thread
}

/// The library's other process: one end, and a command a line.
#[test]
#[ignore = "a role, not a test"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let (kind, side) = (brief.text(1).to_owned(), brief.text(2).to_owned());
    match (kind.as_str(), side.as_str()) {
        ("mpmc", "sender") => {
            let mut tx = segment.channel::<u64>("c").sender().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "grant" => {
                    let _grant = tx.reserve().unwrap();
                    brief.say("holding");
                    brief.hear();
                }
                _ => drop(tx),
            }
        }
        ("mpmc-bytes", "sender") => {
            let mut tx = segment.bytes("c").sender().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "grant" => {
                    let _grant = tx.reserve(200).unwrap();
                    brief.say("holding");
                    brief.hear();
                }
                _ => drop(tx),
            }
        }
        ("mpmc", "receiver") => {
            let mut rx = segment.channel::<u64>("c").receiver().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "take" => {
                    let delivery = rx.take().unwrap();
                    brief.say(number(delivery.read()));
                    if brief.hear() == "give back" {
                        delivery.give_back();
                        brief.hear();
                    }
                }
                "recv" => drop(rx.recv()),
                _ => drop(rx),
            }
        }
        ("mpmc-bytes", "receiver") => {
            let mut rx = segment.bytes("c").receiver().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "take" => {
                    let delivery: ByteDelivery<'_, Mpmc> = rx.take().unwrap();
                    brief.say(bytes(&delivery.to_vec()));
                    if brief.hear() == "give back" {
                        delivery.give_back();
                        brief.hear();
                    }
                }
                "recv" => drop(rx.recv(&mut Vec::new())),
                _ => drop(rx),
            }
        }
        (kind, "sender") => {
            let tx = Tx::open(&segment, kind).unwrap();
            brief.say("open");
            brief.hear();
            drop(tx);
        }
        (kind, _) => {
            let rx = Rx::open(&segment, kind).unwrap();
            brief.say("open");
            if brief.hear() == "recv" {
                drop(rx.recv());
            }
        }
    }
    // Stays a participant; the handles have gone.
    brief.hear();
}
