// Tombolo for C and C++: channels in shared memory between processes that survive kill -9.
//
// This file is made from the source of crates/capi. docs/c.md is the guide; tombolo.hpp has
// classes for C++.
//
//     tombolo_segment *segment;
//     tombolo_sender *sender;
//     tombolo_channel lines = {.struct_size = sizeof lines, .kind = TOMBOLO_MPMC_BYTES,
//                              .longest = 4096, .capacity = 100};
//     if (tombolo_segment_open("log", NULL, &segment) < 0 ||
//         tombolo_sender_open(segment, "lines", &lines, &sender) < 0 ||
//         tombolo_send(sender, "a line", 6, TOMBOLO_FOREVER) < 0)
//         fprintf(stderr, "%s\n", tombolo_last_error());
//     tombolo_sender_close(&sender);
//     tombolo_segment_close(&segment);
//
// RESULTS. A function that returns int returns 0, or a count where it says so; or a negative
// errno. Then tombolo_last_error() says what happened, to which object, and what to do. A function
// that returns a pointer returns null instead. Null in place of what must be there is −EINVAL, and
// so is a handle that was closed: closing sets it to null.
//
//     −EAGAIN        TOMBOLO_NOW: it would have to wait
//     −ETIMEDOUT     the time is up
//     −EPIPE         the other side is gone: no message is left, or nobody receives
//     −EINTR         the check of tombolo_interrupt has ended the wait
//     −ECANCELED     the end is cancelled
//     −EBUSY         the handle does one thing at a time, and another thread or message has it;
//                    or another process has been creating or joining the segment for too long
//     −ECHILD        the handle belongs to the process that this one was forked from
//     −EIDRM         the segment was removed
//     −ESHUTDOWN     the segment is drained or shut down
//     −EMSGSIZE      the message, or the room for it, has the wrong size
//     −EOVERFLOW     a subscriber has missed messages; receive again
//     −EOWNERDEAD    the server of the call has died
//     −ECOMM         it is done, but the kernel refuses to wake a process that sleeps
//     −EPROTOTYPE    the channel is of another kind, type or capacity
//     −ENOENT        there is no such segment or channel, and it was not to be created
//     −EADDRINUSE    the SPSC channel has its one sender or receiver already
//     −EUSERS        a limit: participants, publishers, reliable subscribers, handles
//     −EUCLEAN       another process has written over the segment
//     −ENOTRECOVERABLE  a mistake in the library, which has ended the call
//     others         what the kernel says
//
// THREADS. Handles may be used by any thread, and by several at once, where a function does not
// say otherwise. Do not close a handle that another thread is using.
//
// TIME-OUTS are in nanoseconds: TOMBOLO_NOW does not wait, TOMBOLO_FOREVER waits as long as it
// takes. A signal ends no wait, but as tombolo_interrupt says.
//
// FORK. A child uses no handle of its parent's: calls return −ECHILD, and closing frees memory
// alone. It opens the segment anew.
//
// CRASHES. A process may be killed at any instant. What it had in hand comes again, what it was
// writing is not seen, and those who wait for it are woken.
//
// OPTIONS are structs that begin with their size: set struct_size to sizeof, and all else to 0.
// Later versions add fields at the end.

#ifndef TOMBOLO_H
#define TOMBOLO_H

#include <stddef.h>
#include <stdint.h>

// A time-out without end: the call waits until it is done, or cannot go on.
#define TOMBOLO_FOREVER -1

// A time-out of nothing: the call does not wait, and returns −EAGAIN instead.
#define TOMBOLO_NOW 0

// How a segment is found: `tombolo_options.how`. It is opened, or created if there is none.
#define TOMBOLO_OPEN_OR_CREATE 0

// It must exist: otherwise −ENOENT.
#define TOMBOLO_OPEN 1

// It must not exist: otherwise −EEXIST.
#define TOMBOLO_CREATE 2

// The last participant to leave removes the segment: a flag of `tombolo_options.flags`.
#define TOMBOLO_TRANSIENT 1

// Memory is not reserved until it is touched.
#define TOMBOLO_NO_RESERVE 2

// Every page is mapped when the segment is opened.
#define TOMBOLO_PREFAULT 4

// Notifiers make full fences: for sandboxes without membarrier(2).
#define TOMBOLO_SYMMETRIC_FENCES 8

