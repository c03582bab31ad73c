//! Bytes through a descriptor: pipes, FIFOs and sockets. There is one write and
//! one read for each message, or for each batch where the descriptor is a stream.

use std::fs::OpenOptions;
use std::hint::spin_loop;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, read, unlink, write};
use tombolo::sys::proc;

use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    let kinds =
        [Kind::Pipe, Kind::LargePipe, Kind::Fifo, Kind::Stream, Kind::Packets, Kind::Loopback];
    kinds.map(|kind| Box::new(kind) as Box<dyn Subject>).into()
}

/// The bytes that an enlarged pipe holds; more takes a privilege.
const LARGE: i32 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pipe,
    LargePipe,
    Fifo,
    Stream,
    Packets,
    Loopback,
}

impl Kind {
    /// A channel's reading and writing end. Those of a socket do both.
    fn ends(self) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(match self {
            Self::Pipe => nix::unistd::pipe2(OFlag::O_CLOEXEC)?,
            Self::LargePipe => {
                let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
                fcntl(&writer, FcntlArg::F_SETPIPE_SZ(LARGE))?;
                (reader, writer)
            }
            Self::Fifo => fifo()?,
            Self::Stream => {
                let (reader, writer) = UnixStream::pair()?;
                (reader.into(), writer.into())
            }
            Self::Packets => {
                socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?
            }
            Self::Loopback => {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                let writer = TcpStream::connect(listener.local_addr()?)?;
                let (reader, _) = listener.accept()?;
                writer.set_nodelay(true)?;
                reader.set_nodelay(true)?;
                (reader.into(), writer.into())
            }
        })
    }

    const fn both_ways(self) -> bool {
        matches!(self, Self::Stream | Self::Packets | Self::Loopback)
    }
}

/// A FIFO's ends; its name is gone before anybody can forget it.
fn fifo() -> io::Result<(OwnedFd, OwnedFd)> {
    let random = proc::random_u64().map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!("tombolo-bench-{random:016x}"));
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut options = OpenOptions::new();
    let nonblocking = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let ends = nonblocking
        .open(&path)
        .and_then(|reader| Ok((reader, OpenOptions::new().write(true).open(&path)?)));
    unlink(&path)?;
    let (reader, writer) = ends?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((reader.into(), writer.into()))
}

impl Mechanism for Kind {
    type Tx<const W: usize> = Writer<W>;
    type Rx<const W: usize> = Reader<W>;

    fn name(&self) -> String {
        match self {
            Self::Pipe => "pipe",
            Self::LargePipe => "pipe of 1 MiB",
            Self::Fifo => "FIFO",
            Self::Stream => "Unix stream socket",
            Self::Packets => "Unix packet socket",
            Self::Loopback => "TCP, loopback",
        }
        .to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        let cannot = |error| Failure::unusable("cannot make it", error);
        for channel in 0..setting.channels() {
            let (reader, writer) = if channel == 1 && self.both_ways() {
                // Back through the same socket.
                (
                    shared.fds[1].try_clone().map_err(cannot)?,
                    shared.fds[0].try_clone().map_err(cannot)?,
                )
            } else {
                self.ends().map_err(cannot)?
            };
            if setting.polled() {
                for end in [&reader, &writer] {
                    let nonblocking = fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
                    nonblocking.map_err(|error| cannot(error.into()))?;
                }
            }
            shared.fds.extend([reader, writer]);
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<Writer<W>, Failure> {
        Ok(Writer { fd: end(shared, 2 * channel + 1)?, batch: Vec::new() })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Reader<W>, Failure> {
        let batch = vec![[0; W]; setting.batch as usize];
        Ok(Reader { fd: end(shared, 2 * channel)?, batch })
    }
}

/// A descriptor that the worker was given.
pub(super) fn end(shared: &Shared, index: usize) -> Result<OwnedFd, Failure> {
    let fd = shared.fds.get(index).map(OwnedFd::try_clone);
    fd.and_then(Result::ok).ok_or_else(|| Failure::Broken("a descriptor is missing".to_owned()))
}

pub(super) fn failed(error: Errno) -> Failure {
    Failure::broken("cannot carry it", error)
}

struct Writer<const W: usize> {
    fd: OwnedFd,
    batch: Vec<Message<W>>,
}

impl<const W: usize> Tx<W> for Writer<W> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        self.batch.clear();
        self.batch.extend(numbers.map(|number| [number; W]));
        let mut bytes: &[u8] = bytemuck::cast_slice(self.batch.as_flattened());
        while !bytes.is_empty() {
            match write(&self.fd, bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::EAGAIN) => spin_loop(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

struct Reader<const W: usize> {
    fd: OwnedFd,
    batch: Vec<Message<W>>,
}

impl<const W: usize> Rx<W> for Reader<W> {
    fn receive(&mut self, most: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let room = self.batch.get_mut(..most as usize).unwrap_or_default();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(room.as_flattened_mut());
        // Whole messages: a stream may end anywhere.
        let (mut filled, message) = (0, size_of::<Message<W>>());
        while filled == 0 || filled % message != 0 {
            match read(&self.fd, &mut bytes[filled..]) {
                Ok(0) => return Err(Failure::Broken("it ended too early".to_owned())),
                Ok(read) => filled += read,
                Err(Errno::EAGAIN) => spin_loop(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let received = filled / message;
        self.batch[..received].iter().for_each(see);
        Ok(received as u64)
    }
}
