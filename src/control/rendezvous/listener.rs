//! The server's side.

use core::fmt;
use std::collections::VecDeque;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::claim::{Claim, Claimed, ours, sweep};
use super::error::ListenError;
use super::pending::Pending;
use super::{MARK, checked, directory, reply_name};
use crate::control::record::{Purpose, Record, Sieve};
use crate::segment::{Options, Segment};
use crate::sys::directory::Directory;
use crate::sys::pipe::{End, PIPE_BUF, Reader};
use crate::sys::poll::{Interest, Polled, wait};
use crate::sys::{self, ErrorKind};

/// How long to wait for others at the directory, as [`Options::timeout`].
const PATIENCE: Duration = Duration::from_secs(10);
/// How often claiming starts over because somebody else was at it.
const STARTS: u32 = 64;
/// How many clients can be on their way in. More wait in the FIFO.
const BACKLOG: usize = 128;

/// A server that clients find by its name, and meet on a segment each.
///
/// The name is that of a FIFO in the directory `tombolo` in
/// `$XDG_RUNTIME_DIR`, or if that is not set `tombolo-<uid>` in the directory
/// for temporary files. It has to be this user's and closed to all others
/// (0700); so whoever is there is this user, or root.
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
/// Dropping it removes the FIFO, and tells clients that are not yet accepted
/// ([`ConnectError::Gone`](crate::ConnectError::Gone)). What was accepted
/// stays.
///
/// **Crashes.** A client that is killed on the way in is told from one that is
/// slow by the kernel, and leaves nothing; one that is stopped there keeps one
/// of 128 places until it goes on or dies. If the server is killed, clients on
/// the way in are told at once, and the next server takes the name over; of the
/// segments that no client had joined, the semaphore sets stay (`tombolo rm
/// --orphans`).
///
/// A forked child that goes on without `exec` keeps the FIFO open: until it
/// ends, too, clients are not told of the server's end, and the name stays
/// taken.
pub struct Listener {
    name: String,
    directory: Directory,
    claim: Claim,
    /// To read requests from; `claim.end` keeps the lock, and what was written
    /// while this one is opened anew.
    ear: Reader,
    sieve: Sieve,
    /// Of the clients that have asked.
    tokens: VecDeque<u64>,
    pending: Vec<Pending>,
    accepted: VecDeque<Segment>,
    options: Options,
}

impl Listener {
    /// Listens under a name: up to 200 ASCII letters, digits and `. _ - :`,
    /// the first no dot.
    ///
    /// Removes what dead servers and clients have left in the directory.
    ///
    /// # Errors
    /// [`ListenError::Taken`] if the name has a living server;
    /// [`ListenError::BadName`], [`ListenError::Busy`]; and
    /// [`ListenError::System`]: a directory that is not to be trusted
    /// ([`Untrusted`](ErrorKind::Untrusted)), a path that is no FIFO
    /// ([`NotFifo`](ErrorKind::NotFifo)), a permission.
    pub fn bind(name: &str) -> Result<Self, ListenError> {
        let name = checked(name)?;
        let directory = Directory::create(directory())?;
        // All claims to names and all sweeps of names that may be claimed are
        // made under this lock, so that a sweeper is not taken for a server.
        let deadline = Instant::now() + PATIENCE;
        let Some(_lock) = directory.lock(deadline)? else {
            let directory = directory.path().to_owned();
            return Err(ListenError::Busy { directory, waited: PATIENCE });
        };
        sweep(&directory, |_| true)?;
        let path = directory.at(name.as_str());
        let taken = |pid| ListenError::Taken { name: name.to_string(), path: path.clone(), pid };
        for _ in 0..STARTS {
            match Claim::stake(&path)? {
                Claimed::Mine(claim) => {
                    return Ok(Self {
                        name: name.to_string(),
                        ear: ours().reader(&path)?,
                        directory,
                        claim,
                        sieve: Sieve::default(),
                        tokens: VecDeque::new(),
                        pending: Vec::new(),
                        accepted: VecDeque::new(),
                        options: Segment::options(),
                    });
                }
                Claimed::Taken(pid) => return Err(taken(pid)),
                // Its owner was about to go.
                Claimed::Again => {}
            }
        }
        Err(taken(None))
    }