// Core dumps of this process leave the segment out.
#define TOMBOLO_NO_CORE_DUMPS 16

// A segment of any user is opened, and not only one of this user or of root.
#define TOMBOLO_ANY_OWNER 32

// The state of a segment, as `tombolo_segment_state` returns it: open for messages.
#define TOMBOLO_STATE_OPEN 0

// Senders wait.
#define TOMBOLO_STATE_PAUSED 1

// No new messages are taken, and some senders have not stopped yet.
#define TOMBOLO_STATE_DRAINING 2

// No new messages are taken.
#define TOMBOLO_STATE_DRAINED 3

// Nothing is sent or received.
#define TOMBOLO_STATE_SHUTDOWN 4

// A command for `tombolo_segment_command`: makes all senders wait.
#define TOMBOLO_PAUSE 1

// Opens the segment again, from any other state.
#define TOMBOLO_RESUME 2

// Takes no new messages, and waits until the channels are empty.
#define TOMBOLO_DRAIN 3

// Ends every send and receive.
#define TOMBOLO_SHUTDOWN 4

// Asks all participants for a sign of life.
#define TOMBOLO_PING 5

// A kind of channel, of `tombolo_channel.kind`: any number of senders and receivers; elements
// of one size.
#define TOMBOLO_MPMC 1

// One sender and one receiver; elements of one size.
#define TOMBOLO_SPSC 2

// Any number of senders and receivers; bytes of any length up to a longest.
#define TOMBOLO_MPMC_BYTES 3

// One sender and one receiver; bytes of any length up to a longest.
#define TOMBOLO_SPSC_BYTES 4

// Each subscriber gets every message; elements of one size.
#define TOMBOLO_BROADCAST 5

// Each subscriber gets every message; bytes of any length up to a longest.
#define TOMBOLO_BROADCAST_BYTES 6

// A service, which `tombolo_client_open` and `tombolo_server_open` open.
#define TOMBOLO_CALLS 7

// The channel outlives its peers: a flag of `tombolo_channel.flags`. No end of it is told
// −EPIPE.
#define TOMBOLO_LASTING 1

// A message whose receiver is killed over it is dropped, and not delivered again.
#define TOMBOLO_DROP 2

// A subscriber of a broadcast channel loses nothing: publishers wait for it.
#define TOMBOLO_RELIABLE 4

// A subscriber begins with the oldest message that is retained, and not with the next one.
#define TOMBOLO_FROM_OLDEST 8

// The service outlives its clients and servers: a flag of `tombolo_service.flags`.
#define TOMBOLO_SERVICE_LASTING 1

// An event, of `tombolo_event.kind`: a participant has joined.
#define TOMBOLO_JOINED 1

// A participant has left by itself.
#define TOMBOLO_LEFT 2

// A participant has died, and what it held is given back.
#define TOMBOLO_DIED 3

// So many events were overwritten before they were read.
#define TOMBOLO_MISSED 4

// Messages that were received, side by side in one piece of memory, which can be used again.
typedef struct tombolo_batch tombolo_batch;

// The calling end of a service.
typedef struct tombolo_client tombolo_client;

// A message that is read where it is, and that is in hand until it is released or given back.
typedef struct tombolo_delivery tombolo_delivery;

// A subscription to the events of a segment.
typedef struct tombolo_events tombolo_events;

// A place in a channel for one message, which is written there.
typedef struct tombolo_grant tombolo_grant;

// The receiving end of a channel, or a subscriber.
typedef struct tombolo_receiver tombolo_receiver;

// A call that a server has taken.
typedef struct tombolo_request tombolo_request;

// A segment that is open: a share of it. Its ends of channels, and what they hold, have shares
// of their own, so it may be closed first.
typedef struct tombolo_segment tombolo_segment;

// The sending end of a channel, or a publisher.
typedef struct tombolo_sender tombolo_sender;

// The serving end of a service.
typedef struct tombolo_server tombolo_server;

// Waits for any of many senders and receivers of one segment.
typedef struct tombolo_wait_set tombolo_wait_set;

