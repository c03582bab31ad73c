//! The other processes: servers, clients, and clients that stop half-way.

use super::*;

pub(super) fn token(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

/// A request, as the format says.
pub(super) fn request(token: u64) -> Vec<u8> {
    let words = [u64::from_le_bytes(*b"tmb-ask\n"), 1, token, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for &byte in &bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    bytes.extend(hash.to_le_bytes());
    bytes
}

/// The server's FIFO, to write anything to.
pub(super) fn writer(folder: &Folder) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    options.open(folder.path("tombolo/market")).unwrap()
}

pub(super) fn runtime_directory() -> PathBuf {
    PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").unwrap()).join("tombolo")
}

/// The remains of a client, made by hand, after each of its steps.
#[derive(Default)]
pub(super) struct Halfway {
    server: Option<Writer>,
    replies: Option<(Reader, u64)>,
    locked: Option<nix::fcntl::Flock<std::os::fd::OwnedFd>>,
    offer: Option<i32>,
    segment: Option<Segment>,
}

/// Opened the server's FIFO; made its own; opened and locked that; asked; got
/// the offer; joined; sent a message and let go.
pub(super) const STEPS: usize = 7;

impl Halfway {
    pub(super) fn step(&mut self, number: usize) {
        let folder = runtime_directory();
        let own = |token: u64| folder.join(format!("{NAME}@{token:016x}"));
        match number {
            1 => self.server = Some(fifo::options().writer(folder.join(NAME)).unwrap()),
            2 => {
                let token = proc::random_u64().unwrap();
                fifo::create(own(token), 0o600).unwrap();
                self.replies = Some((fifo::options().reader(own(token)).unwrap(), token));
            }
            3 => {
                let (_, token) = self.replies.as_ref().unwrap();
                let end = fifo::options().reader(own(*token)).unwrap();
                let lock = nix::fcntl::FlockArg::LockExclusiveNonblock;
                self.locked = Some(nix::fcntl::Flock::lock(end.into(), lock).unwrap());
            }
            4 => {
                let (_, token) = self.replies.as_ref().unwrap();
                self.server.as_ref().unwrap().write_record(&request(*token)).unwrap();
            }
            5 => {
                let (replies, _) = self.replies.as_ref().unwrap();
                let mut offer = [0; 40];
                wait_until(|| matches!(replies.read_record(&mut offer), Ok(true)));
                self.offer = Some(i32::from_le_bytes(offer[16..20].try_into().unwrap()));
            }
            6 => self.segment = Some(Segment::open_id(self.offer.unwrap()).unwrap()),
            _ => {
                let segment = self.segment.as_ref().unwrap();
                let up = segment.channel::<u64>("up").capacity(4).sender().unwrap();
                up.send(7).unwrap();
                std::mem::forget(up);
                self.replies = None;
                self.locked = None;
            }
        }
    }
}

/// Answers one client, and lets go of the segment when that is gone.
pub(super) fn answer(segment: Segment) {
    let watched = segment.clone();
    thread::spawn(move || {
        let events = watched.events().remembered();
        while let Ok(event) = events.recv() {
            if matches!(event, Event::Left(_) | Event::Died(_)) {
                break;
            }
        }
        let _ = watched.remove();
    });
    let serve = move || {
        let up = segment.channel::<u64>("up").capacity(4).receiver()?;
        let down = segment.channel::<u64>("down").capacity(4).sender()?;
        while let Ok(number) = up.recv() {
            let _ = down.send(number + 1);
        }
        Ok::<(), tombolo::ChannelError>(())
    };
    // A client that is killed ends it anywhere.
    thread::spawn(serve);
}

pub(super) fn greet() {
    let segment = connect(NAME).unwrap();
    // First this: the server may be faster.
    let down = segment.channel::<u64>("down").capacity(4).receiver().unwrap();
    let up = segment.channel::<u64>("up").capacity(4).sender().unwrap();
    up.send(41).unwrap();
    assert_eq!(down.recv().unwrap(), 42);
}

pub(super) fn small() -> tombolo::Options {
    Segment::options().size(1 << 16).participants(4).channels(4)
}

pub(super) fn serve(brief: &Brief) {
    let mut listener = Listener::bind(NAME).unwrap().segments(small());
    brief.say("listening");
    for number in 1..=brief.number::<u32>(0) {
        // Without a time-out: what wakes it is the kernel.
        match listener.accept() {
            Ok(segment) => {
                brief.say(format!("accepted {number}, skipped {}", listener.skipped()));
                answer(segment);
            }
            Err(error) => return brief.say(error),
        }
    }
    drop(listener);
    brief.say("done");
    brief.hear();
}

pub(super) fn told(connected: Result<Segment, ConnectError>) -> String {
    match connected {
        Ok(_) => "connected".to_owned(),
        Err(ConnectError::NobodyListens { .. }) => "nobody".to_owned(),
        Err(ConnectError::Gone { .. }) => "gone".to_owned(),
        Err(ConnectError::Refused { .. }) => "refused".to_owned(),
        Err(ConnectError::TimedOut { .. }) => "timed out".to_owned(),
        Err(ConnectError::System(error)) if error.kind() == ErrorKind::Untrusted => {
            format!("untrusted: {error}")
        }
        Err(error) => format!("{error:?}"),
    }
}

pub(super) fn bound(bound: Result<Listener, ListenError>) -> String {
    match bound {
        Ok(listener) => {
            // For as long as this process lives.
            std::mem::forget(listener);
            "listening".to_owned()
        }
        Err(ListenError::Taken { pid, .. }) => format!("taken by {}", pid.unwrap_or(0)),
        Err(ListenError::Busy { .. }) => "busy".to_owned(),
        Err(ListenError::System(error)) if error.kind() == ErrorKind::Untrusted => {
            format!("untrusted: {error}")
        }
        Err(error) => format!("{error:?}"),
    }
}

pub(super) fn watch(brief: &Brief, segment: &Segment) {
    let events = segment.events().remembered();
    loop {
        match events.recv().unwrap() {
            Event::Died(death) => return brief.say(format!("died {}", death.pid)),
            Event::Left(_) => panic!("left"),
            _ => {}
        }
    }
}
