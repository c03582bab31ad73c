//! `tombolo tap`: shows the messages of a channel without taking them.

mod fields;

use std::time::{Duration, Instant};

use serde::Serialize;
use tombolo::{OpenError, Tapped, TappedMessage};

use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::signals::Signals;
use crate::standard;
use crate::target::Target;
use crate::terms::{remark, wait_for_a_signal};
use fields::{Field, decode};

/// How often to look for more.
const PAUSE: Duration = Duration::from_millis(50);
/// So many messages at once, for the sake of memory.
const AT_ONCE: usize = 100;

/// Shows the messages of a channel without taking them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo tap market prices
  tombolo tap market prices --follow --rate 10
  tombolo tap market jobs --json --count 3 | jq -c .fields

Of a queue it shows the messages that are in it, and of a broadcast channel those that
are retained: position, length and bytes, and the fields if the type of the messages says
what they are. With --follow it goes on with what comes, --rate messages a second. Nobody
waits for it and nothing is taken: what receivers take, or publishers write over, before
it was shown is missed, and standard error says how much. The messages of a service
are not shown. It joins nothing and changes nothing in the segment; see `tombolo ls --help` for
what the kernel notes.

Exit status 2 if there is no such channel, or if it may not be read.")]
pub(crate) struct Args {
    /// The segment, or @ID
    #[arg(value_name = "NAME")]
    segment: Target,
    /// The channel
    channel: String,
    /// End after so many messages [default: 1000; with --follow, never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Go on with what comes
    #[arg(long)]
    follow: bool,
    /// Show so many messages a second at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Show so many bytes of a message at most
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    bytes: u32,
    /// Print a JSON object for each message
    #[arg(long)]
    json: bool,
    /// Do not say on standard error how many messages were missed
    #[arg(long)]
    quiet: bool,
}

/// A message. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
struct Row {
    position: u64,
    length: usize,
    /// The first bytes, as hexadecimal digits.
    hex: String,
    /// What they mean, if the type says it and all of them are here.
    fields: Option<Field>,
}

impl Row {
    fn of(message: &TappedMessage, seen: &Tapped) -> Self {
        let whole = message.bytes.len() == message.length;
        let hex = message.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = if whole { decode(&seen.element, &message.bytes) } else { None };
        Self { position: message.position, length: message.length, hex, fields }
    }
}

/// For people: what it means, then its bytes, sixteen on a line.
fn text(message: &TappedMessage, seen: &Tapped) -> String {
    let row = Row::of(message, seen);
    let fields = row.fields.map(|fields| format!(": {}", plain(&fields.to_string())));
    let head = format!("{}, {} bytes{}", row.position, row.length, fields.unwrap_or_default());
    let dump = message.bytes.chunks(16).enumerate().map(|(n, chunk)| {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let visible = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        let shown: String = chunk.iter().map(visible).collect();
        format!("  {:06x}  {:47}  |{shown}|", 16 * n, hex.join(" "))
    });
    let more = message.length - message.bytes.len().min(message.length);
    let rest = (more > 0).then(|| format!("  and {more} bytes more"));
    [head].into_iter().chain(dump).chain(rest).collect::<Vec<_>>().join("\n")
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let unwritable = |error| Failure::broken("cannot write a message", error);
    standard::check_output().map_err(unwritable)?;
    let what = format!("{} of segment {}", args.channel, args.segment);
    let unreadable = |error: OpenError| Failure::unusable(format!("cannot look at {what}"), error);
    let mut tap = args.segment.tap(&args.channel).map_err(unreadable)?;
    let held = |error| Failure::broken("cannot handle signals", error);
    let signals = Signals::hold().map_err(held)?;
    let began = Instant::now();
    let most = args.count.unwrap_or(if args.follow { u64::MAX } else { 1000 });
    let (mut shown, mut missed, mut found) = (0_u64, 0_u64, false);
    let result = loop {
        let allowed = 1 + began.elapsed().as_millis().saturating_mul(args.rate.into()) / 1000;
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX).min(most);
        let wanted = usize::try_from(allowed.saturating_sub(shown)).unwrap_or(AT_ONCE);
        let wanted = wanted.min(AT_ONCE);
        let seen = match tap.look(wanted, args.bytes as usize).map_err(unreadable)? {
            Some(seen) => seen,
            // The segment has been removed.
            None if found => break Ok(()),
            None => {
                break Err(Failure::Unusable(format!("there is no channel {what} to look at")));
            }
        };
        found = true;
        if seen.kind.to_string().starts_with("calls") {
            break Err(Failure::Unusable(format!(
                "{what} is a service, whose calls are not shown"
            )));
        }
        for message in &seen.messages {
            let line = if args.json {
                json(&Row::of(message, &seen)).map_err(|error| unwritable(error.into()))?
            } else {
                text(message, &seen)
            };
            standard::print(&line).map_err(unwritable)?;
        }
        shown += seen.messages.len() as u64;
        missed = missed.saturating_add(seen.missed);
        let has_all = wanted > 0 && seen.messages.len() < wanted;
        if shown >= most || has_all && !args.follow {
            break Ok(());
        }
        // Less, where there are more than one look brings.
        let pause = if has_all || wanted < AT_ONCE { PAUSE } else { Duration::ZERO };
        let pause = pause.min(Duration::from_secs(1) / args.rate * 10);
        if let Some(signal) = wait_for_a_signal(&signals, pause) {
            break Err(Failure::Signalled(signal));
        }
    };
    if missed > 0 && !args.quiet {
        remark(&format!("missed {missed}, taken or written over before they could be shown"));
    }
    result
}