// How to open or create a segment. A null pointer, or 0 in a field, is for what is usual.
typedef struct {
  // sizeof(tombolo_options)
  size_t struct_size;
  // TOMBOLO_OPEN_OR_CREATE, TOMBOLO_OPEN or TOMBOLO_CREATE.
  uint32_t how;
  // TOMBOLO_TRANSIENT and the others, or-ed.
  uint32_t flags;
  // Bytes for all channels together (64 MiB, or what the limits allow). Pages are taken as they
  // are touched.
  size_t size;
  // How many processes can be attached at a time (64, or what the limits allow).
  uint16_t participants;
  // How many channels there can be (16).
  uint16_t channels;
  // The permissions of a new segment (0600).
  uint32_t mode;
  // How long to wait for another process that is creating, joining or leaving (10 s).
  int64_t busy_timeout_ns;
} tombolo_options;

// What a channel is that exists.
typedef struct {
  // sizeof(tombolo_channel_info)
  size_t struct_size;
  // TOMBOLO_MPMC and the others.
  uint32_t kind;
  // TOMBOLO_LASTING and TOMBOLO_DROP, or-ed.
  uint32_t flags;
  // How many bytes a message has; of messages of any length, the longest.
  size_t element_size;
  // To what a message is aligned.
  size_t element_align;
  // How many messages the channel holds.
  size_t capacity;
  // A hash of the schema, the size and the alignment.
  uint64_t fingerprint;
  // How often a message is delivered again.
  uint32_t redeliver;
  // 0.
  uint32_t reserved;
  // What a message is; "bytes". With a zero at its end.
  char schema[257];
} tombolo_channel_info;

// A channel to open, or to create if it has a capacity. 0 in a field is for what is usual. Other
// processes get −EPROTOTYPE if they describe it differently. With a kind of 0, a channel of
// whatever kind and type there is is opened, and its other fields but the flags are not looked at.
typedef struct {
  // sizeof(tombolo_channel)
  size_t struct_size;
  // TOMBOLO_MPMC and the others.
  uint32_t kind;
  // TOMBOLO_LASTING and the others, or-ed.
  uint32_t flags;
  // Elements: sizeof the type.
  size_t element_size;
  // Elements: alignof the type.
  size_t element_align;
  // Elements: what the type is, as docs/format.md says, for example "Order{id:u64,price:f64}".
  // The same text, size and alignment are the same type in all languages.
  const char *schema;
  // Bytes: how long a message may be.
  size_t longest;
  // How many messages the channel holds. 0: it must exist.
  size_t capacity;
  // How often a message is delivered again whose receiver was killed over it (8; up to 15).
  uint32_t redeliver;
  // Broadcast: how many publishers there may be (8).
  uint16_t publishers;
  // Broadcast: how many subscribers there may be for which publishers wait (16).
  uint16_t reliable;
} tombolo_channel;

// The bytes of one message.
typedef struct {
  // The first of them.
  const void *data;
  // How many there are.
  size_t length;
} tombolo_bytes;

// An end of a channel, now or a moment ago.
typedef struct {
  // sizeof(tombolo_status)
  size_t struct_size;
  // How many messages are in the channel; for a subscriber, how many it can get.
  size_t length;
  // How many messages it holds.
  size_t capacity;
  // How many bytes a message has; of messages of any length, the longest.
  size_t element_size;
  // How many messages this subscriber has missed, in all.
  uint64_t missed;
} tombolo_status;

// A member that could go on.
typedef struct {
  // The key that it was added with.
  uint64_t key;
  // 1 if it is a sender, 0 if it is a receiver.
  uint32_t sends;
  // 0.
  uint32_t reserved;
} tombolo_ready;

// A service to open, or to create if it has a capacity: of elements if `request_size` is set, and
// otherwise of bytes. With neither that nor a capacity, a service of whatever type there is is
// opened.
typedef struct {
  // sizeof(tombolo_service)
  size_t struct_size;
  // How many calls there can be at once. 0: the service must exist.
  size_t capacity;
  // Bytes: how long a request may be.
  size_t longest_request;
  // Bytes: how long a reply may be.
  size_t longest_reply;
  // TOMBOLO_SERVICE_LASTING.
  uint32_t flags;
  // How often a call of this client may be served again whose server was killed over it (0).
  uint32_t repeats;
  // Elements: sizeof the type of a request.
  size_t request_size;
  // Elements: alignof the type of a request.
  size_t request_align;
  // Elements: what a request is, as for tombolo_channel.schema.
  const char *request_schema;
  // Elements: sizeof the type of a reply.
  size_t reply_size;
  // Elements: alignof the type of a reply.
  size_t reply_align;
  // Elements: what a reply is, as for tombolo_channel.schema.
  const char *reply_schema;
} tombolo_service;

