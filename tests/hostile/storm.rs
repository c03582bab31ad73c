//! One word that changes all the time: a call that does not wait must not go on as long
//! as it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use tombolo::{Observer, Segment};

use crate::case::small;
use crate::common::{Brief, Name, Peer, Words, effort};
use crate::ends::{A_CALL, PROMPT, RINGS, Site, receiver, sender, timed};
use crate::fields::Fields;
use crate::input::Input;

/// Of how many words an everyday run takes one.
const ONE_IN: u64 = 6;

#[test]
fn a_word_that_changes_without_end_holds_no_call_up() {
    let (name, seed) = (Name::new(), effort::seed());
    let mut child = Peer::start("storm", &[&name, &seed]);
    child.tell("go");
    let said = child.said_within(60 * A_CALL).expect("it hangs");
    println!("{said}");
    assert_eq!(child.join(), 0);
    assert_eq!(name.objects(), (0, 0));
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let name = brief.text(0);
    brief.hear();
    let mut words = 0;
    for ring in RINGS {
        for n in 0.. {
            if !effort::sampled(ONE_IN, brief.number(1), n as u64) {
                continue;
            }
            if !storm(name, ring, n) {
                break;
            }
            words += 1;
        }
    }
    brief.say(format!("{words} words"));
}

/// Uses a ring while the nth of the words that matter to it changes. `false`
/// if there is none.
fn storm(name: &str, ring: &str, n: usize) -> bool {
    let segment = small().create(name).unwrap();
    let words = Words::behind(&segment);
    let mut ends = [sender(&segment, ring).unwrap(), receiver(&segment, ring).unwrap()];
    let Some(index) = Fields::of(&words).of_one_ring(n) else {
        segment.remove().unwrap();
        return false;
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for step in [1, 0x2000] {
            let (words, over) = (&words, &over);
            scope.spawn(move || {
                // Longer than a call may take, so that one that does not end
                // before this does is found out.
                let began = Instant::now();
                while !over.load(Ordering::Relaxed) && began.elapsed() < 2 * A_CALL {
                    for _ in 0..1_000 {
                        words.add(index, step);
                    }
                }
            });
        }
        let site = Site { segment: &segment, patience: None };
        for round in 0..3 * PROMPT {
            for end in &mut ends {
                end.operate(round % PROMPT, site, &mut Input(&[round, round]), &mut |_| ());
            }
        }
        drop(timed("sweep", || segment.sweep()));
        drop(timed("list", Segment::list));
        drop(timed("look", || Observer::of_id(segment.id()).look()));
        drop(timed("open", || small().open(name)));
        timed("dropping the ends", || drop(ends));
        over.store(true, Ordering::Relaxed);
    });
    segment.remove().unwrap();
    true
}
