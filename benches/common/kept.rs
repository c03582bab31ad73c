//! Kernel objects that are removed when the benchmark ends, however it ends.
//!
//! The set of an anonymous segment stays if its last participant is killed, and
//! other objects stay anyway. So a separate process creates them, which Ctrl-C
//! does not reach. It removes them when its standard input ends: when they are
//! dropped, or when the process with the other end of that pipe has ended.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use tombolo::sys::Key;
use tombolo::sys::sem::Set;
use tombolo::{Options, Segment};

pub(super) const ROLE: &str = "keep";

/// The kind of channel to make.
pub(crate) enum Plan {
    /// A segment of so many bytes for channels.
    Segment {
        bytes: usize,
        participants: u16,
        channels: u16,
        /// Whether notifiers fence fully.
        symmetric: bool,
    },
    /// A set of so many semaphores.
    Set(usize),
}

impl Plan {
    pub(crate) const fn segment(bytes: usize) -> Self {
        Self::Segment { bytes, participants: 64, channels: 64, symmetric: false }
    }

    fn words(&self) -> Vec<String> {
        match self {
            Self::Segment { bytes, participants, channels, symmetric } => {
                let symmetric = u16::from(*symmetric);
                let numbers = [*bytes, (*participants).into(), (*channels).into()];
                let numbers = numbers.iter().map(usize::to_string);
                numbers.chain([symmetric.to_string()]).collect()
            }
            Self::Set(count) => vec![count.to_string()],
        }
    }
}

/// One object, by its id.
pub(crate) struct Kept {
    keeper: Child,
    id: i32,
}

impl Kept {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(ROLE).args(plan.words());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut keeper = command.spawn().expect("a keeper");
        let mut line = String::new();
        let output = keeper.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("its words");
        Self { keeper, id: line.trim_end().parse().expect("an id") }
    }

    pub(crate) const fn id(&self) -> i32 {
        self.id
    }

    /// Joins the segment that it is.
    pub(crate) fn join(&self, options: &Options) -> Segment {
        options.open_id(self.id).expect("the segment")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The keeper's part.
pub(super) fn keep(words: &[String]) {
    let numbers: Vec<usize> = words.iter().map(|word| word.parse().expect("a number")).collect();
    let until_the_end = |id: i32| {
        println!("{id}");
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    };
    match numbers[..] {
        [count] => {
            let set = Set::options().create(Key::PRIVATE, count).expect("a set");
            until_the_end(set.id());
            let _ = set.remove();
        }
        [bytes, participants, channels, symmetric] => {
            let small = |number: usize| u16::try_from(number).expect("a small number");
            let options = Segment::options().size(bytes).no_reserve(true);
            let options = options.participants(small(participants)).channels(small(channels));
            let segment = options.symmetric_fences(symmetric == 1).anonymous();
            let segment = segment.expect("a segment");
            until_the_end(segment.id());
            // Others may be on their way to the end, and not there yet.
            let _ = segment.remove();
        }
        _ => panic!("not a plan: {words:?}"),
    }
}