// An event in the life of a participant.
typedef struct {
  // sizeof(tombolo_event)
  size_t struct_size;
  // TOMBOLO_JOINED and the others.
  uint32_t kind;
  // Its process, as numbered in its own pid namespace.
  uint32_t pid;
  // Its user.
  uint32_t uid;
  // Its slot in the table. Slot and life together are used once.
  uint32_t slot;
  // Which of the slot's lives it is.
  uint64_t life;
  // How many events were missed, if some were.
  uint64_t missed;
  // The event in words, with a zero at their end.
  char text[256];
} tombolo_event;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What went wrong in the last call of this thread that failed, and what to do about it. Never
// null; empty if no call has failed. Valid until this thread's next call that fails.
//
// Threads: any, each has its own. Waits: never. Fork: a child has its parent's. Crash: holds
// nothing.
const char *tombolo_last_error(void);

// The library's version, as `0.1.0`.
//
// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
const char *tombolo_version(void);

// Has `check` end the waits of the calling thread with −EINTR, as soon as it returns something
// else than 0. It is called with `context` while the thread waits: after each signal that the
// thread handles, and at the latest 10 ms after any moment of a wait, so that a signal just
// before a sleep is found, too. A null `check` restores what is at first: no signal ends a wait.
// Nothing is lost by an interruption. `check` must not use the handle that waits, nor end by
// longjmp or an exception.
//
// Threads: for the calling one alone. Waits: never. Fork: a child's only thread keeps it.
// Crash: holds nothing.
int tombolo_interrupt(int (*check)(void *context), void *context);

// Opens the segment of this name, or creates it, as the options say (null: what is usual).
// `tombolo_segment_close` closes it.
//
// Threads: any. Waits: for another process that is joining or leaving, at most
// `busy_timeout_ns`. Fork: a child opens the segment anew. Crash: the kernel lets go of what a
// killed process had.
int tombolo_segment_open(const char *name,
                         const tombolo_options *options,
                         tombolo_segment **segment);

// Creates a segment without a name, for this process's threads and for the children that it is
// handed over to. It goes with the last process that has it.
//
// Threads: any. Waits: never. Fork: as for `tombolo_segment_open`. Crash: likewise.
int tombolo_segment_anonymous(const tombolo_options *options, tombolo_segment **segment);

// Opens the segment that the process's parent has started it with (`Segment::spawn` of the Rust
// library). A process can do so once.
//
// Threads: any. Waits: as for `tombolo_segment_open`. Fork: a grandchild gets −EPERM. Crash:
// likewise.
int tombolo_segment_inherit(tombolo_segment **segment);

// Closes the segment, and sets `*segment` to null. Does nothing if it is null already. The
// process leaves when its last end of a channel is closed, and the last message that it holds.
//
// Threads: no other call may be using it. Waits: as for `tombolo_segment_open`. Fork: in a
// child, frees the handle alone. Crash: as if it had been closed.
int tombolo_segment_close(tombolo_segment **segment);

// Removes the segment: every process that uses it gets −EIDRM. What is held of it can still be
// read.
//
// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: a process that dies over it
// leaves it removed or not; remove it again.
int tombolo_segment_remove(const tombolo_segment *segment);

// The same by its name, without opening it; −ENOENT if there is none.
//
// Threads: any. Waits: never. Fork: may be called. Crash: as for `tombolo_segment_remove`.
int tombolo_segment_remove_named(const char *name);

// The segment's name; empty if it has none; null after a failure. Valid until the segment is
// closed.
//
// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
const char *tombolo_segment_name(const tombolo_segment *segment);

// Whether the segment is open for messages: TOMBOLO_STATE_OPEN and the others.
//
// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
int tombolo_segment_state(const tombolo_segment *segment);

// Gives a command to all participants: TOMBOLO_PAUSE and the others. Returns how many of them
// have answered that they obey; those that have not are slower, stopped, or gone, and obey all
// the same. A drain answers −ETIMEDOUT if messages are left by then.
//
// Threads: any. Waits: for their answers, at most `timeout_ns`. Fork: −ECHILD in a child.
// Crash: the command stands.
int tombolo_segment_command(const tombolo_segment *segment, uint32_t command, int64_t timeout_ns);

