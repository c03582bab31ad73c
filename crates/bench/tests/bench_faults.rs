//! The benchmark's harness detects wrong subjects. Subjects that lose, duplicate,
//! damage, exchange or keep messages, or die, are left out with the reason, and an
//! honest subject beside them is measured.
//!
//! A program of its own (`harness = false`): it starts itself as its workers, with
//! the argument `bench-worker`.

#[allow(dead_code, unused_imports)]
#[path = "../src/harness/mod.rs"]
mod harness;

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use harness::conductor::{Care, Conductor};
use harness::records::Outcome;
use harness::{
    Case, Group, Mechanism, Message, Plot, Rx, Scale, Setting, Shape, Shared, Subject, Tx, driver,
    worker,
};
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use tombolo_cli::{failure, signals, terms, words};

use failure::Failure;

/// A fault of one message of every hundred, or of one of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    Loses,
    Doubles,
    /// In its last word.
    Damages,
    /// Overtaken by the next one.
    Exchanges,
    /// Lost, and the one before it comes again.
    Repeats,
    Dies,
    Hangs,
}

const ALL: [Fault; 8] = [
    Fault::Nothing,
    Fault::Loses,
    Fault::Doubles,
    Fault::Damages,
    Fault::Exchanges,
    Fault::Repeats,
    Fault::Dies,
    Fault::Hangs,
];

/// A pipe whose writer is at fault.
struct Faulty(Fault);

