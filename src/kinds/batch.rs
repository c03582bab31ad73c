//! Messages of bytes in one buffer.

use core::fmt;
use core::iter::FusedIterator;

/// Messages of bytes, one behind the other in one buffer: what
/// [`ByteReceiver::recv_batch_into`](crate::ByteReceiver) fills. A batch that is
/// [cleared](Self::clear) keeps its memory, so receiving into it again allocates nothing.
///
/// ```
/// use tombolo::{ByteBatch, Segment};
///
/// let segment = Segment::anonymous()?;
/// let lines = segment.bytes("lines").capacity(8, 80);
/// let (sender, receiver) = (lines.sender()?, lines.receiver()?);
/// sender.send_batch(&[b"one", b"two", b"three"])?;
///
/// let mut batch = ByteBatch::new();
/// while receiver.recv_batch_into(&mut batch, 64)? < 3 {}
/// assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"one"[..], b"two", b"three"]);
/// assert_eq!(batch.as_bytes(), b"onetwothree");
/// batch.clear();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ByteBatch {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl ByteBatch {
    /// A batch without messages. It allocates nothing.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// A batch with room for so many messages, of so many bytes together.
    pub fn with_capacity(messages: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(messages) }
    }

    /// How many messages there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no message.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all messages, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The message at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start..end)
    }

    /// The bytes of all messages, without anything between them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.end()]
    }

    /// The messages, in the order in which they came.
    pub fn iter(&self) -> ByteBatchIter<'_> {
        ByteBatchIter { bytes: &self.bytes, ends: self.ends.iter(), start: 0 }
    }

    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Has `add` add a message at the end of the buffer, unless that answers with an error.
    #[inline(always)]
    pub(crate) fn append<E>(
        &mut self,
        add: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        add(&mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// To be called before messages are added: removes what an append has left that ended by
    /// a panic.
    pub(crate) fn begin(&mut self) {
        self.bytes.truncate(self.end());
    }
}

impl fmt::Debug for ByteBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a ByteBatch {
    type Item = &'a [u8];
    type IntoIter = ByteBatchIter<'a>;

    fn into_iter(self) -> ByteBatchIter<'a> {
        self.iter()
    }
}

/// An iterator over the messages of a [`ByteBatch`].
#[derive(Clone, Debug)]
pub struct ByteBatchIter<'a> {
    bytes: &'a [u8],
    ends: core::slice::Iter<'a, usize>,
    start: usize,
}

impl<'a> Iterator for ByteBatchIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = *self.ends.next()?;
        let message = self.bytes.get(self.start..end);
        self.start = end;
        message
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for ByteBatchIter<'_> {}
impl FusedIterator for ByteBatchIter<'_> {}
