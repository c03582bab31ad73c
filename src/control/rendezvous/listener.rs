//! The server's side of a rendezvous.

use core::fmt;
use std::collections::VecDeque;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::claim::{Claim, Claimed, ours, sweep};
use super::error::ListenError;
use super::pending::Pending;
use super::{MARK, checked, directory, reply_name};
use crate::control::handshake::{Decoder, Handshake, Purpose};
use crate::segment::{Options, Segment};
use crate::sys::directory::Directory;
use crate::sys::pipe::{End, PIPE_BUF, Reader};
use crate::sys::poll::{Interest, Polled, wait};
use crate::sys::{self, ErrorKind};

/// How long to wait for the directory's lock; the default of [`Options::timeout`].
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a claim starts over because another process changed the path.
const STARTS: u32 = 64;
/// How many clients can be connecting at once. Further ones wait in the FIFO.
const BACKLOG: usize = 128;

/// A server that clients find by its name. It meets each client on a segment of
/// their own.
///
/// The name is that of a FIFO in the directory `tombolo` in
/// `$XDG_RUNTIME_DIR`, or if that is not set `tombolo-<uid>` in the directory
/// for temporary files. The directory must belong to this user and be closed to all
/// others (0700). So every process there runs as this user, or as root.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("tombolo-doc-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// # struct Gone(std::path::PathBuf);
/// # impl Drop for Gone { fn drop(&mut self) { let _ = std::fs::remove_dir_all(&self.0); } }
/// # let _gone = Gone(folder.clone());
/// # #[allow(unsafe_code)]
/// # // SAFETY: before there are threads.
/// # unsafe { std::env::set_var("XDG_RUNTIME_DIR", &folder) };
/// use tombolo::{Listener, connect};
///
/// let mut listener = Listener::bind("greeter")?;
/// let client = std::thread::spawn(|| {
///     let segment = connect("greeter").unwrap();
///     let names = segment.channel::<u64>("names").capacity(8);
///     names.sender().unwrap().send(7)
/// });
/// let segment = listener.accept()?;
/// let names = segment.channel::<u64>("names").capacity(8).receiver()?;
/// assert_eq!(names.recv()?, 7);
/// client.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it removes the FIFO. Clients that are not yet accepted get
/// [`ConnectError::Gone`](crate::ConnectError::Gone). Accepted segments stay.
///
/// **Crashes.** The kernel reports a client that is killed while it connects, so the
/// server distinguishes it from a slow one; it leaves nothing. A client that is
/// stopped while it connects keeps one of 128 places until it continues or dies.
/// If the server is killed, connecting clients get an error at once, and the next
/// server takes the name over. The semaphore sets of segments that no client had
/// joined stay (`tombolo rm --orphans`).
///
/// A forked child that continues without `exec` keeps the FIFO open. Until it ends
/// too, clients do not learn of the server's end, and the name stays taken.
pub struct Listener {
    name: String,
    directory: Directory,
    claim: Claim,
    /// The end from which the server reads requests. `claim.end` keeps the lock, and
    /// keeps what clients write while this one is opened anew.
    requests: Reader,
    decoder: Decoder,
    /// The tokens of clients that have asked.
    tokens: VecDeque<u64>,
    pending: Vec<Pending>,
    accepted: VecDeque<Segment>,
    options: Options,
}

impl Listener {
    /// Listens under a name: up to 200 ASCII letters, digits and `. _ - :`, of which
    /// the first is no dot.
    ///
    /// Removes the FIFOs that dead servers and clients have left in the directory.
    ///
    /// # Errors
    /// [`ListenError::Taken`] if the name has a living server; [`ListenError::BadName`],
    /// [`ListenError::Busy`]; and [`ListenError::System`]: a directory that cannot be
    /// trusted ([`Untrusted`](ErrorKind::Untrusted)), a path that is no FIFO
    /// ([`NotFifo`](ErrorKind::NotFifo)), a permission.
    pub fn bind(name: &str) -> Result<Self, ListenError> {
        let name = checked(name)?;
        let directory = Directory::create(directory())?;
        // Every claim to a name, and every sweep of names that may be claimed, is
        // made under this lock. So no claim takes a sweep's lock for a server's.
        let deadline = Instant::now() + PATIENCE;
        let Some(_lock) = directory.lock(deadline)? else {
            let directory = directory.path().to_owned();
            return Err(ListenError::Busy { directory, waited: PATIENCE });
        };
        sweep(&directory, |_| true)?;
        let path = directory.at(name.as_str());
        let taken = |pid| ListenError::Taken { name: name.to_string(), path: path.clone(), pid };
        for _ in 0..STARTS {
            match Claim::acquire(&path)? {
                Claimed::Mine(claim) => {
                    return Ok(Self {
                        name: name.to_string(),
                        requests: ours().reader(&path)?,
                        directory,
                        claim,
                        decoder: Decoder::default(),
                        tokens: VecDeque::new(),
                        pending: Vec::new(),
                        accepted: VecDeque::new(),
                        options: Segment::options(),
                    });
                }
                Claimed::Taken(pid) => return Err(taken(pid)),
                // Its owner was just letting go of it.
                Claimed::Again => {}
            }
        }
        Err(taken(None))
    }