impl Mechanism for Faulty {
    type Tx<const W: usize> = Writer;
    type Rx<const W: usize> = OwnedFd;

    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        for _ in 0..setting.channels() {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(broken)?;
            shared.fds.extend([reader, writer]);
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        n: usize,
    ) -> Result<Writer, Failure> {
        let fd = shared.fds[2 * n + 1].try_clone().map_err(broken)?;
        Ok(Writer { fd, fault: self.0, kept: None })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        n: usize,
    ) -> Result<OwnedFd, Failure> {
        shared.fds[2 * n].try_clone().map_err(broken)
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::broken("the pipe", error)
}

struct Writer {
    fd: OwnedFd,
    fault: Fault,
    kept: Option<u64>,
}

impl Writer {
    fn write<const W: usize>(&self, message: &Message<W>) -> Result<(), Failure> {
        let written = write(&self.fd, bytemuck::cast_slice(message)).map_err(broken)?;
        // Short ones are written whole, or not at all.
        assert_eq!(written, 8 * W);
        Ok(())
    }
}

impl<const W: usize> Tx<W> for Writer {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let mut message = [number; W];
            let hit = number % 100 == 42;
            match self.fault {
                Fault::Loses if hit => continue,
                Fault::Doubles if hit => self.write(&message)?,
                Fault::Damages if hit => message[W - 1] ^= 1 << 40,
                // The first alone: the last of a part would stay behind.
                Fault::Exchanges if number == 42 => {
                    self.kept = Some(number);
                    continue;
                }
                Fault::Repeats if hit => message = [number - 1; W],
                Fault::Dies if hit => std::process::exit(3),
                Fault::Hangs if hit => loop {
                    std::thread::park();
                },
                _ => {}
            }
            self.write(&message)?;
            if let Some(kept) = self.kept.take() {
                self.write(&[kept; W])?;
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for OwnedFd {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let mut message = [0; W];
        let came = read(&*self, bytemuck::cast_slice_mut(&mut message)).map_err(broken)?;
        if came != 8 * W {
            return Err(Failure::Broken(format!("{came} bytes came")));
        }
        see(&message);
        Ok(1)
    }
}

fn subjects() -> Vec<Box<dyn Subject>> {
    ALL.map(|fault| Box::new(Faulty(fault)) as Box<dyn Subject>).into()
}

/// Measures these together, in each setting a case; a subject that says
/// nothing for so long hangs.
fn measured(faults: &[Fault], settings: &[Setting], silence: Duration) -> Vec<Outcome> {
    let subjects = subjects();
    let names: Vec<String> = faults.iter().map(|fault| format!("{fault:?}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let case = |setting| Case::new("a case", Plot::Bars, setting, &names);
    let group = Group { name: "faults", cases: settings.iter().map(case).collect() };
    let groups = [group];
    let care = Care { rounds: 1, patience: Duration::ZERO, silence };
    let conductor = Conductor::new(&subjects, &groups, care, true).unwrap();
    let measure = |case| conductor.measure(&groups[0], case).unwrap();
    groups[0].cases.iter().map(measure).collect()
}

/// Exactly these are left out, each for a reason that has these words; all
/// others are measured.
#[track_caller]
fn assert_left_out(outcome: &Outcome, expected: &[(Fault, &str)]) {
    let failed: Vec<&str> = outcome.failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(failed.len(), expected.len(), "{:?}", outcome.failed);
    for (fault, words) in expected {
        let name = format!("{fault:?}");
        let why = outcome.failed.iter().find(|(failed, _)| *failed == name);
        assert!(why.is_some_and(|(_, why)| why.contains(words)), "{fault:?}: {why:?}");
    }
    for (index, subject) in outcome.subjects.iter().enumerate() {
        let measured = outcome.samples(index).count() > 0;
        assert_eq!(measured, !failed.contains(&subject.as_str()), "{subject}");
    }
}

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(100);
/// The wait of a test for a subject that never ends.
const SHORT: Duration = Duration::from_secs(1);

fn in_order(pair: &Setting) {
    let setting = Setting { words: 8, ..pair.clone() };
    let faults = [
        Fault::Nothing,
        Fault::Doubles,
        Fault::Damages,
        Fault::Exchanges,
        Fault::Repeats,
        Fault::Dies,
    ];
    let damaged = "damaged or out of order";
    assert_left_out(
        &measured(&faults, &[setting], LONG)[0],
        &[
            (Fault::Doubles, damaged),
            (Fault::Damages, damaged),
            (Fault::Exchanges, damaged),
            (Fault::Repeats, damaged),
            (Fault::Dies, "ended with status 3"),
        ],
    );
}

fn of_many(scale: &Scale) {
    let crowd = scale.crew(Shape::Share, 2, 2);
    let faults = [
        Fault::Nothing,
        Fault::Loses,
        Fault::Doubles,
        Fault::Damages,
        Fault::Repeats,
        // Of this nobody can tell where there are several.
        Fault::Exchanges,
    ];
    let lost = "were lost, or came twice, or damaged";
    assert_left_out(
        &measured(&faults, &[crowd], LONG)[0],
        &[
            (Fault::Loses, lost),
            (Fault::Doubles, lost),
            (Fault::Damages, lost),
            (Fault::Repeats, lost),
        ],
    );
}

fn in_exchanges(scale: &Scale) {
    let setting = scale.pair(Shape::Busy);
    let faults = [Fault::Nothing, Fault::Damages, Fault::Repeats];
    assert_left_out(
        &measured(&faults, &[setting], LONG)[0],
        &[(Fault::Damages, "came as"), (Fault::Repeats, "came as")],
    );
}

/// A receiver of a lost message waits for ever. A subject that hung is not tried again in
/// a larger case, and in one of another kind it is.
fn without_end(pair: &Setting) {
    let settings = [
        pair.clone(),
        Setting { words: 8, ..pair.clone() },
        Setting { shape: Shape::Share, ..pair.clone() },
    ];
    let outcomes = measured(&[Fault::Loses, Fault::Hangs], &settings, SHORT);
    let hung = [(Fault::Loses, "no end after"), (Fault::Hangs, "no end after")];
    assert_left_out(&outcomes[0], &hung);
    let skipped = "did not end in a smaller case";
    assert_left_out(&outcomes[1], &[(Fault::Loses, skipped), (Fault::Hangs, skipped)]);
    assert_left_out(&outcomes[2], &[(Fault::Loses, "were lost"), (Fault::Hangs, "no end after")]);
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if let (Some("bench-worker"), Some(orders)) = (args.next().as_deref(), args.next()) {
        return match worker::run(&orders, &subjects()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => ExitCode::from(failure.status()),
        };
    }
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let options = driver::Options {
        quick: true,
        json: false,
        report: None,
        case: None,
        quiet: true,
        rounds: None,
        span: Some(1),
    };
    let scale = Scale::new(&options);
    let pair = scale.pair(Shape::Carry);
    in_order(&pair);
    of_many(&scale);
    in_exchanges(&scale);
    without_end(&pair);
    println!("every fault was caught");
    ExitCode::SUCCESS
}
