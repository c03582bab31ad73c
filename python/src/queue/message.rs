//! An object as a message: its bytes, and behind them what they are.
//!
//! ```text
//!  PICKLED  pickle | 0
//!  BYTES    the bytes | 1
//!  BUFFERS  pickle | its buffers, each at a multiple of 64 | their table | 2
//!           table: of the pickle and each buffer, the length and whether it is
//!           read-only (two words), and how many there are (a word)
//!  ARRAY    the same with what the array is in place of a pickle | 3
//! ```
//!
//! A pickle ends itself, so what is behind it is in nobody's way. A buffer is what a pickle
//! of protocol 5 has beside it: the memory of an array, for example, which is copied once into
//! the segment and once out of it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};
use tombolo::{ByteDelivery, Bytes, Mpmc, OwnedDelivery};

use crate::buffer;
use crate::errors::raise;

/// What a message is.
pub(super) const PICKLED: u8 = 0;
const BYTES: u8 = 1;
const BUFFERS: u8 = 2;
const ARRAY: u8 = 3;

/// Where buffers begin.
const ALIGN: usize = 64;
const WORD: usize = 8;

/// An object that is to be sent.
pub(super) struct Outgoing<'a> {
    pub(super) tag: u8,
    pub(super) payload: &'a [u8],
    /// Of each buffer: its bytes, and whether it is read-only.
    pub(super) buffers: Vec<(&'a [u8], bool)>,
}

impl<'a> Outgoing<'a> {
    const fn has_buffers(&self) -> bool {
        matches!(self.tag, BUFFERS | ARRAY)
    }

    /// Has `put` put each part to its offset.
    pub(super) fn write(&self, mut put: impl FnMut(usize, &[u8])) {
        put(0, self.payload);
        let mut end = self.payload.len();
        if self.has_buffers() {
            let mut table = Vec::with_capacity(2 * WORD * (self.buffers.len() + 1) + WORD);
            let mut row = |bytes: &[u8], read_only: bool| {
                table.extend((bytes.len() as u64).to_le_bytes());
                table.extend(u64::from(read_only).to_le_bytes());
            };
            row(self.payload, true);
            for &(bytes, read_only) in &self.buffers {
                end = end.next_multiple_of(ALIGN);
                put(end, bytes);
                end += bytes.len();
                row(bytes, read_only);
            }
            table.extend((self.buffers.len() as u64 + 1).to_le_bytes());
            put(end, &table);
            end += table.len();
        }
        put(end, &[self.tag]);
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        let payload = self.payload.len();
        if !self.has_buffers() {
            return payload + 1;
        }
        let place =
            |end: usize, &(bytes, _): &(&[u8], bool)| end.next_multiple_of(ALIGN) + bytes.len();
        let end = self.buffers.iter().fold(payload, place);
        end + 2 * WORD * (self.buffers.len() + 1) + WORD + 1
    }

    /// In one piece.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.len()];
        self.write(|at, bytes| all[at..at + bytes.len()].copy_from_slice(bytes));
        all
    }
}

/// A message that was taken.
pub(super) type Taken = OwnedDelivery<Bytes, Mpmc>;

/// The bytes of a message, copied out.
pub(super) struct Received {
    tag: u8,
    payload: Py<PyBytes>,
    buffers: Vec<Py<PyAny>>,
}

/// That a message is none of ours.
fn damaged() -> PyErr {
    raise("Corrupt", "a message of the queue is damaged: another process wrote over it".into())
}

impl Received {
    pub(super) fn of(py: Python<'_>, taken: &ByteDelivery<'_>) -> PyResult<Self> {
        let end = taken.len().checked_sub(1).ok_or_else(damaged)?;
        let mut tag = [0];
        taken.read_at(end, &mut tag);
        let [tag] = tag;
        match tag {
            PICKLED | BYTES => {
                Ok(Self { tag, payload: bytes(py, taken, 0, end)?, buffers: Vec::new() })
            }
            BUFFERS | ARRAY => Self::with_buffers(py, taken, end, tag),
            _ => Err(damaged()),
        }
    }

    fn with_buffers(
        py: Python<'_>,
        taken: &ByteDelivery<'_>,
        end: usize,
        tag: u8,
    ) -> PyResult<Self> {
        let word = |at: usize| {
            let mut word = [0; WORD];
            taken.read_at(at, &mut word);
            usize::try_from(u64::from_le_bytes(word)).unwrap_or(usize::MAX)
        };
        let last = end.checked_sub(WORD).ok_or_else(damaged)?;
        let table = word(last).checked_mul(2 * WORD).and_then(|size| last.checked_sub(size));
        let table = table.ok_or_else(damaged)?;
        let mut rows = (table..last).step_by(2 * WORD).map(|at| (word(at), word(at + WORD) != 0));
        let (length, _) = rows.next().filter(|row| row.0 <= table).ok_or_else(damaged)?;
        let payload = bytes(py, taken, 0, length)?;
        let mut buffers = Vec::new();
        let mut place = length;
        for (length, read_only) in rows {
            let start = place.next_multiple_of(ALIGN);
            place = start.checked_add(length).filter(|&end| end <= table).ok_or_else(damaged)?;
            buffers.push(if read_only {
                bytes(py, taken, start, length)?.into_any()
            } else {
                let fill = |into: &mut [_]| taken.read_uninit_at(start, into);
                buffer::byte_array(py, length, fill)?.into_any().unbind()
            });
        }
        Ok(Self { tag, payload, buffers })
    }

    /// The object.
    pub(super) fn object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        static ARRAY_OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if self.tag == BYTES {
            return Ok(self.payload.into_any());
        }
        if self.tag == ARRAY {
            let array = ARRAY_OF.get_or_try_init(py, || {
                let module = py.import("tombolo.multiprocessing")?;
                Ok::<_, PyErr>(module.getattr("_array")?.unbind())
            })?;
            return array.call1(py, (self.payload, PyList::new(py, self.buffers)?));
        }
        let loads = LOADS
            .get_or_try_init(py, || {
                Ok::<_, PyErr>(py.import("pickle")?.getattr("loads")?.unbind())
            })?
            .bind(py);
        let object = if self.tag == BUFFERS {
            let options = PyDict::new(py);
            options.set_item("buffers", PyList::new(py, self.buffers)?)?;
            loads.call((self.payload,), Some(&options))?
        } else {
            loads.call1((self.payload,))?
        };
        Ok(object.unbind())
    }
}

/// A part of a message as bytes.
fn bytes(
    py: Python<'_>,
    taken: &ByteDelivery<'_>,
    start: usize,
    length: usize,
) -> PyResult<Py<PyBytes>> {
    let bytes = buffer::bytes(py, length, |into| taken.read_uninit_at(start, into))?;
    Ok(bytes.unbind())
}
