//! The client's side.

use std::time::{Duration, Instant};

use super::claim::{Claim, Claimed, ours};
use super::error::ConnectError;
use super::{checked, directory, reply_name};
use crate::control::record::{self, Purpose, Record, VERSION};
use crate::error::OpenError;
use crate::segment::{Name, Segment};
use crate::sys::directory::Directory;
use crate::sys::pipe::Writer;
use crate::sys::poll::{Interest, Polled, wait};
use crate::sys::{self, ErrorKind};

/// How often a token is drawn anew because a sweeper was at its FIFO.
const STARTS: u32 = 64;

/// Connects to the server that [listens](crate::Listener) under this name,
/// and returns the anonymous segment that both are on. Waits for the server
/// as long as it lives.
///
/// The server may die or end at any time afterwards, as any peer:
/// [`Segment::events`], asked for what is remembered, tells.
///
/// # Errors
/// [`ConnectError::NobodyListens`]; [`ConnectError::Gone`] at once when the
/// server ends or is killed meanwhile; [`ConnectError::Refused`]; and those of
/// the directory and of joining.
pub fn connect(name: &str) -> Result<Segment, ConnectError> {
    Client::new(name, None)?.connect()
}

/// The same, waiting at most this long: for room in the FIFO, for the answer
/// and for joining.
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
    /// A time-out beyond what the clock can say is none.
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
        // First of all: from now on the server is told when this one ends.
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
        // Now the server looks who has joined.
        drop(replies);
        Ok(segment)
    }

    /// A FIFO for the answer.
    fn claim(&self) -> Result<(u64, Claim), ConnectError> {
        for _ in 0..STARTS {
            let token = sys::proc::random_u64()?;
            let path = self.directory.at(&reply_name(self.name.as_str(), token));
            if let Claimed::Mine(claim) = Claim::stake(&path)? {
                return Ok((token, claim));
            }
        }
        // Who sweeps so fast is no server of ours.
        Err(self.gone())
    }

    /// Writes the request as soon as there is room for it.
    fn ask(&self, server: &Writer, token: u64) -> Result<(), ConnectError> {
        let request = Record::new(Purpose::Request, token, 0).to_bytes();
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

    /// Waits for the answer, or the server's end.
    fn answer(&self, server: &Writer, replies: &Claim) -> Result<Record, ConnectError> {
        let ends = [(&*replies.end, Interest::Input), (&**server, Interest::Loss)];
        let (reply, server) = match *wait(&ends, self.until)? {
            [reply, server] => (reply, server),
            _ => return Err(self.gone()),
        };
        // What it has said counts, even if it has ended since.
        if !reply.ready {
            return Err(if reply.lost || server.lost { self.gone() } else { self.timed_out() });
        }
        let mut bytes = [0; record::BYTES];
        replies.end.read_record(&mut bytes)?;
        let record = Record::read(&bytes, &[Purpose::Offer, Purpose::Refusal]);
        let name = self.name.to_string();
        match record {
            Some(Record { version, .. }) if version != VERSION => {
                Err(ConnectError::Version { name, found: version, supported: VERSION })
            }
            Some(record) if record.purpose == Purpose::Offer => Ok(record),
            Some(_) => Err(ConnectError::Refused { name }),
            // Not from a server of ours.
            None => Err(self.gone()),
        }
    }

    fn join(&self, offer: &Record) -> Result<Segment, ConnectError> {
        let mut options = Segment::options();
        if let Some(deadline) = self.until {
            options = options.timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let segment = match options.open_id(offer.id()) {
            // It went with the server.
            Err(OpenError::NotFound { .. } | OpenError::NotOurs { .. }) => return Err(self.gone()),
            Err(OpenError::Busy { .. }) if self.until.is_some() => return Err(self.timed_out()),
            segment => segment?,
        };
        // An id that was used again is not the server's; a segment that it is
        // not on any more is nobody's.
        let _ = segment.sweep();
        let met = segment.participants().iter().any(|member| !member.own);
        if segment.generation() == offer.second && met { Ok(segment) } else { Err(self.gone()) }
    }

    fn timed_out(&self) -> ConnectError {
        let waited = self.timeout.unwrap_or_default();
        ConnectError::TimedOut { name: self.name.to_string(), waited }
    }
}
