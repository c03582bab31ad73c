//! A reliable subscriber that is stopped while it is cloned. The clone begins further back than
//! it will be, so a publisher may have to wait for it, and sleeps: it goes on when the other is
//! continued.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use tombolo::{BroadcastChannel, Segment, WaitStrategy};

use super::actor::{Actor, Scene};
use super::deeds::{clear, options};
use super::ledger::{Doom, Ledger};
use crate::common::parked_for_good;

const NAME: &str = "clones";
/// Until a publisher that has been seen asleep sleeps without a time-out.
const PATIENCE: Duration = Duration::from_secs(10);

fn prices(segment: &Segment) -> BroadcastChannel<'_, u64> {
    segment.broadcast("prices").capacity(2).publishers(1).reliable(2).lasting()
}

/// Clones once. Whether the publisher slept.
pub(crate) fn perform(doom: &Doom, ledger: &Ledger) -> Result<bool, String> {
    ledger.clear();
    let cloned = clones(doom, ledger);
    let _ = Segment::remove_named(NAME);
    clear();
    cloned
}

fn clones(doom: &Doom, ledger: &Ledger) -> Result<bool, String> {
    let mut cloning = Actor::fork("who clones", || {
        let segment = options().open_or_create(NAME).unwrap();
        let publisher = prices(&segment).publisher().unwrap();
        let subscriber = prices(&segment).reliable_subscriber().unwrap();
        for n in 0..2 {
            publisher.send(n).unwrap();
            assert_eq!(subscriber.recv(), Ok(n));
        }
        drop(publisher);
        doom.begin();
        let _clone = subscriber.try_clone().unwrap();
        doom.finish(ledger);
        raise(Signal::SIGSTOP).unwrap();
    });
    // In the middle; at the end, if it is only watched.
    match cloning.end()? {
        Scene::Stopped => {}
        scene => return Err(format!("not stopped: {scene:?}")),
    }
    let mut publishing = Actor::fork("who publishes", || {
        let segment = options().open_or_create(NAME).unwrap();
        let publisher = prices(&segment).publisher().unwrap();
        publisher.set_wait_strategy(WaitStrategy::Block);
        publisher.send(2).unwrap();
    });
    let slept = publishing.scene()? == Scene::Parked;
    let deadline = Instant::now() + PATIENCE;
    while slept && !parked_for_good(publishing.pid()) {
        if Instant::now() > deadline {
            return Err(String::from("the publisher goes on without the other"));
        }
    }
    cloning.resume();
    publishing.exit()?;
    Ok(slept)
}
