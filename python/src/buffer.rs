//! The buffer protocol, in both directions: bytes of an object that are sent, and the place of
//! a message in shared memory, shown to Python.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::{ptr, slice};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::channel::Layout;

/// The bytes of an object, for as long as this is kept.
pub(crate) enum Incoming<'py> {
    Bytes(Bound<'py, PyBytes>),
    Buffer(Lent<'py>),
}

/// A buffer that an object lends.
pub(crate) struct Lent<'py> {
    view: Box<ffi::Py_buffer>,
    _py: Python<'py>,
}

impl<'py> Incoming<'py> {
    pub(crate) fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        match object.cast::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes.clone())),
            Err(_) => Lent::of(object).map(Self::Buffer),
        }
    }

    /// A program that writes to the object while it is sent, in another thread, sends a mixture:
    /// as with every function that takes a buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Buffer(lent) => lent.bytes(),
        }
    }
}

impl<'py> Lent<'py> {
    fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::uninit());
        // SAFETY: the object is alive, and the view is written as a whole if it succeeds.
        let got = unsafe {
            ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_SIMPLE)
        };
        if got != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: it was written above.
        let view = unsafe { view.assume_init() };
        Ok(Self { view, _py: object.py() })
    }

    fn bytes(&self) -> &[u8] {
        match usize::try_from(self.view.len) {
            Ok(length) if length > 0 => {
                let first = self.view.buf.cast_const().cast();
                // SAFETY: the exporter keeps so many bytes there until the view is released.
                unsafe { slice::from_raw_parts(first, length) }
            }
            _ => &[],
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // SAFETY: it was filled by `PyObject_GetBuffer`, and this thread is attached.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) };
    }
}

/// New objects with so many bytes, into which `fill` copies: it returns how many it has copied.
macro_rules! filled {
    ($($(#[$doc:meta])* $name:ident: $class:ident, $make:ident, $first:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name<'py>(
            py: Python<'py>,
            length: usize,
            fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
        ) -> PyResult<Bound<'py, $class>> {
            let size = isize::try_from(length)?;
            // SAFETY: this thread is attached. Without bytes to copy, it only makes room.
            let object = unsafe { ffi::$make(ptr::null(), size) };
            // SAFETY: it is new, or null with an exception.
            let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
            // SAFETY: it is of that class.
            let first = unsafe { ffi::$first(object.as_ptr()) };
            // SAFETY: it has room for so many, and nobody else knows it.
            let room = unsafe { slice::from_raw_parts_mut(first.cast::<MaybeUninit<u8>>(), length) };
            let count = fill(room);
            room[count.min(length)..].fill(MaybeUninit::new(0));
            Ok(object.cast_into::<$class>()?)
        }
    )*};
}

filled! {
    /// New bytes.
    bytes: PyBytes, PyBytes_FromStringAndSize, PyBytes_AsString;
    /// A new array of bytes.
    byte_array: PyByteArray, PyByteArray_FromStringAndSize, PyByteArray_AsString;
}

/// The place of a message.
pub(crate) struct Place<'a> {
    pub(crate) first: *mut u8,
    pub(crate) length: usize,
    pub(crate) readonly: bool,
    pub(crate) layout: Option<&'a Layout>,
}

/// Shape and strides of a view, which it points to.
struct Dimensions {
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
}

impl Dimensions {
    fn new(item: usize, shape: &[usize]) -> Self {
        let shape: Vec<_> = shape.iter().map(|&n| n.cast_signed()).collect();
        let mut strides = vec![item.cast_signed(); shape.len()];
        for at in (1..shape.len()).rev() {
            strides[at - 1] = strides[at].wrapping_mul(shape[at]);
        }
        Self { shape, strides }
    }
}

const BYTES: &CStr = c"B";

/// Fills a view of a place that `object` keeps until the view is released.
///
/// # Safety
/// `view` is what `__getbuffer__` was given, and the place stays until `__releasebuffer__`.
pub(crate) unsafe fn export(
    object: Bound<'_, PyAny>,
    place: &Place<'_>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    // SAFETY: the caller's; null is told apart.
    let Some(view) = (unsafe { view.as_mut() }) else {
        return Err(PyBufferError::new_err("there is no view to fill"));
    };
    view.obj = ptr::null_mut();
    if place.readonly && flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
        return Err(PyBufferError::new_err("a received message is read-only"));
    }
    // The channel's element has its size from the segment.
    let fits = |layout: &&Layout| {
        let product = |product: usize, &n: &usize| product.checked_mul(n);
        layout.shape.iter().try_fold(layout.item, product) == Some(place.length)
    };
    let (format, item, dimensions) = match place.layout.filter(fits) {
        Some(layout) => (&*layout.format, layout.item, Dimensions::new(layout.item, &layout.shape)),
        None => (BYTES, 1, Dimensions::new(1, &[place.length])),
    };
    let wants = |flag: c_int| flags & flag == flag;
    let dims = dimensions.shape.len();
    if wants(ffi::PyBUF_F_CONTIGUOUS) && dims > 1 {
        return Err(PyBufferError::new_err("a message is contiguous as C is, not as Fortran"));
    }
    let dimensions = Box::new(dimensions);
    view.buf = place.first.cast::<c_void>();
    view.len = place.length.cast_signed();
    view.readonly = c_int::from(place.readonly);
    view.itemsize = item.cast_signed();
    view.format = match wants(ffi::PyBUF_FORMAT) {
        true => format.as_ptr().cast_mut(),
        false => ptr::null_mut(),
    };
    view.ndim = dims as c_int;
    view.shape = match wants(ffi::PyBUF_ND) {
        true => dimensions.shape.as_ptr().cast_mut(),
        false => ptr::null_mut(),
    };
    view.strides = match wants(ffi::PyBUF_STRIDES) {
        true => dimensions.strides.as_ptr().cast_mut(),
        false => ptr::null_mut(),
    };
    view.suboffsets = ptr::null_mut();
    view.internal = Box::into_raw(dimensions).cast();
    view.obj = object.into_ptr();
    Ok(())
}

/// Frees what [`export`] has made for this view.
///
/// # Safety
/// `view` is what `__releasebuffer__` was given.
pub(crate) unsafe fn release(view: *mut ffi::Py_buffer) {
    // SAFETY: the caller's; null is told apart.
    let Some(view) = (unsafe { view.as_mut() }) else { return };
    let dimensions = view.internal.cast::<Dimensions>();
    view.internal = ptr::null_mut();
    if !dimensions.is_null() {
        // SAFETY: `export` has made it, and it is freed here only.
        drop(unsafe { Box::from_raw(dimensions) });
    }
}
