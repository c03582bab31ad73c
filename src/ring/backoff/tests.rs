//! The policy against scripted traces: what it costs beside the best fixed choice, known
//! afterwards. Nothing here asks a clock. The table of `docs/waiting.md` is what comes out.

use super::{Backoff, Costs, Courtesy, Ended, Expectation, IN_TIME, Patience};

const DOC: &str = include_str!("../../../docs/waiting.md");
/// Of the machine: a pause takes 10 ns.
const COSTS: Costs = Costs { transfer: 15, longest: 80 };
const PAUSE: u64 = 10;
/// What could have been chosen.
const LENGTHS: [u32; 9] = [0, 1, 2, 5, 10, 20, 40, 60, 80];
const CAPACITY: u64 = 1_024;

/// How a side keeps back: by the policy, or always as long.
enum Length {
    Policy(Backoff),
    Fixed(u32),
}

impl Length {
    fn now(&self) -> u64 {
        match self {
            Self::Policy(backoff) => u64::from(backoff.now.get()),
            Self::Fixed(pauses) => u64::from(*pauses),
        }
    }

    fn found(&self, more: u64) {
        if let Self::Policy(backoff) = self {
            backoff.found(more);
        }
    }
}

/// What the other side does, in nanoseconds.
#[derive(Clone, Copy)]
enum Other {
    /// Writes a message in so much time. A look takes `transfer`, and stops it for `stop`.
    Writes { message: u64, transfer: u64, stop: u64 },
    /// Has written so many before each look: this very thread, or a slow exchange.
    Has(u64),
}

/// What `looks` looks take, for each message.
fn stream(length: &Length, others: &[(Other, u64)]) -> u64 {
    let (mut time, mut messages) = (0, 0);
    for &(other, looks) in others {
        let (mut written, mut idle) = (0, 0);
        for look in 0..looks {
            let kept = PAUSE * length.now();
            let (more, spent) = match other {
                Other::Writes { message, transfer, stop } => {
                    // A little noise.
                    let spent = kept + transfer + look % 7 * 5;
                    idle += (spent + written).saturating_sub(stop);
                    let more = (idle / message).min(CAPACITY);
                    idle %= message;
                    (more, spent)
                }
                Other::Has(more) => (more, kept + 100),
            };
            written = more;
            length.found(more);
            time += spent + more;
            messages += more;
        }
    }
    100 * time / messages.max(1)
}

fn policy() -> Length {
    Length::Policy(Backoff::new(COSTS, CAPACITY))
}

const NEAR: Other = Other::Writes { message: 5, transfer: 100, stop: 90 };
const FAR: Other = Other::Writes { message: 5, transfer: 350, stop: 340 };

/// Traces of looks, by name.
fn streams() -> Vec<(&'static str, Vec<(Other, u64)>)> {
    vec![
        ("saturated, near", vec![(NEAR, 4_000)]),
        ("saturated, far", vec![(FAR, 4_000)]),
        ("batches of 64 in one thread", vec![(Other::Has(64), 4_000)]),
        ("request and answer", vec![(Other::Has(1), 4_000)]),
        ("bursts with gaps", [(NEAR, 500), (Other::Has(1), 20)].repeat(40)),
        ("a stream, then one thread", vec![(FAR, 4_000), (Other::Has(64), 4_000)]),
    ]
}

/// What a message costs beside the best fixed length, in hundredths.
fn regret(length: impl Fn() -> Length, others: &[(Other, u64)]) -> u64 {
    let fixed = LENGTHS.map(|pauses| stream(&Length::Fixed(pauses), others));
    100 * stream(&length(), others) / fixed.into_iter().fold(u64::MAX, u64::min).max(1)
}

/// The most that the policy may cost beside the best fixed choice, in hundredths.
const MOST: u64 = 120;

#[test]
fn keeping_back_costs_little_more_than_the_best_length_known_afterwards() {
    for (name, others) in streams() {
        let regrets = [policy as fn() -> Length, || Length::Fixed(0), || Length::Fixed(80)]
            .map(|length| regret(length, &others));
        row(name, &regrets);
        assert!(regrets[0] <= MOST, "{name}: {regrets:?}");
    }
}

#[test]
fn no_fixed_length_does_as_well() {
    for pauses in LENGTHS {
        let worst =
            streams().iter().map(|(_, others)| regret(|| Length::Fixed(pauses), others)).max();
        assert!(worst.unwrap() > MOST, "{pauses} pauses are right for everything");
    }
}

#[test]
fn one_thread_and_request_and_answer_have_no_pause() {
    for more in [0, 1, 2, 64, 1_024] {
        let backoff = Backoff::new(COSTS, CAPACITY);
        let mut paused = 0;
        for _ in 0..10_000 {
            paused += backoff.now.get();
            backoff.found(more);
        }
        assert!(paused < 1_000, "{more} messages a look: {paused} pauses");
    }
}

/// A wait: after how long the message comes, in microseconds; whether spinning sees it.
type Wait = (u64, bool);

/// What a spin takes at most, and a sleep and a wake-up.
const SPIN: u64 = 20;
const SLEEP: u64 = 10;

/// What the waits cost if `spins` says so, and a sleep and a wake-up take that long.
fn waits(
    waits: &[Wait],
    sleep: u64,
    spins: impl Fn() -> bool,
    mut ended: impl FnMut(Ended),
) -> u64 {
    waits
        .iter()
        .map(|&(after, seen)| {
            let spun = spins();
            let in_time = spun && seen && after <= SPIN;
            ended(if in_time {
                Ended::Spinning
            } else {
                Ended::Sleeping { short: after <= 2 * SPIN, alone: true }
            });
            match (spun, in_time) {
                (_, true) => after,
                (true, false) => SPIN + sleep,
                (false, _) => sleep,
            }
        })
        .sum()
}

