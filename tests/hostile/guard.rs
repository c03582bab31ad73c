//! Turns an access beyond a segment, or unbounded memory, into a crash.
//!
//! This program's `shmat` replaces that of the C library. Every attachment lies between
//! inaccessible regions. The rest of its last page cannot be such a region: a write there
//! is found when the segment is detached. Under AddressSanitizer (`.ci/sanitize`), a read
//! there is a crash too.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tombolo::sys::shm::Shm;

/// Before and behind an attachment: further than any index here is wrong by.
const APART: usize = 16 << 20;
const PAGE: usize = 4_096;
const SHM_REMAP: c_int = 0o40000;

/// An attachment: where, its bytes, and the rest of its last page.
struct Place {
    at: usize,
    len: usize,
    tail: usize,
    writable: bool,
}

static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());
/// How many attachments there have been.
pub(crate) static ATTACHED: AtomicUsize = AtomicUsize::new(0);

fn fatal(what: &str) -> ! {
    // Not `eprintln`, which allocates.
    // SAFETY: the bytes are there.
    let _ = unsafe { libc::write(2, what.as_ptr().cast(), what.len()) };
    std::process::abort()
}

/// Says to AddressSanitizer whether these bytes may be touched.
#[cfg(tombolo_asan)]
fn forbid(address: usize, len: usize, forbidden: bool) {
    unsafe extern "C" {
        safe fn __asan_poison_memory_region(address: *const c_void, len: usize);
        safe fn __asan_unpoison_memory_region(address: *const c_void, len: usize);
    }
    let address = address as *const c_void;
    match forbidden {
        true => __asan_poison_memory_region(address, len),
        false => __asan_unpoison_memory_region(address, len),
    }
}

#[cfg(not(tombolo_asan))]
fn forbid(_: usize, _: usize, _: bool) {}

/// Attaches as the C library does, between regions of its own.
#[unsafe(no_mangle)]
extern "C" fn shmat(id: c_int, address: *const c_void, flags: c_int) -> *mut c_void {
    let attach = |at: usize, flags: c_int| {
        let (id, flags) = (c_long::from(id), c_long::from(flags));
        // SAFETY: at an address that the kernel chooses, or over a region
        // that was reserved for it.
        unsafe { libc::syscall(libc::SYS_shmat, id, at, flags) as usize }
    };
    let size = Shm::from_id(id).stat_any().map(|stat| stat.size);
    let (true, Ok(len)) = (address.is_null(), size) else {
        return attach(address.addr(), flags) as *mut c_void;
    };
    let room = len.next_multiple_of(PAGE) + 2 * APART;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: where nothing else is.
    let whole = unsafe { libc::mmap(ptr::null_mut(), room, libc::PROT_NONE, kind, -1, 0) };
    if whole == libc::MAP_FAILED {
        fatal("no room for an attachment\n");
    }
    let at = attach(whole.addr() + APART, flags | SHM_REMAP);
    if at == usize::MAX {
        // SAFETY: reserved just now; nothing was attached. The error's number
        // stays, for this cannot fail.
        unsafe { libc::munmap(whole, room) };
        return at as *mut c_void;
    }
    let tail = len.next_multiple_of(PAGE) - len;
    forbid(at + len, tail, true);
    ATTACHED.fetch_add(1, Ordering::Relaxed);
    let place = Place { at, len, tail, writable: flags & libc::SHM_RDONLY == 0 };
    PLACES.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    at as *mut c_void
}

/// Detaches, the regions with it.
#[unsafe(no_mangle)]
extern "C" fn shmdt(address: *const c_void) -> c_int {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(n) = places.iter().position(|place| place.at == address.addr()) else {
        // SAFETY: by the caller.
        return unsafe { libc::syscall(libc::SYS_shmdt, address) } as c_int;
    };
    let place = places.swap_remove(n);
    drop(places);
    let tail = place.at + place.len;
    forbid(tail, place.tail, false);
    // SAFETY: the rest of the last page, which is attached.
    let tail = unsafe { slice::from_raw_parts(tail as *const u8, place.tail) };
    if place.writable && tail.iter().any(|&byte| byte != 0) {
        fatal("something was written behind the segment\n");
    }
    let (whole, room) = (place.at - APART, place.len + place.tail + 2 * APART);
    // All at once, so that nobody else's memory comes to be there in between.
    // SAFETY: the caller gives the attachment up; the rest is nobody's.
    unsafe { libc::munmap(whole as *mut c_void, room) }
}

/// An allocator with bounds: what asks for more ends.
#[derive(Debug)]
pub(crate) struct Bounded;

/// More than all that is in these segments.
const AT_ONCE: usize = 4 << 20;
const TOGETHER: usize = 256 << 20;
static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's, or nothing.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // Printing where a panic came from takes memory, which is nobody's fault.
        if (layout.size() > AT_ONCE || held > TOGETHER) && !std::thread::panicking() {
            fatal("memory without bound\n");
        }
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}