// Says what a channel is that exists; −ENOENT if it does not.
//
// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_channel_inspect(const tombolo_segment *segment,
                            const char *name,
                            tombolo_channel_info *info);

// Opens a sending end of a channel, or of a broadcast channel a publisher; creates the channel if
// the description has a capacity. Null in place of a description opens what there is.
// `tombolo_sender_close` closes it.
//
// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
// own. Crash: the kernel lets go of what a killed process had.
int tombolo_sender_open(const tombolo_segment *segment,
                        const char *name,
                        const tombolo_channel *channel,
                        tombolo_sender **sender);

// Closes the end, and sets `*sender` to null. Does nothing if it is null already. What is held of
// it can still be committed, and keeps the end until then.
//
// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
// alone. Crash: as if it had been closed.
int tombolo_sender_close(tombolo_sender **sender);

// Sends a copy of the message; in a channel of elements, of exactly one. 0: it is in the
// channel. −ECOMM: it is, and a receiver that sleeps could not be woken.
//
// Threads: any, also at the same time; of an SPSC channel one, and −EBUSY for the others.
// Waits: for room, at most `timeout_ns`. Fork: −ECHILD in a child. Crash: killed in the middle,
// the message is sent whole or not at all.
int tombolo_send(const tombolo_sender *sender, const void *data, size_t length, int64_t timeout_ns);

// Sends copies of the messages in order, and returns how many it has sent. That is fewer than
// `messages_count` if there was no more room in time, or the sending came to an end; it is a
// failure only if it has sent none.
//
// Threads: as for `tombolo_send`. Waits: for room, at most `timeout_ns` in all. Fork: −ECHILD in
// a child. Crash: killed in the middle, the first part is sent.
int tombolo_send_batch(const tombolo_sender *sender,
                       const tombolo_bytes *messages,
                       size_t messages_count,
                       int64_t timeout_ns);

// Makes room for a message of up to `length` bytes, to be written in place; in a channel of
// elements, for one. `tombolo_grant_commit` sends it. Several may be held at a time, of a
// broadcast channel as many as it has publishers to spare; in an SPSC channel one, and −EBUSY for
// others.
//
// In a channel of elements, receivers do not see later messages before this one is committed or
// given up.
//
// Threads: as for `tombolo_send`. Waits: for room, at most `timeout_ns`. Fork: −ECHILD in a
// child. Crash: the room of a killed process becomes free.
int tombolo_reserve(const tombolo_sender *sender,
                    size_t length,
                    int64_t timeout_ns,
                    tombolo_grant **grant);

// Where the message is to be written, and in `*room`, if that is not null, for how many bytes
// there is room. At first the bytes are those of an earlier message. Null after a failure. Valid
// until the grant is committed or aborted. Other processes can write there, too, if they do not
// keep to the protocol.
//
// Threads: one at a time. Waits: never. Fork: a child must not write there. Crash: as for
// `tombolo_reserve`.
void *tombolo_grant_data(const tombolo_grant *grant, size_t *room);

// Sends the first `length` bytes of what was written; in a channel of elements all of it. Sets
// `*grant` to null, also after a failure, when nothing was sent; but for −ECOMM: the message is
// in the channel, and a receiver that sleeps could not be woken.
//
// Threads: one at a time. Waits: in a channel of bytes and a broadcast channel, for a place among
// the messages, if others have filled the channel since. Fork: −ECHILD in a child. Crash: killed
// in the middle, the message is sent whole or not at all.
int tombolo_grant_commit(tombolo_grant **grant, size_t length);

// Gives the room up, and sets `*grant` to null. Does nothing if it is null already.
//
// Threads: one at a time. Waits: never. Fork: in a child, frees the handle alone. Crash: as for
// `tombolo_reserve`.
int tombolo_grant_abort(tombolo_grant **grant);

// Waits until the broadcast channel of this publisher has so many subscribers. Each of them gets
// what is published from then on. −EOPNOTSUPP for other channels.
//
// Threads: any. Waits: at most `timeout_ns`. Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_wait_for_subscribers(const tombolo_sender *sender,
                                 uint64_t subscribers,
                                 int64_t timeout_ns);

