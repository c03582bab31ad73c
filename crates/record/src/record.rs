//! `tombolo record`: channels into files.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use mcap::Compression;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use tombolo::{ByteBatch, Segment, Start};

use crate::container::why;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::source::{Choice, Found, Queues, Source};
use crate::tape::{Style, Tape};
use crate::target::Target;
use crate::terms::{self, remark};

/// How long recorded messages may be lost for, if the recorder is killed; and how often it
/// looks for new channels.
const TICK: Duration = Duration::from_millis(500);
/// How often queues are looked at that nobody tells of.
const LOOK: Duration = Duration::from_millis(5);

/// Records channels into an MCAP file.
///
/// Broadcast channels are recorded as a subscriber for which nobody waits, so recording
/// disturbs nobody; what was missed is in the file, too. Ends when all senders have gone,
/// or the segments have been removed, or on Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo record market -o market.mcap
  tombolo record market --channel ticks --reliable --seconds 60 -o minute.mcap
  tombolo record jobs --consume -o jobs.mcap --rotate-size 1000000000
  tombolo record jobs --tap --allow-lag -o seen.mcap

Of a queue each message has one receiver. With --consume it is this process, which
acknowledges a message when it is in the file. With --tap it looks at what is in a queue,
200 times a second, and takes nothing; what others have taken before it was seen
is missed. With neither, queues are left out.

A file that was not ended, because this process was killed, can be read up to the last
half second. Its topics are SEGMENT/CHANNEL; SEGMENT/CHANNEL#missed says where messages
were missed, and how many.

Exit status: 0 if nothing was missed, 1 if something was (0 with --allow-lag).")]
// More fields than 12: they are the flags.
pub(crate) struct Args {
    /// The segments, by name, or @ and their ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Target>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Record this channel only; can be said several times
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// End after so many seconds
    #[arg(long, value_parser = terms::seconds)]
    seconds: Option<Duration>,
    /// Have publishers wait for this process, so that nothing is missed
    #[arg(long)]
    reliable: bool,
    /// Begin with messages that were sent before: newest, oldest or last:K
    #[arg(long, value_name = "WHERE", value_parser = terms::start)]
    from: Option<Start>,
    /// Take the messages of queues
    #[arg(long)]
    consume: bool,
    /// Look at the messages of queues without taking them
    #[arg(long, conflicts_with = "consume")]
    tap: bool,
    /// How chunks are compressed
    #[arg(long, value_enum, default_value = "zstd")]
    compression: How,
    /// Bytes of a chunk, before it is compressed
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u64).range(1024..=1 << 30))]
    chunk_size: u64,
    /// Begin another file after so many bytes of messages
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_size: Option<u64>,
    /// Begin another file after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = terms::seconds)]
    rotate_seconds: Option<Duration>,
    /// Write over files that exist
    #[arg(long)]
    force: bool,
    /// Exit with 0 although messages were missed
    #[arg(long)]
    allow_lag: bool,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    None,
    Lz4,
    Zstd,
}

/// The result. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
struct Summary {
    files: u32,
    seconds: f64,
    messages: u64,
    missed: u64,
    channels: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    messages: u64,
    missed: u64,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let ending = Ending::new()?;
    let mut sources = open(args)?;
    let cannot = |error| {
        Failure::unusable(format!("cannot record to {}", args.output.display()), why(&error))
    };
    let mut tape = Tape::new(&args.output, style(args)).map_err(cannot)?;
    for source in &mut sources {
        source.look(&mut tape)?;
        for name in source.lacking() {
            remark(&plain(&format!("there is no channel {name} yet")));
        }
    }
    let began = Instant::now();
    let ended = record(args, &mut sources, &mut tape, &ending);
    // What was recorded is readable, whatever ended it.
    let finished = tape.finish().map_err(|error| {
        Failure::broken(format!("cannot write the end of {}", tape.file().display()), why(&error))
    });
    ended.and(finished)?;
    let rows: Vec<Row> = sources
        .iter()
        .flat_map(|source| &source.tracks)
        .map(|track| Row {
            topic: track.name.clone(),
            messages: track.messages,
            missed: track.missed,
        })
        .collect();
    let summary = Summary {
        files: tape.files(),
        seconds: began.elapsed().as_secs_f64(),
        messages: rows.iter().map(|row| row.messages).sum(),
        missed: rows.iter().map(|row| row.missed).sum(),
        channels: rows,
    };
    tell(args, &summary)?;
    ending.check()?;
    if summary.missed > 0 && !args.allow_lag { Err(Failure::Told(1)) } else { Ok(()) }
}

