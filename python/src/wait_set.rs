//! Waiting for any of many ends of a segment.

use pyo3::prelude::*;
use tombolo::{AnyClient, AnyReceiver, AnySender, AnyServer, Fault, Shared, WaitSet};

use crate::client::Client;
use crate::end::deadline;
use crate::errors::{IntoPy, OrRaise, bad_option};
use crate::receiver::Receiver;
use crate::segment::Segment;
use crate::sender::Sender;
use crate::server::Server;
use crate::signals::waiting;

enum Member {
    Sender(Shared<AnySender>),
    Receiver(Shared<AnyReceiver>),
    Client(Shared<AnyClient>),
    Server(Shared<AnyServer>),
}

impl Member {
    fn of(end: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = end.py();
        if let Ok(sender) = end.cast::<Sender>() {
            Ok(Self::Sender(sender.get().shared(py)?))
        } else if let Ok(receiver) = end.cast::<Receiver>() {
            Ok(Self::Receiver(receiver.get().shared(py)?))
        } else if let Ok(client) = end.cast::<Client>() {
            Ok(Self::Client(client.get().shared(py)?))
        } else if let Ok(server) = end.cast::<Server>() {
            Ok(Self::Server(server.get().shared(py)?))
        } else {
            Err(bad_option("a wait is for senders, receivers, clients and servers"))
        }
    }
}

/// Waits until one of these ends of a segment can go on, for ``timeout`` seconds at most. Returns
/// the numbers of those that can; none when the time is up.
#[pyfunction]
#[pyo3(signature = (segment, ends, timeout = None))]
pub(crate) fn wait(
    py: Python<'_>,
    segment: &Bound<'_, Segment>,
    ends: Vec<Bound<'_, PyAny>>,
    timeout: Option<f64>,
) -> PyResult<Vec<u64>> {
    let segment = segment.get().handle()?;
    let members = ends.iter().map(Member::of).collect::<PyResult<Vec<_>>>()?;
    let until = deadline(timeout);
    waiting(py, move || {
        // It belongs to this thread, as long as the wait.
        let mut set = WaitSet::new(&segment);
        for (key, member) in (0..).zip(members) {
            match member {
                Member::Sender(sender) => set.add(sender, key).or_raise()?,
                Member::Receiver(receiver) => set.add(receiver, key).or_raise()?,
                Member::Client(client) => set.add(client, key).or_raise()?,
                Member::Server(server) => set.add(server, key).or_raise()?,
            }
        }
        let mut ready = Vec::new();
        let waited: Result<usize, Fault> = match until {
            Some(until) => set.wait_deadline(&mut ready, until),
            None => set.wait(&mut ready, None),
        };
        waited.map_err(IntoPy::into_py)?;
        Ok(ready.iter().map(|member| member.key).collect())
    })
}