// Ends the waits of this end with −ECANCELED, in whichever thread, and refuses later ones, if
// `cancelled` is not 0; otherwise lets it wait again.
//
// Threads: any. Waits: until the calls have ended their waits, a moment. Fork: −ECHILD in a
// child. Crash: holds nothing.
int tombolo_sender_cancel(const tombolo_sender *sender, int cancelled);

// Says what this end is like just now.
//
// Threads: as for `tombolo_send`. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_sender_status(const tombolo_sender *sender, tombolo_status *status);

// A descriptor for poll(2) that is readable (POLLIN) while a send could go on: until
// `tombolo_send` with TOMBOLO_NOW answers −EAGAIN. It is open until the end is closed; do not
// close it. The first call starts a thread of the process, which all descriptors of the segment
// share.
//
// Threads: one, which also makes the sends; −EBUSY while another one is in a call. Waits: never.
// Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_sender_fd(const tombolo_sender *sender);

// Opens a receiving end of a channel, or of a broadcast channel a subscriber, as the description
// says; creates the channel if it has a capacity. Null in place of a description opens what there
// is. `tombolo_receiver_close` closes it.
//
// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
// own. Crash: the kernel lets go of what a killed process had.
int tombolo_receiver_open(const tombolo_segment *segment,
                          const char *name,
                          const tombolo_channel *channel,
                          tombolo_receiver **receiver);

// Closes the end, and sets `*receiver` to null. Does nothing if it is null already. What is held
// of it can still be read, and keeps the end until it is released.
//
// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
// alone. Crash: as if it had been closed.
int tombolo_receiver_close(tombolo_receiver **receiver);

// Receives a message: copies it to `data`, and its length to `*length`, if that is not null.
// There must be room for the longest message (`tombolo_receiver_status`): otherwise −EMSGSIZE,
// and nothing is taken. −EOVERFLOW: this subscriber has missed messages
// (`tombolo_receiver_status`); receive again. −EPIPE: nothing is left, and the last sender is
// gone.
//
// Threads: any, also at the same time; of an SPSC channel and of a subscriber one, and −EBUSY
// for the others. Waits: for a message, at most `timeout_ns`. Fork: −ECHILD in a child. Crash:
// killed in the middle, another receiver gets the message; one that was received dies with its
// process.
int tombolo_recv(const tombolo_receiver *receiver,
                 void *data,
                 size_t room_bytes,
                 size_t *length,
                 int64_t timeout_ns);

// Receives up to `most` messages into the batch, in place of what was in it, and returns how
// many. Waits for the first one alone.
//
// Threads: as for `tombolo_recv`; the batch is used by one at a time. Waits: at most
// `timeout_ns`. Fork: −ECHILD in a child. Crash: as for `tombolo_recv`.
int tombolo_recv_batch(const tombolo_receiver *receiver,
                       const tombolo_batch *batch,
                       size_t most,
                       int64_t timeout_ns);

// Makes a batch, without messages. `tombolo_batch_free` frees it.
//
// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
int tombolo_batch_new(tombolo_batch **batch);

// The message at `index` of the batch, from 0 on, and in `*length`, if that is not null, how long
// it is. Null if there is none. Valid until the batch is received into again, or freed.
//
// Threads: one at a time. Waits: never. Fork: may be called. Crash: holds nothing.
const void *tombolo_batch_get(const tombolo_batch *batch, size_t index, size_t *length);

// Frees the batch, and sets `*batch` to null. Does nothing if it is null already.
//
// Threads: no other call may be using it. Waits: never. Fork: may be called. Crash: holds
// nothing.
int tombolo_batch_free(tombolo_batch **batch);

// Takes a message, to be read where it is. Until it is released it is in hand: its place is
// occupied, and if the process dies, another receiver gets it. Several may be held at a time; of
// an SPSC channel and of a subscriber one, and −EBUSY for others. A subscriber for which
// publishers do not wait gets a copy. Errors as for `tombolo_recv`.
//
// Threads: as for `tombolo_recv`. Waits: for a message, at most `timeout_ns`. Fork: −ECHILD in a
// child. Crash: the messages that a killed process held come again, as often as the channel says.
int tombolo_take(const tombolo_receiver *receiver, int64_t timeout_ns, tombolo_delivery **delivery);

