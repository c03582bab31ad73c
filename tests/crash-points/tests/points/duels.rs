//! One process creates a segment while another removes what no process holds. Each is
//! stopped at each of its steps, and the other continues meanwhile.

use nix::sys::signal::{Signal, raise};
use tombolo::Segment;
use tombolo::sys::{sem, shm};

use super::actor::{Actor, Scene};
use super::deeds::{clear, options, use_channels};
use super::ledger::{Doom, Ledger};
use crate::common::tables;

/// The object that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duel {
    Named,
    Anonymous,
}

impl Duel {
    pub(crate) const ALL: [Duel; 2] = [Duel::Named, Duel::Anonymous];

    fn make(self) -> Segment {
        match self {
            Duel::Named => options().create(NAME).unwrap(),
            Duel::Anonymous => options().anonymous().unwrap(),
        }
    }
}

const NAME: &str = "duel";
/// One that is there before, so that who clears away has something to look at
/// between listing the sets and looking at the new segment.
const BEFORE: &str = "before";

/// Fights once: what was made is whole in the end.
pub(crate) fn perform(
    duel: Duel,
    maker: &Doom,
    clearer: &Doom,
    ledger: &Ledger,
) -> Result<(), String> {
    ledger.clear();
    let before = options().create(BEFORE).unwrap();
    let fought = fight(duel, maker, clearer, ledger);
    before.remove().unwrap();
    drop(before);
    let _ = Segment::remove_named(NAME);
    for orphan in Segment::orphans().map_err(|error| error.to_string())? {
        orphan.remove().map_err(|error| format!("{orphan:?}: {error}"))?;
    }
    let left = format!("left behind: {:?} {:?}", shm::all().unwrap(), sem::all().unwrap());
    let clean = tables() == (0, 0);
    clear();
    fought.and(if clean { Ok(()) } else { Err(left) })
}

fn fight(duel: Duel, maker: &Doom, clearer: &Doom, ledger: &Ledger) -> Result<(), String> {
    let mut making = Actor::fork("who makes", || {
        maker.begin();
        let segment = duel.make();
        maker.finish(ledger);
        raise(Signal::SIGSTOP).unwrap();
        // It has been made, so it is there.
        assert!(!segment.sweep().unwrap());
        use_channels(&segment);
    });
    // In the middle; at the end, if it is only watched.
    stopped(&mut making)?;
    let mut clearing = Actor::fork("who clears away", || {
        clearer.begin();
        for orphan in Segment::orphans().unwrap() {
            orphan.remove().unwrap();
        }
        clearer.finish(ledger);
    });
    let mut goes_on = *maker == Doom::Watched;
    if clearing.end()? == Scene::Stopped {
        if !goes_on {
            making.resume();
            // It may have to wait for the lease that the other holds.
            making.scene()?;
            goes_on = true;
        }
        clearing.resume();
    }
    clearing.exit()?;
    if !goes_on {
        making.resume();
    }
    stopped(&mut making)?;
    making.resume();
    making.exit()
}

fn stopped(actor: &mut Actor) -> Result<(), String> {
    match actor.end()? {
        Scene::Stopped => Ok(()),
        scene => Err(format!("not stopped: {scene:?}")),
    }
}
