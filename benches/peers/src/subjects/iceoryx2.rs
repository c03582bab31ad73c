//! `iceoryx2`: publish and subscribe with loaned samples; without overflow, which loses
//! messages, except where it is measured how many are missed. It is polled, or sends an event with each
//! sample, as its example of event-based communication does.

use std::fmt::Debug;
use std::ops::Range;

use iceoryx2::node::Node;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

use super::files::{label, named, path, until};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shape, Shared, Subject, Tx, pause};
use crate::versions::version;

pub(crate) const ICEORYX2: &str = concat!("iceoryx2 ", version!("iceoryx2"));
pub(crate) const ICEORYX2_EVENTS: &str = concat!("iceoryx2 ", version!("iceoryx2"), ", events");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Iceoryx2::<false>), Box::new(Iceoryx2::<true>)]
}

/// With an event for each sample, or without.
struct Iceoryx2<const EVENTS: bool>;

struct Sender<const W: usize> {
    publisher: Publisher<ipc::Service, Message<W>, ()>,
    notifier: Option<Notifier<ipc::Service>>,
    _node: Node<ipc::Service>,
}

struct Receiver<const W: usize> {
    subscriber: Subscriber<ipc::Service, Message<W>, ()>,
    listener: Option<Listener<ipc::Service>>,
    /// Whether others need its processor.
    crowded: bool,
    _node: Node<ipc::Service>,
}

fn cannot<E: Debug>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Broken(format!("cannot {what}: {error:?}"))
}

/// A node in a place of its own, so that nothing is mixed with anything else
/// that uses it on this machine.
fn node(shared: &Shared) -> Result<Node<ipc::Service>, Failure> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.prefix =
        FileName::new(label(shared, "").as_bytes()).map_err(cannot("have that prefix"))?;
    let root = path(shared, "iceoryx2");
    let root = Path::new(root.as_os_str().as_encoded_bytes()).map_err(cannot("have that path"))?;
    config.global.set_root_path(&root);
    NodeBuilder::new().config(&config).create().map_err(cannot("make a node"))
}

type Samples<const W: usize> = publish_subscribe::PortFactory<ipc::Service, Message<W>, ()>;

fn samples<const W: usize>(
    node: &Node<ipc::Service>,
    setting: &Setting,
    channel: usize,
) -> Result<Samples<W>, Failure> {
    let name = ServiceName::new(&format!("samples {channel}")).map_err(cannot("name"))?;
    until("open the service", || {
        node.service_builder(&name)
            .publish_subscribe::<Message<W>>()
            .max_publishers(setting.producers)
            .max_subscribers(setting.consumers)
            .history_size(0)
            .subscriber_max_buffer_size(setting.slots)
            .enable_safe_overflow(setting.shape == Shape::Lossy)
            .open_or_create()
    })
}

fn events(
    node: &Node<ipc::Service>,
    channel: usize,
) -> Result<event::PortFactory<ipc::Service>, Failure> {
    let name = ServiceName::new(&format!("events {channel}")).map_err(cannot("name"))?;
    until("open the service", || node.service_builder(&name).event().open_or_create())
}

impl<const EVENTS: bool> Mechanism for Iceoryx2<EVENTS> {
    type Tx<const W: usize> = Sender<W>;
    type Rx<const W: usize> = Receiver<W>;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        if EVENTS { ICEORYX2_EVENTS } else { ICEORYX2 }.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        Ok(named())
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Sender<W>, Failure> {
        let node = node(shared)?;
        let samples = samples::<W>(&node, setting, channel)?;
        let publisher = samples.publisher_builder().create().map_err(cannot("publish"))?;
        let notifier = if EVENTS {
            let notifier = events(&node, channel)?.notifier_builder().create();
            Some(notifier.map_err(cannot("notify"))?)
        } else {
            None
        };
        Ok(Sender { publisher, notifier, _node: node })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Receiver<W>, Failure> {
        let node = node(shared)?;
        let samples = samples::<W>(&node, setting, channel)?;
        let subscriber = samples.subscriber_builder().create().map_err(cannot("subscribe"))?;
        let listener = if EVENTS {
            let listener = events(&node, channel)?.listener_builder().create();
            Some(listener.map_err(cannot("listen"))?)
        } else {
            None
        };
        Ok(Receiver { subscriber, listener, crowded: !setting.undisturbed(), _node: node })
    }
}

impl<const W: usize> Tx<W> for Sender<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let sample = self.publisher.loan_uninit().map_err(cannot("loan a sample"))?;
            let sample = sample.write_payload([number; W]);
            sample.send().map_err(cannot("send a sample"))?;
            if let Some(notifier) = &self.notifier {
                notifier.notify().map_err(cannot("notify"))?;
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Receiver<W> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        loop {
            if let Some(sample) = self.subscriber.receive().map_err(cannot("receive a sample"))? {
                see(&sample);
                return Ok(1);
            }
            match &self.listener {
                Some(listener) => {
                    listener.blocking_wait(|_| {}).map(drop).map_err(cannot("wait"))?
                }
                None => pause(self.crowded),
            }
        }
    }
}
