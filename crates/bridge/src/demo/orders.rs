//! What a host is told: when it is started, and later.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::words::{Sent, Side};

/// How often orders are looked at.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// How many messages a channel of the demo holds.
pub(super) const CAPACITY: usize = 1024;
/// The channels.
pub(super) const QUEUE: &str = "jobs";
pub(super) const BROADCAST: &str = "prices";

/// What a host needs to know.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    pub(super) side: Side,
    /// Where files are put.
    pub(super) folder: PathBuf,
    /// At which the source's bridge listens.
    #[arg(long)]
    pub(super) port: u16,
    #[arg(long)]
    pub(super) size: usize,
    #[arg(long)]
    pub(super) kill_rate: u16,
    #[arg(long)]
    pub(super) messages: Option<u64>,
}

/// What the organizing process has said.
#[derive(Debug, Default)]
pub(super) struct Orders {
    go: AtomicBool,
    stop: AtomicBool,
    over: AtomicBool,
    sent: Mutex<Option<Sent>>,
}

impl Orders {
    pub(super) fn go(&self) -> bool {
        self.go.load(Ordering::Relaxed)
    }

    /// Nothing more is to be sent.
    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.over()
    }

    /// The end of the demo.
    pub(super) fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How much was sent, once that is known.
    pub(super) fn sent(&self) -> Option<Sent> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obey(&self, line: &str) {
        let mut words = line.split(' ');
        match words.next() {
            Some("go") => self.go.store(true, Ordering::Relaxed),
            Some("stop") => self.stop.store(true, Ordering::Relaxed),
            Some("sent") => {
                let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                let sent = Sent { queue: number(), broadcast: number() };
                *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
            }
            _ => {}
        }
    }

    /// Until the organizing process closes its end, or is gone.
    pub(super) fn listen(&self) {
        std::io::stdin().lock().lines().map_while(Result::ok).for_each(|line| self.obey(&line));
        self.end();
    }

    /// Ends the demo here.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
