//! With the feature `tracing`, a subscriber of the program's is told who joins, leaves and dies,
//! and what becomes of what the dead held.

use crate::common;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tombolo::Segment;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

use common::{Brief, Holder, Name, hold, wait_until};

/// What was told, an event a line: level, fields, text.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Line {
    fields: String,
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        } else {
            write!(self.fields, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tombolo"
    }

    fn event(&self, event: &Event<'_>) {
        // It may look at the segments: nothing is locked.
        let listed = Segment::list().unwrap();
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level();
        let known = listed.iter().any(|info| line.fields.contains(&format!("id={} ", info.id)));
        assert!(known, "{}", line.fields);
        self.0.lock().unwrap().push(format!("{level}{} {}", line.fields, line.text));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_is_told_of_lives_and_deaths_and_of_what_comes_again() {
    let name = Name::new();
    let told = Told::default();
    let (id, own, taken, claimed) = subscriber::with_default(told.clone(), || {
        let segment = Segment::options().size(1 << 18).create(&name).unwrap();
        let pids = ["delivery", "grant"].map(|held| {
            let holder = Holder::start(&name, &segment, "mpmc", held);
            holder.peer.kill();
            let pid = holder.peer.pid();
            holder.peer.finish();
            wait_until(|| segment.sweep().unwrap());
            pid
        });
        (segment.id(), std::process::id(), pids[0], pids[1])
    });
    let all = |life: &str, pid| format!("segment=\"{name}\" id={id} pid={pid} participant={life}");
    let lines = [
        format!("INFO {} joined", all("\"0.1\"", own.cast_signed())),
        format!("WARN {} died", all("\"1.1\"", taken)),
        format!(
            "WARN {} channel=\"mpmc/delivery\" messages=1 fate=\"redelivered\" recovered",
            all("\"1.1\"", taken)
        ),
        format!("DEBUG {} swept", all("\"1.1\"", taken)),
        format!("WARN {} died", all("\"1.2\"", claimed)),
        format!(
            "WARN {} channel=\"mpmc/grant\" messages=1 fate=\"unsent\" recovered",
            all("\"1.2\"", claimed)
        ),
        format!("DEBUG {} swept", all("\"1.2\"", claimed)),
        format!("INFO {} left", all("\"0.1\"", own.cast_signed())),
    ];
    assert_eq!(*told.0.lock().unwrap(), lines);
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    hold(&brief, &segment, &mut || ());
}
