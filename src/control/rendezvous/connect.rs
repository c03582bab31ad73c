//! The client's side.

use std::time::{Duration, Instant};

use super::claim::{Claim, Claimed, ours};
use super::error::ConnectError;
use super::{checked, directory, reply_name};
use crate::control::handshake::{self, Handshake, Purpose, VERSION};
use crate::error::OpenError;
use crate::segment::{Name, Segment};
use crate::sys::directory::Directory;
use crate::sys::pipe::Writer;
use crate::sys::poll::{Interest, Polled, wait};
use crate::sys::{self, ErrorKind};

/// How often the client draws another token because a sweep changed its FIFO.
const STARTS: u32 = 64;

/// Connects to the server that [listens](crate::Listener) under this name, and
/// returns the anonymous segment that both have joined. Waits as long as the server
/// lives.
///
/// The server may end or die at any time afterwards, like any peer. The
/// [remembered](crate::Events::remembered) [events](Segment::events) say so.
///
/// # Errors
/// [`ConnectError::NobodyListens`]; [`ConnectError::Gone`] at once if the server
/// ends or is killed meanwhile; [`ConnectError::Refused`]; and those of the
/// directory and of joining.
pub fn connect(name: &str) -> Result<Segment, ConnectError> {
    Client::new(name, None)?.connect()
}

/// Like [`connect`], but waits at most this long: for room in the FIFO, for the
/// answer and for joining, together.
///
/// # Errors
/// Those of [`connect`], and [`ConnectError::TimedOut`].
pub fn connect_timeout(name: &str, timeout: Duration) -> Result<Segment, ConnectError> {
    Client::new(name, Some(timeout))?.connect()
}

struct Client {
    name: Name,
    directory: Directory,
    timeout: Option<Duration>,
    /// `None` also for a timeout beyond the range of the clock.
    until: Option<Instant>,
}

impl Client {
    fn new(name: &str, timeout: Option<Duration>) -> Result<Self, ConnectError> {
        let name = checked(name)?;
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let directory = match Directory::open(directory()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let path = super::directory().join(name.as_str());
                return Err(ConnectError::NobodyListens { name: name.to_string(), path });
            }
            directory => directory?,
        };
        Ok(Self { name, directory, timeout, until })
    }

    fn gone(&self) -> ConnectError {
        ConnectError::Gone { name: self.name.to_string() }
    }

    fn connect(&self) -> Result<Segment, ConnectError> {
        let path = self.directory.at(self.name.as_str());
        // This comes first: from now on the server learns when this process ends.
        let server = match ours().writer(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NoReader) => {
                return Err(ConnectError::NobodyListens { name: self.name.to_string(), path });
            }
            server => server?,
        };
        let (token, replies) = self.claim()?;
        self.ask(&server, token)?;
        let offer = self.answer(&server, &replies)?;
        let segment = self.join(&offer)?;
        // This makes the server check which process has joined.
        drop(replies);
        Ok(segment)
    }

    /// Makes a FIFO for the answer.
    fn claim(&self) -> Result<(u64, Claim), ConnectError> {
        for _ in 0..STARTS {
            let token = sys::proc::random_u64()?;
            let path = self.directory.at(&reply_name(self.name.as_str(), token));
            if let Claimed::Mine(claim) = Claim::acquire(&path)? {
                return Ok((token, claim));
            }
        }
        // No server of Tombolo sweeps that fast.
        Err(self.gone())
    }

    /// Writes the request as soon as there is room for it.
    fn ask(&self, server: &Writer, token: u64) -> Result<(), ConnectError> {
        let request = Handshake::new(Purpose::Request, token, 0).to_bytes();
        loop {
            match server.write_record(&request) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NoReader => return Err(self.gone()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            match *wait(&[(server, Interest::Room)], self.until)? {
                [Polled { lost: true, .. }] => return Err(self.gone()),
                [Polled { ready: true, .. }] => {}
                _ => return Err(self.timed_out()),
            }
        }
    }

    /// Waits for the answer, or for the server's end.
    fn answer(&self, server: &Writer, replies: &Claim) -> Result<Handshake, ConnectError> {
        let ends = [(&*replies.end, Interest::Input), (&**server, Interest::Loss)];
        let (reply, server) = match *wait(&ends, self.until)? {
            [reply, server] => (reply, server),
            _ => return Err(self.gone()),
        };
        // An answer counts, even if the server has ended since.
        if !reply.ready {
            return Err(if reply.lost || server.lost { self.gone() } else { self.timed_out() });
        }
        let mut bytes = [0; handshake::BYTES];
        replies.end.read_record(&mut bytes)?;
        let record = Handshake::read(&bytes, &[Purpose::Offer, Purpose::Refusal]);
        let name = self.name.to_string();
        match record {
            Some(Handshake { version, .. }) if version != VERSION => {
                Err(ConnectError::Version { name, found: version, supported: VERSION })
            }
            Some(record) if record.purpose == Purpose::Offer => Ok(record),
            Some(_) => Err(ConnectError::Refused { name }),
            // No server of Tombolo wrote this.
            None => Err(self.gone()),
        }
    }

    fn join(&self, offer: &Handshake) -> Result<Segment, ConnectError> {
        let mut options = Segment::options();
        if let Some(deadline) = self.until {
            options = options.timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let segment = match options.open_id(offer.id()) {
            // The segment went with the server.
            Err(OpenError::NotFound { .. } | OpenError::NotOurs { .. }) => return Err(self.gone()),
            Err(OpenError::Busy { .. }) if self.until.is_some() => return Err(self.timed_out()),
            segment => segment?,
        };
        // If another segment has the id now, its generation differs. If the server
        // is no longer a participant, the client has met nobody.
        let _ = segment.sweep();
        let met = segment.participants().iter().any(|member| !member.own);
        if segment.generation() == offer.second && met { Ok(segment) } else { Err(self.gone()) }
    }

    fn timed_out(&self) -> ConnectError {
        let waited = self.timeout.unwrap_or_default();
        ConnectError::TimedOut { name: self.name.to_string(), waited }
    }
}
