//! A segment as it is asked for, a message and a wake-up; and what others have left.

use std::thread;
use std::time::Duration;

use tombolo::Segment;
use tombolo::sys::proc;

use super::{Args, Row};
use crate::ls::owner;

/// How long a wake-up may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn rows(args: &Args) -> Vec<Row> {
    let mut rows = vec![segment(args), message(), left_behind()];
    rows.extend(strangers());
    rows
}

fn segment(args: &Args) -> Row {
    let options =
        Segment::options().participants(args.participants).channels(args.channels).size(args.size);
    let made = options.anonymous();
    Row::judged(
        made.is_ok(),
        "a segment as asked for",
        made.map_or_else(|error| error.to_string(), |_| "created, and removed again".to_owned()),
        "created",
        "mend what the error names",
    )
}

fn message() -> Row {
    let sent = send_one();
    Row::judged(
        sent.is_ok(),
        "a message and a wake-up",
        sent.map_or_else(|error| error, |()| "received".to_owned()),
        "received by a thread that sleeps",
        "mend what the error names",
    )
}

/// Sends a message to a thread that may sleep.
fn send_one() -> Result<(), String> {
    let segment =
        Segment::options().participants_up_to(64).anonymous().map_err(|error| error.to_string())?;
    let channel = segment.channel::<u64>("trial").capacity(1);
    let sender = channel.sender().map_err(|error| error.to_string())?;
    let receiver = channel.receiver().map_err(|error| error.to_string())?;
    thread::scope(|scope| {
        let waiting = scope.spawn(move || receiver.recv_timeout(PATIENCE));
        thread::sleep(Duration::from_millis(10));
        sender.send(7).map_err(|error| error.to_string())?;
        match waiting.join() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the receiving thread has panicked".to_owned()),
        }
    })
}

fn left_behind() -> Row {
    const CHECK: &str = "nothing is left behind";
    const WANTED: &str = "no segment or set that no process holds";
    match Segment::orphans() {
        Ok(orphans) => Row::judged(
            orphans.is_empty(),
            CHECK,
            match orphans.first() {
                None => "nothing".to_owned(),
                Some(first) => format!("{} objects, such as {}", orphans.len(), first.what),
            },
            WANTED,
            "tombolo rm --orphans",
        ),
        Err(error) => Row::fine(CHECK, format!("cannot be asked: {error}"), WANTED),
    }
}

/// Segments of other users.
fn strangers() -> Option<Row> {
    let segments = Segment::list().ok()?;
    let user = proc::uid();
    let theirs: Vec<String> = segments
        .iter()
        .filter(|info| info.uid != user)
        .map(|info| format!("{} of {}", info.name, owner(info.uid)))
        .collect();
    (!theirs.is_empty()).then(|| {
        let found = theirs.join(", ");
        Row::fine("segments of other users", found, "opened only with Options::any_owner")
    })
}