// The message, and in `*length`, if that is not null, how long it is. Null after a failure. Valid
// until it is released or given back; also when the segment is removed meanwhile. Other processes
// can write there, if they do not keep to the protocol.
//
// Threads: any. Waits: never. Fork: a child may read it while the parent holds it. Crash: as for
// `tombolo_take`.
const void *tombolo_delivery_data(const tombolo_delivery *delivery, size_t *length);

// How many receivers have died over this message, or have given it back after a failure.
//
// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
int tombolo_delivery_attempts(const tombolo_delivery *delivery);

// Acknowledges the message: it is done, and its place becomes free. Sets `*delivery` to null.
// Does nothing if it is null already.
//
// Threads: any, also another one than has taken it. Waits: never. Fork: in a child, frees the
// handle alone. Crash: killed before this returns, the message may come again.
int tombolo_delivery_release(tombolo_delivery **delivery);

// Gives the message back, for another receiver or the next call of this one; `failed`, if it is
// not 0, counts in its attempts, in an MPMC channel. Sets `*delivery` to null.
//
// Threads: as for `tombolo_delivery_release`. Waits: never. Fork: in a child, frees the handle
// alone. Crash: likewise.
int tombolo_delivery_give_back(tombolo_delivery **delivery, int failed);

// Ends the waits of this end with −ECANCELED, in whichever thread, and refuses later ones, if
// `cancelled` is not 0; otherwise lets it wait again. Calls that do not wait go on.
//
// Threads: any. Waits: until the calls have ended their waits, a moment. Fork: −ECHILD in a
// child. Crash: holds nothing.
int tombolo_receiver_cancel(const tombolo_receiver *receiver, int cancelled);

// Says what this end is like just now.
//
// Threads: as for `tombolo_recv`. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_receiver_status(const tombolo_receiver *receiver, tombolo_status *status);

// A descriptor for poll(2) that is readable (POLLIN) while a receive could go on: until
// `tombolo_recv` with TOMBOLO_NOW answers −EAGAIN. It is open until the end is closed; do not
// close it. The first call starts a thread of the process, which all descriptors of the segment
// share.
//
// Threads: one, which also receives; −EBUSY while another one is in a call. Waits: never. Fork:
// −ECHILD in a child. Crash: holds nothing.
int tombolo_receiver_fd(const tombolo_receiver *receiver);

// Makes a set for ends of this segment, without members. `tombolo_wait_set_free` frees it.
//
// Threads: any. Waits: never. Fork: a child makes its own. Crash: holds nothing.
int tombolo_wait_set_new(const tombolo_segment *segment, tombolo_wait_set **set);

// Adds a receiver, under a key that no other member has. The set has a share of it, so it may be
// closed; it is still an end of the channel until it is removed from the set.
//
// Threads: the set is used by one at a time, −EBUSY for others. Waits: never. Fork: −ECHILD in a
// child. Crash: holds nothing.
int tombolo_wait_set_add_receiver(const tombolo_wait_set *set,
                                  const tombolo_receiver *receiver,
                                  uint64_t key);

// Adds a sender, in the same way.
//
// Threads: as for `tombolo_wait_set_add_receiver`. Waits: never. Fork: −ECHILD in a child. Crash:
// holds nothing.
int tombolo_wait_set_add_sender(const tombolo_wait_set *set,
                                const tombolo_sender *sender,
                                uint64_t key);

// Removes the member with this key; −ENOENT if there is none.
//
// Threads: as for `tombolo_wait_set_add_receiver`. Waits: never. Fork: may be called. Crash:
// holds nothing.
int tombolo_wait_set_remove(const tombolo_wait_set *set, uint64_t key);

// Waits until members are ready: a receiver may receive, a sender may send, or its next call has
// an error to report. Writes up to `most` of them, and returns how many; those beyond that are
// ready again next time. 0: the time is up, or `tombolo_wait_set_wake` was called. A member may
// be ready although nothing is there, because another process was faster: use TOMBOLO_NOW.
//
// Threads: one at a time, −EBUSY for others; also −EBUSY while another thread is in a call of a
// member, or a message is held of one that does one thing at a time. Waits: at most `timeout_ns`.
// Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_wait_set_wait(const tombolo_wait_set *set,
                          tombolo_ready *ready,
                          size_t most,
                          int64_t timeout_ns);

// Ends the wait of the set that goes on, or the next one, with 0.
//
// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
int tombolo_wait_set_wake(const tombolo_wait_set *set);

