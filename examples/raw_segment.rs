//! Raw shared memory: why it contains only offsets.
//!
//! `cargo run --example raw_segment`
//!
//! The example attaches one segment twice, at two addresses, as two processes
//! would. A list written through one address is read through the other, because
//! its links count from the start of the segment.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use tombolo::sys::shm::{Attachment, Shm};
use tombolo::sys::{Key, Result};

/// An element of the list. Offset 0 ends it: there the list's head is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Node {
    value: u64,
    next: u64,
}

/// Where a node is in this mapping; panics if that is outside it.
fn node(memory: &Attachment, offset: u64) -> NonNull<Node> {
    let offset = usize::try_from(offset).expect("64 bits");
    assert!(offset.is_multiple_of(align_of::<Node>()));
    assert!(offset <= memory.len() - size_of::<Node>());
    // SAFETY: inside the mapping, just checked.
    unsafe { memory.as_non_null().add(offset) }.cast()
}

fn read(memory: &Attachment, offset: u64) -> Node {
    // SAFETY: in bounds and aligned (`node`), any bytes are a `Node`, and
    // nobody writes at the same time: this is the only process.
    unsafe { node(memory, offset).read() }
}

fn write(memory: &Attachment, offset: u64, value: Node) {
    // SAFETY: as in `read`.
    unsafe { node(memory, offset).write(value) };
}

fn main() -> Result<()> {
    let segment = Shm::options().create(Key::PRIVATE, 4096)?;
    let (one, other) = (segment.attach()?, segment.attach()?);
    // Its memory goes with the last attachment, even if this is killed.
    segment.remove()?;
    println!("attached at {:p} and at {:p}", one.as_ptr(), other.as_ptr());

    for value in 1..=5 {
        let (offset, head) = (64 * value, read(&one, 0).next);
        write(&one, offset, Node { value, next: head });
        write(&one, 0, Node { value: 0, next: offset });
    }
    let mut at = read(&other, 0).next;
    while at != 0 {
        let Node { value, next } = read(&other, at);
        println!("at offset {at:3}: value {value}, next at {next:3}");
        at = next;
    }
    Ok(())
}
