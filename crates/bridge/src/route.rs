//! One channel that is carried, from one life to the next: a life ends when the segment is removed,
//! or something else goes wrong, and another one begins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tombolo::{AnyChannel, ChannelError, OpenError, Segment};
use zenoh::Session;

use crate::broadcast::{self, Imported};
use crate::config::{Direction, Route};
use crate::describe::{Unfit, Watch};
use crate::queue;
use crate::site::Seat;
use crate::status::{RouteStatus, State, Status};
use crate::stop::Stop;
use crate::wire::Origin;

/// So often something is looked at again for which nothing wakes.
const AGAIN: Duration = Duration::from_millis(200);

/// So long an exporter is there before it says that nobody takes from it.
pub(crate) const ALONE: Duration = Duration::from_secs(5);
/// Also what it says when Zenoh's access control lets nobody take from it.
pub(crate) const NOBODY: &str = "nobody on another host takes from it";

/// Why a life of a route has ended.
pub(crate) struct Ended(pub(crate) State, pub(crate) String);

impl Ended {
    pub(crate) fn failed(what: impl ToString) -> Self {
        Self(State::Waiting, what.to_string())
    }
}

impl From<Unfit> for Ended {
    fn from(why: Unfit) -> Self {
        match why {
            Unfit::Mismatch(what) => Self(State::Refused, what),
            Unfit::Failed(what) => Self(State::Waiting, what),
        }
    }
}

/// What all of a route's threads have in common in one life.
pub(crate) struct Here<'a> {
    pub(crate) session: &'a Session,
    pub(crate) route: &'a Route,
    pub(crate) base: &'a str,
    pub(crate) lease: Duration,
    pub(crate) stop: &'a Stop,
    pub(crate) origin: Origin,
    segment: Option<&'a Segment>,
    over: &'a AtomicBool,
}

impl Here<'_> {
    /// Whether neither the bridge nor this life is to end.
    pub(crate) fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed) && !self.stop.is_stopped()
    }

    /// Whether the segment is still there. One that was removed takes what is sent into it, which
    /// nobody then receives, and wakes nobody who does not sleep in it.
    pub(crate) fn stands(&self) -> Result<(), Ended> {
        self.segment.map_or(Ok(()), |segment| segment.sweep().map(drop).map_err(Ended::failed))
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn pause(&self, most: Duration) {
        self.stop.wait(most);
    }
}

/// Carries the route until `stop`.
pub(crate) fn serve(
    session: &Session,
    route: &Route,
    lease: Duration,
    stop: &Stop,
    status: &Status,
) {
    let of = |direction| status.of(&route.segment, &route.channel, direction);
    let mut both = Vec::new();
    if route.exports() {
        both.push(of(Direction::Export));
    }
    if route.imports() {
        both.push(of(Direction::Import));
    }
    let base = route.key();
    let mut watch = None;
    while !stop.is_stopped() {
        if route.imports() && watch.is_none() {
            match Watch::new(session, &base) {
                Ok(new) => watch = Some(new),
                Err(why) => {
                    both.iter().for_each(|one| one.set(State::Waiting, &why));
                    stop.wait(AGAIN);
                    continue;
                }
            }
        }
        let over = AtomicBool::new(false);
        let origin = Origin([0; 16]);
        let segment = None;
        let here = Here { session, route, base: &base, lease, stop, origin, segment, over: &over };
        if let Err(Ended(state, what)) = life(here, watch.as_ref(), &both) {
            both.iter().for_each(|one| one.set(state, &what));
            stop.wait(AGAIN);
        }
    }
    both.iter().for_each(|one| one.set(State::Ended, ""));
}

fn life(here: Here<'_>, watch: Option<&Watch>, both: &[Arc<RouteStatus>]) -> Result<(), Ended> {
    let segment = find_segment(&here, watch)?;
    let mut here = Here { segment: Some(&segment), ..here };
    let channel = find_channel(&here, &segment, watch)?;
    let name = &here.route.channel;
    if channel.is_calls() {
        return Err(Ended(State::Refused, format!("{name} is a service: calls are not carried")));
    }
    let directed = here.route.direction;
    if directed == Direction::Both && !channel.is_broadcast() {
        return Err(Ended(
            State::Refused,
            format!("{name} is a queue, which is carried in one direction: export or import"),
        ));
    }
    let seat = Seat::take(&segment, name).map_err(Ended::failed)?;
    let Some(seat) = seat else {
        let what = format!("another bridge serves {name} of segment {}", segment.name());
        return Err(Ended(State::Standby, what));
    };
    here.origin = seat.note.origin();
    let of = |direction| both.iter().find(|one| one.direction == direction);
    let (export, import) = (of(Direction::Export), of(Direction::Import));
    if !channel.is_broadcast() {
        return match (export, import, watch) {
            (Some(status), _, _) => queue::export(&here, &channel, status, seat),
            (_, Some(status), Some(watch)) => queue::import(&here, &channel, status, seat, watch),
            _ => Ok(()),
        };
    }
    let imported = (directed == Direction::Both).then(|| Imported::new(channel.capacity()));
    let (seat, imported) = (Mutex::new(seat), imported.as_ref());
    std::thread::scope(|scope| {
        let importing = import.zip(watch).map(|(status, watch)| {
            let (here, channel, seat) = (&here, &channel, &seat);
            scope.spawn(move || {
                let done = broadcast::import(here, channel, status, (seat, imported), watch);
                here.end();
                done
            })
        });
        let exported = export.map_or(Ok(()), |status| {
            let done = broadcast::export(&here, &channel, status, (&seat, imported));
            here.end();
            done
        });
        let importing = importing.map_or(Ok(Ok(())), std::thread::ScopedJoinHandle::join);
        exported.and(importing.unwrap_or_else(|_| Err(Ended::failed("the importer panicked"))))
    })
}

/// The segment of the route.
fn find_segment(here: &Here<'_>, watch: Option<&Watch>) -> Result<Segment, Ended> {
    let route = here.route;
    match Segment::open(&route.segment) {
        Ok(segment) => return Ok(segment),
        Err(OpenError::NotFound { .. }) => {}
        Err(why) => return Err(Ended::failed(why)),
    }
    let Some(watch) = watch.filter(|_| route.create) else {
        return Err(Ended::failed(format!("segment {} does not exist yet", route.segment)));
    };
    match watch.described().first() {
        Some(there) => Ok(there.segment(&route.segment)?),
        None => {
            watch.wait(AGAIN);
            Err(Ended::failed(format!(
                "segment {} does not exist, and no other host exports {} yet",
                route.segment, here.base
            )))
        }
    }
}

/// The channel of the route.
fn find_channel<'s>(
    here: &Here<'_>,
    segment: &'s Segment,
    watch: Option<&Watch>,
) -> Result<AnyChannel<'s>, Ended> {
    let route = here.route;
    match segment.open_channel(&route.channel) {
        Ok(found) => return Ok(found),
        Err(ChannelError::NotFound { .. }) => {}
        Err(why) => return Err(Ended::failed(why)),
    }
    let missing = || format!("segment {} has no channel {} yet", route.segment, route.channel);
    let Some(watch) = watch.filter(|_| route.create) else {
        return Err(Ended::failed(missing()));
    };
    match watch.described().first() {
        Some(there) => Ok(there.channel(segment, &route.channel)?),
        None => {
            watch.wait(AGAIN);
            let what = format!("{}, and no other host exports {}", missing(), here.base);
            Err(Ended::failed(what))
        }
    }
}