/// Traces of waits, by name.
fn traces() -> Vec<(&'static str, Vec<Wait>)> {
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((seed >> 40) % 40, true)
    };
    vec![
        ("answers within 1 µs", vec![(1, true); 10_000]),
        ("gaps of 100 µs", vec![(100, true); 10_000]),
        ("one processor", vec![(3, false); 10_000]),
        ("bursts of 100, then a gap", {
            let mut burst = vec![(1, true); 100];
            burst.push((5_000, true));
            burst.repeat(100)
        }),
        ("busy, then idle, then busy", {
            [vec![(1, true); 3_000], vec![(500, true); 3_000], vec![(1, true); 3_000]].concat()
        }),
        ("a quota: 20 answers, then 50 ms without a processor", {
            let mut period = vec![(1, true); 20];
            period.push((50_000, true));
            period.repeat(500)
        }),
        ("up to 40 µs, at random", (0..10_000).map(|_| random()).collect()),
    ]
}

/// What the waits cost beside the better fixed choice, in hundredths: of the policy, of one
/// that never spins, and of one that always does.
fn patience(trace: &[Wait], sleep: u64) -> [u64; 3] {
    let patience = Patience::new(true);
    let policy = waits(trace, sleep, || patience.spins(), |by| patience.ended(by));
    let fixed = [false, true].map(|spins| waits(trace, sleep, || spins, |_| ()));
    let best = fixed[0].min(fixed[1]);
    [policy, fixed[0], fixed[1]].map(|cost| 100 * cost / best)
}

#[test]
fn spinning_costs_little_more_than_the_better_choice_known_afterwards() {
    for (name, trace) in traces() {
        let regrets = patience(&trace, SLEEP);
        row(name, &regrets);
        // Where the gaps are as long as a spin, no choice is much better than another.
        let most = if name.contains("random") { 200 } else { MOST };
        assert!(regrets[0] <= most, "{name}: {regrets:?}");
    }
}

#[test]
fn neither_always_nor_never_spinning_does_as_well() {
    for choice in [1, 2] {
        let worst = traces().iter().map(|(_, trace)| patience(trace, SLEEP)[choice]).max();
        assert!(worst.unwrap() > 2 * MOST, "{choice}");
    }
}

#[test]
fn costs_that_are_wrong_by_a_factor_of_four_cost_little_more() {
    for (name, transfer) in [("a transfer of 38 ns", 38), ("a transfer of 600 ns", 600)] {
        let stop = transfer - 8;
        let saturated = vec![(Other::Writes { message: 5, transfer, stop }, 4_000)];
        let regrets = [policy as fn() -> Length, || Length::Fixed(0), || Length::Fixed(80)]
            .map(|length| regret(length, &saturated));
        row(&format!("saturated, {name}"), &regrets);
        assert!(regrets[0] <= MOST, "{name}: {regrets:?}");
    }
    for sleep in [SPIN / 4, 4 * SPIN] {
        let regrets: Vec<_> = traces()
            .iter()
            .filter(|(name, _)| !name.contains("random"))
            .map(|(_, trace)| patience(trace, sleep))
            .collect();
        let worst = regrets.iter().fold([0; 3], |worst, each| {
            core::array::from_fn(|choice| worst[choice].max(each[choice]))
        });
        row(&format!("the worst above the last row, if a sleep takes {sleep} µs"), &worst);
        assert!(worst[0] <= MOST, "{sleep} µs: {worst:?}");
    }
    // Where no fixed choice is known to be right: what a spin may cost beside a sleep.
    let worst = patience(&vec![(SPIN - 1, true); 10_000], SPIN / 4);
    assert!(worst[0] <= 400, "{worst:?}");
}

#[test]
fn a_handle_makes_way_where_that_brings_it_several_slots_in_a_row() {
    // A pool of 64 handles, one slot a visit.
    let courtesy = Courtesy::new(0);
    let mut position = 0;
    for _ in 0..1_000 {
        assert!(!courtesy.passed(position + 1));
        position += 64;
        courtesy.caught_up(position);
    }
    // Others at work: eight slots in a row.
    courtesy.passed(position + 8);
    courtesy.caught_up(position + 8);
    assert!(courtesy.passed(position + 16));
}

#[test]
fn a_client_first_looks_for_a_reply_when_it_is_to_be_expected() {
    /// How many of the last 900 of 1,000 first looks came too early, and how many came
    /// several pauses late, where a reply takes so many.
    fn looks(takes: u32) -> (u32, u32) {
        let expectation = Expectation::new(Costs { transfer: 3, longest: 12 });
        let (mut early, mut late) = (0, 0);
        for nth in 0..1_000 {
            let now = expectation.now.get();
            expectation.looked(now >= takes);
            if nth >= 100 {
                early += u32::from(now < takes);
                late += u32::from(now > takes + 1);
            }
        }
        (early, late)
    }
    assert_eq!(looks(0), (0, 0));
    for takes in 1..=12 {
        let (early, late) = looks(takes);
        assert!(early <= 900 / IN_TIME + 1 && late == 0, "{takes}: {early} early, {late} late");
    }
    // It is not going to be soon: there is no use in keeping back for as long.
    assert_eq!(looks(10_000), (900, 0));
}

/// The document shows this.
#[track_caller]
fn row(name: &str, regrets: &[u64; 3]) {
    let [policy, least, most] =
        regrets.map(|regret| format!("{}.{:02}", regret / 100, regret % 100));
    let row = format!("| {name} | {policy} | {least} | {most} |");
    assert!(DOC.contains(&row), "docs/waiting.md lacks\n{row}");
}