// Frees the set, and sets `*set` to null. Does nothing if it is null already. The members stay as
// they are.
//
// Threads: no other call may be using it. Waits: never. Fork: may be called. Crash: holds
// nothing.
int tombolo_wait_set_free(tombolo_wait_set **set);

// Opens a client of a service; creates the service if the description has a capacity. Null in
// place of a description opens what there is.
//
// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
// own. Crash: the kernel lets go of what a killed process had.
int tombolo_client_open(const tombolo_segment *segment,
                        const char *name,
                        const tombolo_service *service,
                        tombolo_client **client);

// Makes a call, in a service of elements with exactly one, and waits for its reply: copies it to `reply`, and its length to `*reply_length`,
// if that is not null. If there is not room for the whole reply, the rest is cut off, and
// `*reply_length` says how long it was. −EOWNERDEAD: the server that had it has died; it cannot
// be known how far it had come. −EPIPE: the last server is gone, and none had taken the call.
// −ECONNREFUSED: the server has refused it. −ETIMEDOUT: the call is given up.
//
// Threads: any, also at the same time. Waits: for a server and its reply, at most `timeout_ns`.
// Fork: −ECHILD in a child. Crash: if the client is killed, nobody gets the reply.
int tombolo_call(const tombolo_client *client,
                 const void *request,
                 size_t request_length,
                 void *reply,
                 size_t reply_room,
                 size_t *reply_length,
                 int64_t timeout_ns);

// Closes the client, and sets `*client` to null. Does nothing if it is null already.
//
// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
// alone. Crash: as if it had been closed.
int tombolo_client_close(tombolo_client **client);

// Opens a server of a service; creates the service if the description has a capacity.
//
// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
// own. Crash: clients are told at once of calls that a killed server had, or another server
// repeats them.
int tombolo_server_open(const tombolo_segment *segment,
                        const char *name,
                        const tombolo_service *service,
                        tombolo_server **server);

// Takes a call, to be replied to. Several may be in hand, and be replied to in any order.
//
// Threads: any, also at the same time. Waits: for a call, at most `timeout_ns`. Fork: −ECHILD in
// a child. Crash: as for `tombolo_server_open`.
int tombolo_serve(const tombolo_server *server, int64_t timeout_ns, tombolo_request **request);

// A copy of the request, and in `*length`, if that is not null, how long it is. Null after a
// failure. Valid until the call is replied to or refused.
//
// Threads: any. Waits: never. Fork: may be called. Crash: as for `tombolo_server_open`.
const void *tombolo_request_data(const tombolo_request *request, size_t *length);

// Replies, and sets `*request` to null. Returns 1, or 0 if the client no longer waits. −EMSGSIZE
// if the reply is too long, or not an element: then the client gets −ECONNREFUSED.
//
// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: killed before this returns, the
// client gets the whole reply, or is told of the death.
int tombolo_reply(tombolo_request **request, const void *data, size_t length);

// Refuses the call: its client gets −ECONNREFUSED. Sets `*request` to null. Does nothing if it is
// null already.
//
// Threads: any. Waits: never. Fork: in a child, frees the handle alone. Crash: as for
// `tombolo_reply`.
int tombolo_refuse(tombolo_request **request);

// Closes the server, and sets `*server` to null. Does nothing if it is null already.
//
// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
// alone. Crash: as for `tombolo_server_open`.
int tombolo_server_close(tombolo_server **server);

// Subscribes to the participants that join, leave and die from now on.
//
// Threads: any. Waits: never. Fork: the subscription is the parent's. Crash: holds nothing in
// the segment.
int tombolo_events_open(const tombolo_segment *segment, tombolo_events **events);

// Fills in the next event: −EAGAIN or −ETIMEDOUT if there is none.
//
// Threads: one at a time; −EBUSY while another one is in a call. Waits: at most `timeout_ns`.
// Fork: −ECHILD in a child. Crash: each death is told once, whichever process dies over it.
int tombolo_events_next(const tombolo_events *events, tombolo_event *event, int64_t timeout_ns);

// Ends the subscription, and sets `*events` to null. Does nothing if it is null already.
//
// Threads: no other call may be using it. Waits: never. Fork: may be called. Crash: holds
// nothing.
int tombolo_events_close(tombolo_events **events);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOMBOLO_H */
