//! `tombolo ctl`: commands to the participants of a segment.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use tombolo::{Answer, CommandError, Commander, Outcome};

use crate::failure::Failure;
use crate::place::Trust;
use crate::plain::{json, plain};
use crate::target::Target;
use crate::terms::{print, remark, timeout};

/// Commands every process that takes part in a segment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo ctl market ping
  tombolo ctl market pause && backup; tombolo ctl market resume
  tombolo ctl market user 'reload prices' --timeout 1 --json

  ping      asks for an answer          stats   their ends, sleeps and commands
  pause     senders wait                resume  and go on
  drain     senders are refused, receivers empty the channels and end
  shutdown  every call ends             user    TEXT goes to the applications

One row for each participant that it concerns. A process answers when it next
uses the segment, or at once where it is blocked in it. Exit status 1 if one
does not in time, or has been killed. Pause, drain and shutdown change the state of
the segment: a participant that does not answer obeys with its next call, and so do
those that come later, until resume.")]
pub(crate) struct Args {
    /// The segment: its name, or @ID
    #[arg(value_name = "NAME")]
    segment: Target,
    /// The command
    verb: Verb,
    /// The text of `user`, for the applications
    #[arg(required_if_eq("verb", "user"))]
    text: Option<String>,
    /// How long to wait for the answers
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = timeout)]
    timeout: Duration,
    #[command(flatten)]
    trust: Trust,
    /// Print a JSON object for each participant
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    Ping,
    Stats,
    Pause,
    Resume,
    Drain,
    Shutdown,
    User,
}

/// An answer, as the JSON object has it.
#[derive(Debug, Serialize)]
struct Row {
    /// `slot.life`: used once.
    participant: String,
    pid: u32,
    verb: String,
    ok: bool,
    error: Option<String>,
    #[serde(flatten)]
    stats: Option<StatsRow>,
}

#[derive(Debug, Serialize)]
struct StatsRow {
    senders: u64,
    receivers: u64,
    sleeps: u64,
    commands: u64,
}

impl Row {
    fn of(answer: &Answer, verb: &str) -> Self {
        let stats = match answer.outcome {
            Outcome::Stats(stats) => Some(StatsRow {
                senders: stats.senders,
                receivers: stats.receivers,
                sleeps: stats.sleeps,
                commands: stats.commands,
            }),
            _ => None,
        };
        Self {
            participant: format!("{}.{}", answer.slot, answer.life),
            pid: answer.pid,
            verb: verb.to_owned(),
            ok: answer.ok,
            error: (!answer.ok).then(|| answer.outcome.to_string()),
            stats,
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.text.is_some() && args.verb != Verb::User {
        return Err(Failure::Unusable("only `user` takes a TEXT".to_owned()));
    }
    let segment = args
        .segment
        .open(&args.trust.options())
        .map_err(|error| Failure::Unusable(error.to_string()))?;
    let commander = segment.commander().map_err(|error| Failure::Unusable(error.to_string()))?;
    let failed = |error: CommandError| match error {
        CommandError::State { .. } | CommandError::TooLong { .. } => {
            Failure::Unusable(error.to_string())
        }
        error => Failure::broken("cannot go on", error),
    };
    let (answers, left) = give(&commander, args).map_err(failed)?;
    show(&answers, args)?;
    if !answers.iter().any(|answer| answer.ok) {
        remark(&plain(&unanswered(args, answers.is_empty())));
    }
    for (channel, messages) in &left {
        let channel = plain(channel);
        remark(&format!("channel {channel} still has {messages} messages; drain again"));
    }
    let well = left.is_empty() && answers.iter().all(|answer| answer.ok);
    if well { Ok(()) } else { Err(Failure::Told(1)) }
}

/// The remark for a command that nobody answered: the state has changed all the same.
fn unanswered(args: &Args, alone: bool) -> String {
    let segment = &args.segment;
    let is = match args.verb {
        Verb::Pause => "IS paused: senders wait",
        Verb::Drain => "IS drained: senders are refused",
        Verb::Shutdown => "IS shut down: every call fails",
        _ if alone => return "it concerns nobody else in the segment".to_owned(),
        _ => return "nobody has answered".to_owned(),
    };
    format!("nobody has answered, but segment {segment} {is} until `tombolo ctl {segment} resume`")
}

type Given = (Vec<Answer>, Vec<(String, u64)>);

fn give(commander: &Commander, args: &Args) -> Result<Given, CommandError> {
    let timeout = args.timeout;
    let answers = match args.verb {
        Verb::Ping => commander.ping(timeout),
        Verb::Stats => commander.stats(timeout),
        Verb::Pause => commander.pause(timeout),
        Verb::Resume => commander.resume(timeout),
        Verb::Shutdown => commander.shutdown(timeout),
        Verb::User => commander.user(args.text.as_deref().unwrap_or("").as_bytes(), timeout),
        Verb::Drain => {
            let drain = commander.drain(timeout)?;
            return Ok((drain.answers, drain.left));
        }
    };
    answers.map(|answers| (answers, Vec::new()))
}

fn show(answers: &[Answer], args: &Args) -> Result<(), Failure> {
    let verb = args.verb.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
    if args.json {
        for answer in answers {
            let row = json(&Row::of(answer, &verb))
                .map_err(|error| Failure::broken("cannot write an answer", error))?;
            print(&row)?;
        }
        return Ok(());
    }
    if answers.is_empty() {
        return Ok(());
    }
    print(&format!("{:<14} {:>8}  {:<8}  ANSWER", "PARTICIPANT", "PID", "VERB"))?;
    for answer in answers {
        let participant = format!("{}.{}", answer.slot, answer.life);
        let pid = answer.pid;
        let said = if answer.ok { "" } else { "FAILED: " };
        print(&format!("{participant:<14} {pid:>8}  {verb:<8}  {said}{}", answer.outcome))?;
    }
    Ok(())
}