    /// With what options the clients' segments are made (the default ones).
    #[must_use = "this returns the listener"]
    pub fn segments(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The FIFO.
    pub fn path(&self) -> &Path {
        self.claim.path()
    }

    /// How many bytes have come through the FIFO that were no request: of
    /// programs that have no business there, or speak another language.
    pub const fn skipped(&self) -> u64 {
        self.sieve.skipped
    }

    /// Waits for a client, as long as it takes, and returns the anonymous
    /// segment that both are on.
    ///
    /// The client has joined it. It may have died or left since: who wants to
    /// know, asks [`Segment::events`] for what is
    /// [remembered](crate::Events::remembered). One that has gone by now without
    /// leaving a message in any channel is passed over.
    ///
    /// # Errors
    /// [`ListenError::Segment`] if there can be no segment for this client,
    /// and [`ListenError::System`] with [`NoSpace`](ErrorKind::NoSpace) if
    /// there is no descriptor for it: the others can still be accepted.
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
        // A time-out beyond what the clock can say is none.
        self.accept_by(Instant::now().checked_add(timeout))
    }

    /// A client that is there, if there is one. Clients come in only while
    /// their listener is asked for them, by this or one that waits, and it
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
            let (ear, lines) = self.wait(until)?;
            self.settle(&lines);
            if ear.ready {
                self.hear();
            } else if ear.lost {
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

    /// Waits for requests, and for the clients that are pending.
    fn wait(&self, until: Option<Instant>) -> sys::Result<(Polled, Vec<Polled>)> {
        let mut ends: Vec<(&End, Interest)> =
            self.pending.iter().map(|pending| (&*pending.line, Interest::Loss)).collect();
        if self.has_room() {
            ends.push((&self.ear, Interest::Input));
        }
        let mut states = wait(&ends, until)?;
        let ear = if self.has_room() { states.pop() } else { None };
        Ok((ear.unwrap_or_default(), states))
    }

    /// Reads what has come through the FIFO.
    fn hear(&mut self) {
        let mut bytes = [0; PIPE_BUF];
        // Another process of this user may have read it first.
        let read = self.ear.read(&mut bytes).unwrap_or(0);
        let tokens = &mut self.tokens;
        let whole = bytes.get(..read).unwrap_or(&[]);
        self.sieve.sift(whole, Purpose::Request, |request| tokens.push_back(request.first));
    }

    /// Every client that had the FIFO open has let go of it. What they may
    /// have left is cleared away, and the FIFO opened anew, to be told again.
    fn listen_on(&mut self) -> Result<(), ListenError> {
        let path = self.claim.path();
        let ear = ours().reader(path);
        // Whoever opens it between this and the sweep is told of later.
        match ear {
            Ok(ear) if ear.is_at(path) && self.claim.end.is_at(path) => self.ear = ear,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {
                let path = path.to_owned();
                return Err(ListenError::Lost { name: self.name.clone(), path });
            }
        }
        let clients = format!("{}{MARK}", self.name);
        Ok(sweep(&self.directory, |name| name.starts_with(&clients))?)
    }

    /// Makes segments for the clients that have asked, as far as there is room.
    fn offer(&mut self) -> Result<(), ListenError> {
        while self.has_room()
            && let Some(&token) = self.tokens.front()
        {
            let path = self.directory.at(&reply_name(&self.name, token));
            let line = match ours().writer(path) {
                // To be tried again when there is a descriptor.
                Err(error) if error.kind() == ErrorKind::NoSpace => return Err(error.into()),
                line => line,
            };
            self.tokens.pop_front();
            // A client that has died, or nobody that this has to do with.
            let Ok(line) = line else {
                continue;
            };
            // If it does not listen any more, that is found out by and by.
            let answer = |record: Record| drop(line.write_record(&record.to_bytes()));
            let segment = self.options.anonymous().map_err(|error| {
                answer(Record::new(Purpose::Refusal, 0, 0));
                ListenError::Segment(error)
            })?;
            let offer = Record::segment(Purpose::Offer, segment.id(), segment.generation());
            // Before the client knows of it.
            let events = segment.events();
            answer(offer);
            self.pending.push(Pending { segment, events, line });
        }
        Ok(())
    }

    /// Accepts those that have joined and let go of their FIFO, and forgets
    /// those that have died, or given up.
    fn settle(&mut self, lines: &[Polled]) {
        let mut lines = lines.iter();
        let accepted = &mut self.accepted;
        self.pending.retain(|pending| {
            let lost = lines.next().is_some_and(|line| line.lost);
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