fn open(args: &Args) -> Result<Vec<Source>, Failure> {
    let choice = Choice {
        channels: args.channel.clone(),
        reliable: args.reliable,
        from: args.from.unwrap_or(Start::Newest),
        queues: match (args.tap, args.consume) {
            (true, _) => Queues::Tap,
            (_, true) => Queues::Consume,
            _ => Queues::LeaveOut,
        },
    };
    let options = Segment::options().any_owner(args.any_owner);
    args.names
        .iter()
        .map(|name| {
            let segment = name.open(&options);
            let segment = segment
                .map_err(|error| Failure::unusable(format!("cannot record {name}"), error))?;
            Ok(Source::new(&name.to_string(), segment, choice.clone()))
        })
        .collect()
}

fn style(args: &Args) -> Style {
    Style {
        compression: match args.compression {
            How::None => None,
            How::Lz4 => Some(Compression::Lz4),
            How::Zstd => Some(Compression::Zstd),
        },
        chunk: args.chunk_size,
        most_bytes: args.rotate_size,
        most_time: args.rotate_seconds,
        force: args.force,
    }
}

/// Records until something ends it. Everything that is in the channels then is on the tape.
fn record(
    args: &Args,
    sources: &mut [Source],
    tape: &mut Tape,
    ending: &Ending,
) -> Result<(), Failure> {
    let until = args.seconds.and_then(|span| Instant::now().checked_add(span));
    let mut batch = ByteBatch::new();
    let mut tick = Instant::now();
    loop {
        let mut found = Found::Nothing;
        for track in sources.iter_mut().flat_map(|source| &mut source.tracks) {
            if track.record(&mut batch, tape)? == Found::Messages {
                found = Found::Messages;
            }
        }
        let late = until.is_some_and(|until| Instant::now() >= until);
        if late || ending.has_come() {
            return Ok(());
        }
        if tick.elapsed() >= TICK {
            tick = Instant::now();
            tape.flush().map_err(|error| {
                Failure::broken(format!("cannot write {}", tape.file().display()), why(&error))
            })?;
            let mut there = false;
            for source in sources.iter_mut() {
                there |= source.look(tape)?;
            }
            if !there {
                return Ok(());
            }
        }
        let waiting = sources.iter().any(|source| source.lacking().next().is_some());
        let recording = sources.iter().any(|source| !source.tracks.is_empty());
        if found == Found::Nothing {
            if recording && !waiting && sources.iter().all(Source::is_over) {
                return Ok(());
            }
            wait(sources, ending, until);
        }
    }
}

/// Waits for messages, for a signal, or for the next tick.
fn wait(sources: &[Source], ending: &Ending, until: Option<Instant>) {
    let tracks = sources.iter().flat_map(|source| &source.tracks);
    let mut fds: Vec<PollFd<'_>> =
        tracks.filter_map(|t| Some(PollFd::new(t.descriptor()?, PollFlags::POLLIN))).collect();
    fds.push(PollFd::new(ending.as_fd(), PollFlags::POLLIN));
    let most = if sources.iter().any(Source::taps) { LOOK } else { TICK };
    let left = until.map_or(most, |until| until.saturating_duration_since(Instant::now()));
    let timeout = PollTimeout::try_from(left.min(most)).unwrap_or(PollTimeout::ZERO);
    // A signal or an error makes the look come earlier.
    let _ = poll(&mut fds, timeout);
}

fn tell(args: &Args, summary: &Summary) -> Result<(), Failure> {
    if args.json {
        let text = json(summary).map_err(|error| Failure::broken("cannot tell", error))?;
        return terms::print(&text);
    }
    if !args.quiet {
        let mut err = std::io::stderr();
        for Row { topic, messages, missed } in &summary.channels {
            // Also where nobody reads it.
            let _ = writeln!(err, "{}: {messages} messages, {missed} missed", plain(topic));
        }
    }
    Ok(())
}
