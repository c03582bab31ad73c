//! Each message to all subscribers: to those that publishers wait for, and to those that
//! miss what they are too slow for.

use crate::harness::{Case, Group, Plot, Scale, Setting, Shape};
use crate::subjects::{BEST_SEQLOCK, BEST_WAKE, RELIABLE_RING, SEQLOCKS, WAKES};

/// Bytes of a ring of the largest messages, which others have 1,024 slots for.
const BYTES: usize = 4 << 20;

const LOSSY: &[&str] = &[
    "tombolo broadcast, lossy",
    "tombolo broadcast, lossy, blocking",
    "tombolo broadcast, lossy, received in batches",
];

const RELIABLE: &[&str] = &[
    "tombolo broadcast",
    "tombolo broadcast, blocking",
    "tombolo broadcast, received in batches",
    "tombolo broadcast, in place",
];

/// Where there is one subscriber, it need not be a broadcast channel.
const ONE_TO_ONE: &[&str] = &["tombolo SPSC", "tombolo SPSC, blocking", "tombolo SPSC, in place"];

const AWAKE: &[&str] =
    &["tombolo broadcast", "tombolo broadcast, blocking", "tombolo broadcast, lossy"];

const ASLEEP: &[&str] = &["tombolo broadcast, blocking", "tombolo broadcast, lossy, blocking"];

/// The cases; each with more subjects, which suit its setting.
pub(super) fn group(scale: &Scale, more: impl Fn(&Setting) -> Vec<&'static str>) -> Group {
    let mut cases = Vec::new();
    let (shapes, sizes, spreads): (&[_], &[_], &[_]) = match scale.quick {
        true => (&[(1, 1), (1, 4), (4, 4)], &[8, 64, 65_536], &[1, 8]),
        false => (&[(1, 1), (1, 2), (1, 4), (1, 8), (4, 4)], &[8, 64, 1_024, 65_536], &[1, 4, 8]),
    };
    for &(producers, consumers) in shapes {
        let sizes = if scale.quick && consumers > 1 { &sizes[..1] } else { sizes };
        for &size in sizes {
            for shape in [Shape::Lossy, Shape::Publish] {
                let slots = (BYTES / size).min(1_024);
                let crew = scale.crew(shape, producers, consumers);
                let setting = Setting { words: size / 8, slots, ..crew };
                cases.push(carried(&setting, size, &more(&setting)));
            }
        }
    }
    for &consumers in spreads {
        for shape in [Shape::SpreadBusy, Shape::SpreadParked] {
            let setting = scale.crew(shape, 1, consumers);
            // Several that stay awake on one processor measure the scheduler.
            if shape == Shape::SpreadParked || setting.undisturbed() {
                cases.push(spread(&setting, &more(&setting)));
            }
        }
    }
    Group { name: "broadcast", cases }
}

/// How many messages of so many bytes are published a second.
fn carried(setting: &Setting, size: usize, more: &[&str]) -> Case {
    let (producers, consumers) = (setting.producers, setting.consumers);
    let lossy = setting.shape == Shape::Lossy;
    let row = format!("{producers} to {consumers}, {}", if lossy { "lossy" } else { "reliable" });
    let label = if size < 1_024 { format!("{size} B") } else { format!("{} KiB", size >> 10) };
    let name = format!("{row}, {size} B");
    let plot = Plot::Line { along: row, at: (size as f64).log10(), label };
    // The rings that are written by hand have one publisher.
    let limit = if producers > 1 || lossy { &[] } else { &[RELIABLE_RING][..] };
    let ways = if lossy { LOSSY } else { RELIABLE };
    let alone = if lossy || consumers > 1 { &[] } else { ONE_TO_ONE };
    let case = Case::new(&name, plot, setting, &[limit, ways, alone, more].concat());
    if lossy && producers == 1 { case.limited(BEST_SEQLOCK, SEQLOCKS) } else { case }
}

/// From the call that publishes until the last subscriber has the message.
fn spread(setting: &Setting, more: &[&str]) -> Case {
    let asleep = setting.shape == Shape::SpreadParked;
    let state = if asleep { "asleep" } else { "awake" };
    let name = format!("until the last of {} has 8 B, {state}", setting.consumers);
    // A tail takes many messages to be seen.
    let setting = Setting { span: 3 * setting.span, ..setting.clone() };
    if asleep {
        let case = Case::new(&name, Plot::Distribution, &setting, &[ASLEEP, more].concat());
        return case.limited(BEST_WAKE, WAKES);
    }
    let subjects = [&[RELIABLE_RING], AWAKE, more].concat();
    Case::new(&name, Plot::Distribution, &setting, &subjects)
}
