//! `tombolo replay`: files back into channels.

use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::container::why;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::reel::{Next, Reel};
use crate::screen::Screen;
use crate::target::Target;
use crate::terms::{self, remark};

/// Sends what `record` has recorded, with the same gaps in time.
///
/// The segments and channels are made if they are not there, of the same types and
/// capacities; one that is there and differs is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo replay market.mcap
  tombolo replay market.mcap --speed max --as rehearsal
  tombolo replay market.mcap --channel ticks --step

Segments that this makes stay; `tombolo rm` removes them. A file that ends in the middle,
because its recorder was killed, is sent up to there, and a remark says so.")]
pub(crate) struct Args {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times as fast as it was recorded, or max
    #[arg(long, default_value = "1", value_parser = speed)]
    speed: Speed,
    /// Send everything to the channels of this segment
    #[arg(long = "as", value_name = "NAME")]
    segment: Option<Target>,
    /// Send this channel only; can be said several times
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// Send a message each time that a line is read from standard input
    #[arg(long, conflicts_with = "speed")]
    step: bool,
    /// Accept segments that another user has created
    #[arg(long)]
    any_owner: bool,
    /// Print the summary as a JSON object
    #[arg(long)]
    json: bool,
    /// No remarks
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Times(f64),
    Most,
}

fn speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Speed::Most),
        Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
        _ => Err("not a positive number, nor max".to_owned()),
    }
}

/// The result. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
struct Summary {
    messages: u64,
    /// Places at which the recorder had missed messages.
    gaps: u64,
    seconds: f64,
    /// Whether the recording was ended.
    complete: bool,
    channels: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    messages: u64,
}

/// When messages are due.
struct Clock {
    speed: Speed,
    /// The time of the first message, and when it was sent.
    first: Option<(u64, Instant)>,
}

impl Clock {
    /// When a message of this time is due; `None` if it is.
    fn due(&mut self, time: u64) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let (first, began) = *self.first.get_or_insert_with(|| (time, Instant::now()));
        let after = Duration::from_nanos(time.saturating_sub(first)).as_secs_f64() / times;
        let due = began.checked_add(Duration::try_from_secs_f64(after).ok()?)?;
        (due > Instant::now()).then_some(due)
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let ending = Ending::new()?;
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::unusable(format!("cannot read {}", args.file.display()), error)
    };
    let mut reel = Reel::open(&args.file).map_err(|error| cannot(&error))?;
    let mut screen = Screen::new(args.segment.clone(), args.any_owner);
    let mut clock = Clock { speed: args.speed, first: None };
    let (mut gaps, mut foreign) = (0, 0);
    let began = Instant::now();
    while let Some(next) = reel.next().map_err(|error| cannot(&why(&error)))? {
        match next {
            Next::Channel(number, topic) => {
                if args.channel.is_empty() || args.channel.contains(&topic.channel) {
                    screen.open(number, topic)?;
                }
            }
            Next::Message { channel, time, bytes } => {
                if screen.has(channel) {
                    pace(args, &mut clock, time, &ending)?;
                    if !screen.send(channel, &bytes, &ending)? {
                        return ending.check();
                    }
                }
            }
            Next::Missed => gaps += 1,
            Next::Foreign => foreign += 1,
        }
    }
    if let Some(why) = &reel.torn
        && !args.quiet
    {
        remark(&plain(&format!(
            "{} ends in the middle ({why}); it was sent up to there",
            args.file.display()
        )));
    }
    if foreign > 0 && !args.quiet {
        remark(&format!("{foreign} messages of other programs' topics were left out"));
    }
    let channels: Vec<Row> =
        screen.sent.into_iter().map(|(topic, messages)| Row { topic, messages }).collect();
    let messages = channels.iter().map(|row| row.messages).sum();
    let (seconds, complete) = (began.elapsed().as_secs_f64(), reel.torn.is_none());
    tell(args, &Summary { messages, gaps, seconds, complete, channels })
}

/// Waits until a message is due.
fn pace(args: &Args, clock: &mut Clock, time: u64, ending: &Ending) -> Result<(), Failure> {
    if args.step {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        return match read {
            Ok(0) => Err(Failure::Told(0)),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::broken("cannot read standard input", error)),
        };
    }
    while let Some(due) = clock.due(time) {
        let left = due.saturating_duration_since(Instant::now());
        // Rounded up, so that it does not wake before.
        let millis = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(ending.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, millis);
        ending.check()?;
    }
    ending.check()
}

fn tell(args: &Args, summary: &Summary) -> Result<(), Failure> {
    if args.json {
        let text = json(summary).map_err(|error| Failure::broken("cannot tell", error))?;
        return terms::print(&text);
    }
    if !args.quiet {
        for Row { topic, messages } in &summary.channels {
            remark(&plain(&format!("{topic}: {messages} messages sent")));
        }
    }
    Ok(())
}
