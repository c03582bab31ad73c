//! A channel to open, or to create if a capacity is given.

use std::ffi::CString;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tombolo::{AnyChannel, ChannelKind, Segment as Handle};

use crate::errors::{OrRaise, bad_option};
use crate::segment::Segment;

/// How a message in place is shown to who asks for its buffer: items of a format, in a shape.
pub(crate) struct Layout {
    pub(crate) format: CString,
    pub(crate) item: usize,
    pub(crate) shape: Vec<usize>,
}

/// The description of a channel. Nothing is opened by it.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Channel {
    segment: Py<Segment>,
    name: String,
    /// Without one, the channel is taken as it is.
    kind: Option<ChannelKind>,
    element: Option<(usize, usize, String)>,
    longest: Option<usize>,
    /// Of a service.
    replies: Replies,
    capacity: Option<usize>,
    redeliver: Option<u8>,
    lasting: bool,
    publishers: Option<u16>,
    reliable: Option<u16>,
    layout: Option<Arc<Layout>>,
}

/// What the replies of a service are: elements, or bytes of up to a longest.
#[derive(Default)]
struct Replies {
    element: Option<(usize, usize, String)>,
    longest: Option<usize>,
}

impl Channel {
    /// Opens it, and does something with it.
    pub(crate) fn with<R>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&AnyChannel<'_>) -> PyResult<R> + Send,
    ) -> PyResult<R>
    where
        R: Send,
    {
        let segment = self.segment.get().handle()?;
        py.detach(|| act(&self.open(&segment)?))
    }

    fn open<'a>(&'a self, segment: &'a Handle) -> PyResult<AnyChannel<'a>> {
        let Some(kind) = self.kind else { return segment.open_channel(&self.name).or_raise() };
        let mut channel = segment.any_channel(&self.name, kind);
        if let Some((size, align, schema)) = &self.element {
            channel = channel.element(*size, *align, schema);
        }
        if let Some(longest) = self.longest {
            channel = channel.longest(longest);
        }
        if let Some((size, align, schema)) = &self.replies.element {
            channel = channel.reply(*size, *align, schema);
        }
        if let Some(longest) = self.replies.longest {
            channel = channel.longest_reply(longest);
        }
        if let Some(capacity) = self.capacity {
            channel = channel.capacity(capacity);
        }
        if let Some(redeliver) = self.redeliver {
            channel = channel.redeliver(redeliver);
        }
        if let Some(publishers) = self.publishers {
            channel = channel.publishers(publishers);
        }
        if let Some(reliable) = self.reliable {
            channel = channel.reliable(reliable);
        }
        if self.lasting {
            channel = channel.lasting();
        }
        channel.open().or_raise()
    }

    pub(crate) fn layout(&self) -> Option<Arc<Layout>> {
        self.layout.clone()
    }
}

fn kind(name: &str) -> PyResult<ChannelKind> {
    Ok(match name {
        "mpmc" => ChannelKind::Mpmc,
        "mpmc bytes" => ChannelKind::MpmcBytes,
        "spsc" => ChannelKind::Spsc,
        "spsc bytes" => ChannelKind::SpscBytes,
        "broadcast" => ChannelKind::Broadcast,
        "broadcast bytes" => ChannelKind::BroadcastBytes,
        "calls" => ChannelKind::Calls,
        "calls bytes" => ChannelKind::CallsBytes,
        _ => return Err(bad_option(format!("there is no kind of channel {name}"))),
    })
}

fn name_of(kind: ChannelKind) -> String {
    kind.to_string().to_lowercase()
}

#[pymethods]
impl Channel {
    #[new]
    #[pyo3(signature = (
        segment, name, *, kind = None, element = None, longest = None, reply = None,
        longest_reply = None, capacity = None, redeliver = None, lasting = false,
        publishers = None, reliable = None, layout = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "one for each option, by name")]
    fn new(
        segment: Py<Segment>,
        name: String,
        kind: Option<&str>,
        element: Option<(usize, usize, String)>,
        longest: Option<usize>,
        reply: Option<(usize, usize, String)>,
        longest_reply: Option<usize>,
        capacity: Option<usize>,
        redeliver: Option<u8>,
        lasting: bool,
        publishers: Option<u16>,
        reliable: Option<u16>,
        layout: Option<(String, usize, Vec<usize>)>,
    ) -> PyResult<Self> {
        let kind = kind.map(self::kind).transpose()?;
        let layout = layout
            .map(|(format, item, shape)| {
                let format = CString::new(format)?;
                Ok::<_, PyErr>(Arc::new(Layout { format, item, shape }))
            })
            .transpose()?;
        Ok(Self {
            segment,
            name,
            kind,
            element,
            longest,
            replies: Replies { element: reply, longest: longest_reply },
            capacity,
            redeliver,
            lasting,
            publishers,
            reliable,
            layout,
        })
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The segment that it is in.
    #[getter]
    fn segment(&self, py: Python<'_>) -> Py<Segment> {
        self.segment.clone_ref(py)
    }

    /// What the channel is, whoever has created it. It is created if a capacity is given.
    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (kind, schema, sizes, align, capacity, lasting, fingerprint) =
            self.with(py, |channel| {
                Ok((
                    name_of(channel.kind()),
                    channel.schema().to_owned(),
                    (channel.element_size(), channel.reply_size()),
                    channel.element_align(),
                    channel.capacity(),
                    channel.is_lasting(),
                    channel.fingerprint(),
                ))
            })?;
        let said = PyDict::new(py);
        said.set_item("kind", kind)?;
        said.set_item("schema", schema)?;
        said.set_item("size", sizes.0)?;
        said.set_item("reply_size", sizes.1)?;
        said.set_item("align", align)?;
        said.set_item("capacity", capacity)?;
        said.set_item("lasting", lasting)?;
        said.set_item("fingerprint", fingerprint)?;
        Ok(said)
    }
}
