//! One life of a worker, from its start until it is killed or the ledger's phase
//! tells it to leave.
//!
//! A worker can be killed anywhere, so it reports through the ledger. It uses
//! standard output only for things that must not happen, before it ends by itself.
//! When its standard input ends, the conductor has died, and the worker removes
//! the segments.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use tombolo::sys::proc;
use tombolo::{Broadcast, ChannelError, Mpmc, OpenError, Segment, Spsc};

use super::ledger::{Book, Ledger, Note, Phase};
use super::orders::{Orders, Role, Setting, Shape};
use super::{client, consumer, points, producer, server, side, subscriber};
use crate::failure::Failure;
use crate::flags::of_crew;
use crate::stream::hung_up;

/// The arguments with which the conductor starts a worker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    orders: String,
}

/// Held by whoever is creating a segment: when the conductor has died, nobody
/// begins to any more.
static CREATING: Mutex<()> = Mutex::new(());

/// To be held while a segment is opened.
pub(crate) fn creating() -> MutexGuard<'static, ()> {
    CREATING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the worker. The conductor is told what goes wrong, and tells the user.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let orders: Orders = serde_json::from_str(&args.orders)
        .map_err(|error| Failure::unusable("not the orders of a storm", error))?;
    let done = live(&orders);
    if let Err(failure) = &done {
        // Nobody listens if the conductor dies now.
        let _ = writeln!(io::stdout(), "{}", failure.message().unwrap_or_default());
    }
    done.map_err(|failure| Failure::Told(failure.status()))
}

fn live(orders: &Orders) -> Result<(), Failure> {
    // While there is one thread: with two it takes some milliseconds, in which
    // so short a life may end. If it fails, opening the segment will say so.
    let _ = proc::register_global_barrier();
    watch(orders)?;
    let done = work(orders);
    // The conductor has died.
    if hung_up(&io::stdin()) {
        // The watch removes what there is, and ends this process. It must not be
        // cut short: it may have to build anew what it removes.
        loop {
            thread::park();
        }
    }
    done
}

fn work(orders: &Orders) -> Result<(), Failure> {
    let ledger = Ledger::open(orders.setting.ledger)
        .map_err(|error| Failure::unusable("cannot attach the ledger", error))?;
    let post = Post { orders, ledger: &ledger, book: ledger.book(orders.seat) };
    points::arrange(orders);
    match (orders.role, orders.setting.shape) {
        (Role::Producer, Shape::Mpmc) => producer::run::<Mpmc>(&post),
        (Role::Producer, Shape::Spsc) => producer::run::<Spsc>(&post),
        (Role::Producer, Shape::Broadcast) => producer::run::<Broadcast>(&post),
        (Role::Producer, Shape::Calls) => client::run(&post),
        (Role::Consumer, Shape::Mpmc) => consumer::run::<Mpmc>(&post),
        (Role::Consumer, Shape::Spsc) => consumer::run::<Spsc>(&post),
        (Role::Consumer, Shape::Broadcast) => subscriber::run(&post),
        (Role::Consumer, Shape::Calls) => server::run(&post),
        (Role::Side, _) => side::run(&post),
    }
}

/// Notices the conductor's death, stopped or not.
fn watch(orders: &Orders) -> Result<(), Failure> {
    // A stopped worker could not notice that its input has ended.
    prctl::set_pdeathsig(Signal::SIGCONT)
        .map_err(|error| Failure::unusable("cannot ask to be told of the end", error))?;
    let names = [orders.setting.name.clone(), orders.setting.side()];
    let watch = move || {
        let mut told = io::stdin().lock();
        while told.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        let _nobody_else = creating();
        for name in names {
            // Another may have done it.
            let _ = Segment::remove_named(&name);
        }
        process::exit(1);
    };
    match thread::Builder::new().spawn(watch) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::unusable("cannot start a thread", error)),
    }
}

/// A worker's place in the storm.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) orders: &'a Orders,
    ledger: &'a Ledger,
    book: Book<'a>,
}

impl Post<'_> {
    pub(crate) fn note(&self, note: Note) {
        self.book.write(note);
    }

    pub(crate) fn phase(&self) -> Phase {
        let phase = self.ledger.phase();
        if phase != Phase::Storm {
            points::spare();
        }
        phase
    }

    /// Says that it has nothing left to do, and waits until the end. It does not leave at once:
    /// some are to be killed instead.
    pub(crate) fn idle(&self) {
        self.note(Note::Idle);
        while self.phase() != Phase::Drain {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A short while, most often none. Every other life hurries.
    pub(crate) fn dawdle(&self, chance: &mut fastrand::Rng) {
        if self.orders.life.is_multiple_of(2) && chance.u8(..16) > 0 {
            return;
        }
        match chance.u8(..) {
            0 => thread::sleep(Duration::from_micros(chance.u64(..5_000))),
            1..8 => thread::sleep(Duration::from_micros(chance.u64(..200))),
            8..16 => thread::yield_now(),
            _ => {}
        }
    }

    pub(crate) fn open(&self) -> Result<Segment, Failure> {
        let _alone = creating();
        let setting = &self.orders.setting;
        setting.open().map_err(|error| unopened(setting, "open the segment", error))
    }
}

/// An error that a living worker must never meet.
pub(crate) fn wrong(what: &str, error: impl Display) -> Failure {
    Failure::broken(format!("cannot {what}"), error)
}

/// Why a segment cannot be had: a limit or a permission is nothing that the storm
/// has broken.
pub(crate) fn unopened(setting: &Setting, what: &str, error: OpenError) -> Failure {
    use tombolo::sys::ErrorKind::{Invalid, NoMemory, NoSpace, PermissionDenied, TooBig};
    match &error {
        OpenError::System(system)
            if matches!(
                system.kind(),
                Invalid | NoMemory | NoSpace | PermissionDenied | TooBig
            ) =>
        {
            Failure::unusable(format!("cannot {what}"), of_crew(error))
        }
        // The library takes those for living whom nobody has swept.
        OpenError::TableFull { name, participants } if !setting.recovery => wrong(
            what,
            format!(
                "the dead keep their places in segment {name}, as --no-recovery lets nobody sweep \
                 them: all {participants} places are taken"
            ),
        ),
        _ => wrong(what, error),
    }
}

/// An end of the channel that was just opened.
pub(crate) fn opened<T>(end: Result<T, ChannelError>) -> Result<T, Failure> {
    end.map_err(|error| wrong("open the channel", error))
}