    /// Sets the options with which the server makes the clients' segments (by
    /// default the default ones).
    #[must_use = "this returns the listener"]
    pub fn segments(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The path of the FIFO.
    pub fn path(&self) -> &Path {
        self.claim.path()
    }

    /// How many bytes have come through the FIFO that belonged to no request: other
    /// programs wrote them.
    pub const fn skipped(&self) -> u64 {
        self.decoder.skipped
    }

    /// Waits for a client without limit, and returns the anonymous segment that both
    /// have joined.
    ///
    /// The client may have died or left since; the
    /// [remembered](crate::Events::remembered) [events](Segment::events) say so. This
    /// skips a client that has gone without leaving a message in any channel.
    ///
    /// # Errors
    /// [`ListenError::Segment`] if this process cannot make a segment for this
    /// client, and [`ListenError::System`] with [`NoSpace`](ErrorKind::NoSpace) if
    /// there is no descriptor for it. The next call can still accept other clients.
    /// [`ListenError::Lost`], [`ListenError::Forked`].
    pub fn accept(&mut self) -> Result<Segment, ListenError> {
        loop {
            if let Some(segment) = self.accept_by(None)? {
                return Ok(segment);
            }
        }
    }

    /// Waits for a client, at most this long; `None` if none came.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    pub fn accept_timeout(&mut self, timeout: Duration) -> Result<Option<Segment>, ListenError> {
        // A timeout beyond the range of the clock is no timeout.
        self.accept_by(Instant::now().checked_add(timeout))
    }

    /// A client that has connected, if there is one. Does not wait. Clients make
    /// progress only during calls of this or of one that waits, and connecting
    /// takes more than one call.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    pub fn try_accept(&mut self) -> Result<Option<Segment>, ListenError> {
        self.accept_timeout(Duration::ZERO)
    }

    fn accept_by(&mut self, until: Option<Instant>) -> Result<Option<Segment>, ListenError> {
        if self.claim.guard.in_child() {
            return Err(ListenError::Forked);
        }
        loop {
            if let Some(segment) = self.accepted.pop_front() {
                return Ok(Some(segment));
            }
            let late = until.is_some_and(|deadline| deadline <= Instant::now());
            self.offer()?;
            let (requests, replies) = self.wait(until)?;
            self.settle(&replies);
            if requests.ready {
                self.hear();
            } else if requests.lost {
                self.listen_on()?;
            }
            if late {
                return Ok(self.accepted.pop_front());
            }
        }
    }

    fn has_room(&self) -> bool {
        self.pending.len() < BACKLOG
    }

    /// Waits for requests, and for the pending clients.
    fn wait(&self, until: Option<Instant>) -> sys::Result<(Polled, Vec<Polled>)> {
        let mut ends: Vec<(&End, Interest)> =
            self.pending.iter().map(|pending| (&*pending.reply, Interest::Loss)).collect();
        if self.has_room() {
            ends.push((&self.requests, Interest::Input));
        }
        let mut states = wait(&ends, until)?;
        let requests = if self.has_room() { states.pop() } else { None };
        Ok((requests.unwrap_or_default(), states))
    }

    /// Reads the bytes that have come through the FIFO.
    fn hear(&mut self) {
        let mut bytes = [0; PIPE_BUF];
        // Another process of this user may have read it first.
        let read = self.requests.read(&mut bytes).unwrap_or(0);
        let tokens = &mut self.tokens;
        let whole = bytes.get(..read).unwrap_or(&[]);
        self.decoder.decode(whole, Purpose::Request, |request| tokens.push_back(request.first));
    }

    /// Every client that had the FIFO open has let go of it. Clears away what they
    /// may have left. Opens the FIFO anew, because the hang-up would stay.
    fn listen_on(&mut self) -> Result<(), ListenError> {
        let path = self.claim.path();
        let requests = ours().reader(path);
        // The new end reports a client that opens the FIFO between this and the
        // sweep.
        match requests {
            Ok(requests) if requests.is_at(path) && self.claim.end.is_at(path) => {
                self.requests = requests
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {
                let path = path.to_owned();
                return Err(ListenError::Lost { name: self.name.clone(), path });
            }
        }
        let clients = format!("{}{MARK}", self.name);
        Ok(sweep(&self.directory, |name| name.starts_with(&clients))?)
    }

    /// Makes segments for the clients that have asked, as far as there are places.
    fn offer(&mut self) -> Result<(), ListenError> {
        while self.has_room()
            && let Some(&token) = self.tokens.front()
        {
            let path = self.directory.at(&reply_name(&self.name, token));
            let reply = match ours().writer(path) {
                // The next call tries again.
                Err(error) if error.kind() == ErrorKind::NoSpace => return Err(error.into()),
                reply => reply,
            };
            self.tokens.pop_front();
            // The client has died, or the request came from another program.
            let Ok(reply) = reply else {
                continue;
            };
            // If the client does not read it any more, a later `poll` says so.
            let answer = |record: Handshake| drop(reply.write_record(&record.to_bytes()));
            let segment = self.options.anonymous().map_err(|error| {
                answer(Handshake::new(Purpose::Refusal, 0, 0));
                ListenError::Segment(error)
            })?;
            let offer = Handshake::segment(Purpose::Offer, segment.id(), segment.generation());
            // Subscribed before the client knows the segment.
            let events = segment.events();
            answer(offer);
            self.pending.push(Pending { segment, events, reply });
        }
        Ok(())
    }

    /// Accepts the clients that have joined and let go of their FIFO. Forgets those
    /// that have died or given up.
    fn settle(&mut self, replies: &[Polled]) {
        let mut replies = replies.iter();
        let accepted = &mut self.accepted;
        self.pending.retain(|pending| {
            let lost = replies.next().is_some_and(|reply| reply.lost);
            if lost && pending.is_of_use() {
                accepted.push_back(pending.segment.clone());
            }
            !lost
        });
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("path", &self.path())
            .field("skipped", &self.skipped())
            .finish_non_exhaustive()
    }
}
