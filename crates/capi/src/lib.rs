//! Tombolo for C: what `include/tombolo.h` declares.
//!
//! Each function is a door: it checks what it is given, calls the library, turns its error into
//! a number and a message, and lets no panic out. The comments of the functions and types here
//! are those of the header, which a test compares with them.
//!
//! A pointer that may be null is an `Option` of a reference; one through which a handle is given
//! out, or taken back, is a reference to an `Option<Box<_>>`. So the signatures say who owns
//! what, and only text and bytes are read through raw pointers.

// Names of C's, and for the linker. The callers' pointers are read and written in `given` alone.
#![allow(non_camel_case_types, unsafe_code)]

mod calls;
mod channel;
mod events;
mod failure;
mod given;
mod interrupt;
mod receiver;
mod segment;
mod sender;
mod status;
mod wait_set;

pub use calls::{
    tombolo_call, tombolo_client, tombolo_client_close, tombolo_client_open, tombolo_refuse,
    tombolo_reply, tombolo_request, tombolo_request_data, tombolo_serve, tombolo_server,
    tombolo_server_close, tombolo_server_open, tombolo_service,
};
pub use channel::{tombolo_channel, tombolo_channel_info, tombolo_channel_inspect};
pub use events::{
    tombolo_event, tombolo_events, tombolo_events_close, tombolo_events_next, tombolo_events_open,
};
pub use failure::{tombolo_last_error, tombolo_version};
pub use given::{TOMBOLO_FOREVER, TOMBOLO_NOW};
pub use interrupt::tombolo_interrupt;
pub use receiver::{
    tombolo_batch, tombolo_batch_free, tombolo_batch_get, tombolo_batch_new, tombolo_delivery,
    tombolo_delivery_attempts, tombolo_delivery_data, tombolo_delivery_give_back,
    tombolo_delivery_release, tombolo_receiver, tombolo_receiver_cancel, tombolo_receiver_close,
    tombolo_receiver_fd, tombolo_receiver_open, tombolo_receiver_status, tombolo_recv,
    tombolo_recv_batch, tombolo_take,
};
pub use segment::{
    tombolo_options, tombolo_segment, tombolo_segment_anonymous, tombolo_segment_close,
    tombolo_segment_command, tombolo_segment_inherit, tombolo_segment_name, tombolo_segment_open,
    tombolo_segment_remove, tombolo_segment_remove_named, tombolo_segment_state,
};
pub use sender::{
    tombolo_bytes, tombolo_grant, tombolo_grant_abort, tombolo_grant_commit, tombolo_grant_data,
    tombolo_reserve, tombolo_send, tombolo_send_batch, tombolo_sender, tombolo_sender_cancel,
    tombolo_sender_close, tombolo_sender_fd, tombolo_sender_open, tombolo_sender_status,
    tombolo_wait_for_subscribers,
};
pub use status::tombolo_status;
pub use wait_set::{
    tombolo_ready, tombolo_wait_set, tombolo_wait_set_add_receiver, tombolo_wait_set_add_sender,
    tombolo_wait_set_free, tombolo_wait_set_new, tombolo_wait_set_remove, tombolo_wait_set_wait,
    tombolo_wait_set_wake,
};
