use std::error::Error;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::*;
use crate::storage::Side;
use crate::sys::{ErrorKind, Key, shm::Shm};
use crate::{
    ByteReceiver, ByteSender, Canceller, Commander, ConnectError, Events, Inbox, InheritError,
    ListenError, Listener, Mpmc, Receiver, Segment, Sender, SpawnError, SpawnedChild, Spsc,
};

/// An error as programs want it: it can be kept, sent to another thread, boxed,
/// and compared.
const fn is_error<E: Error + Clone + Eq + Send + Sync + 'static>() {}

const fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

const fn is_unwind_safe_and_sent<T: UnwindSafe + RefUnwindSafe + Send>() {}

const _: () = {
    is_error::<BadName>();
    is_error::<OpenError>();
    is_error::<ChannelError>();
    is_error::<Fault>();
    is_error::<Unwoken>();
    is_error::<CommandError>();
    is_error::<SendError<u64>>();
    is_error::<TrySendError<u64>>();
    is_error::<SendTimeoutError<u64>>();
    is_error::<SendBatchError>();
    is_error::<SendBatchError<SendTimeoutError>>();
    is_error::<RecvError>();
    is_error::<TryRecvError>();
    is_error::<RecvTimeoutError>();
    is_error::<ConnectError>();
    is_error::<ListenError>();
    is_error::<InheritError>();
    is_error::<crate::sys::Error>();
    is_unwind_safe_and_sent::<Sender<u64>>();
    is_unwind_safe_and_sent::<Sender<u64, Spsc>>();
    is_unwind_safe_and_sent::<Receiver<u64>>();
    is_unwind_safe_and_sent::<Receiver<u64, Spsc>>();
    is_unwind_safe_and_sent::<ByteSender<Mpmc>>();
    is_unwind_safe_and_sent::<ByteSender<Spsc>>();
    is_unwind_safe_and_sent::<ByteReceiver<Mpmc>>();
    is_unwind_safe_and_sent::<ByteReceiver<Spsc>>();
    is_unwind_safe::<Segment>();
    is_unwind_safe::<Canceller>();
    is_unwind_safe::<Commander>();
    is_unwind_safe::<Events>();
    is_unwind_safe::<Inbox>();
    is_unwind_safe::<Listener>();
    is_unwind_safe::<SpawnedChild>();
};

// What a failed call hands up is no larger than it has to be.
const _: () = assert!(size_of::<Fault>() <= 48 && size_of::<SendError>() <= 56);
const _: () = assert!(size_of::<RecvTimeoutError>() <= 56);

/// A message that cannot be shown.
#[derive(Clone, PartialEq, Eq)]
struct Opaque(u8);

fn unwoken() -> Box<Unwoken> {
    let source = Shm::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
    Unwoken::new(Done::Sent, "frames", Side::Receiver, source)
}

const GONE: Fault = Fault::Disconnected { side: Side::Receiver };
const GONE_SENDER: Fault = Fault::Disconnected { side: Side::Sender };

fn too_long() -> SendError<Opaque> {
    SendError::TooLong { message: Opaque(3), length: 9, longest: 8 }
}

/// What is asked, in this order: full or empty, paused or pending or in time,
/// disconnected, too long or invalid, sent; then what comes back and the fault.
type Said = ([bool; 5], Option<u8>, Option<Fault>);

fn of_send(error: SendError<Opaque>) -> Said {
    let asked = [false, false, error.is_disconnected(), error.is_too_long(), error.is_sent()];
    (asked, error.clone().into_inner().map(|Opaque(n)| n), error.into_fault())
}

fn of_try_send(error: TrySendError<Opaque>) -> Said {
    let asked = [
        error.is_full(),
        error.is_paused(),
        error.is_disconnected(),
        error.is_too_long(),
        error.is_sent(),
    ];
    (asked, error.clone().into_inner().map(|Opaque(n)| n), error.into_fault())
}

fn of_send_timeout(error: SendTimeoutError<Opaque>) -> Said {
    let asked =
        [false, error.is_timeout(), error.is_disconnected(), error.is_too_long(), error.is_sent()];
    (asked, error.clone().into_inner().map(|Opaque(n)| n), error.into_fault())
}

#[test]
fn each_error_of_a_send_answers_for_itself_and_gives_back_what_was_not_sent() {
    const NO: bool = false;
    let alike: [(SendError<Opaque>, Said); 4] = [
        (SendError::Disconnected(Opaque(1)), ([NO, NO, true, NO, NO], Some(1), Some(GONE))),
        (too_long(), ([NO, NO, NO, true, NO], Some(3), None)),
        (
            SendError::Fault { message: Opaque(2), fault: Fault::Closed },
            ([NO; 5], Some(2), Some(Fault::Closed)),
        ),
        (unwoken().into(), ([NO, NO, NO, NO, true], None, Some(Fault::Unwoken(unwoken())))),
    ];
    for (error, said) in alike {
        // The larger errors say the same, in the same words.
        let (tried, timed) =
            (TrySendError::from(error.clone()), SendTimeoutError::from(error.clone()));
        for same in [format!("{error:?} {error}"), format!("{tried:?} {tried}")] {
            assert_eq!(same, format!("{timed:?} {timed}"));
        }
        assert_eq!(of_try_send(tried), said);
        assert_eq!(of_send_timeout(timed), said);
        assert_eq!(of_send(error), said);
    }
    let full = TrySendError::Full(Opaque(4));
    assert_eq!(of_try_send(full), ([true, NO, NO, NO, NO], Some(4), None));
    let paused = TrySendError::Paused(Opaque(5));
    assert_eq!(of_try_send(paused), ([NO, true, NO, NO, NO], Some(5), None));
    let timed = SendTimeoutError::Timeout(Opaque(6));
    assert_eq!(of_send_timeout(timed), ([NO, true, NO, NO, NO], Some(6), None));
}

#[test]
fn each_error_of_a_receive_answers_for_itself() {
    let invalid = || RecvError::Invalid { type_name: "char" };
    for (error, disconnected, not_valid, fault) in [
        (RecvError::Disconnected, true, false, Some(GONE_SENDER)),
        (invalid(), false, true, None),
        (RecvError::Fault(Fault::Shutdown), false, false, Some(Fault::Shutdown)),
    ] {
        let (tried, timed) =
            (TryRecvError::from(error.clone()), RecvTimeoutError::from(error.clone()));
        for same in [format!("{error:?} {error}"), format!("{tried:?} {tried}")] {
            assert_eq!(same, format!("{timed:?} {timed}"));
        }
        assert!(!tried.is_empty() && !tried.is_pending() && !timed.is_timeout());
        assert_eq!((error.is_disconnected(), error.is_invalid()), (disconnected, not_valid));
        assert_eq!((tried.is_disconnected(), tried.is_invalid()), (disconnected, not_valid));
        assert_eq!((timed.is_disconnected(), timed.is_invalid()), (disconnected, not_valid));
        assert_eq!(timed.clone().without_deadline(), error);
        assert_eq!(tried.into_fault(), fault);
        assert_eq!(timed.into_fault(), fault);
        assert_eq!(error.into_fault(), fault);
    }
    assert!(TryRecvError::Empty.is_empty() && !TryRecvError::Empty.is_pending());
    assert!(TryRecvError::Pending.is_pending() && !TryRecvError::Pending.is_empty());
    assert!(RecvTimeoutError::Timeout.is_timeout());
    for error in [TryRecvError::Empty, TryRecvError::Pending] {
        assert!(!error.is_disconnected() && !error.is_invalid());
        assert_eq!(error.into_fault(), None);
    }
    assert_eq!(RecvTimeoutError::Timeout.into_fault(), None);
}

/// Each fault comes back from the error that it was made into.
#[test]
fn a_fault_becomes_each_error_and_a_disconnection_is_never_within() {
    let corrupt = Fault::Corrupt { what: "head".to_owned() };
    for fault in [Fault::Closed, Fault::Cancelled, corrupt, Fault::Unwoken(unwoken())] {
        assert_eq!(SendError::from(fault.clone()), SendError::unsent((), fault.clone()));
        let told: [Option<Fault>; 6] = [
            SendError::from(fault.clone()).into_fault(),
            TrySendError::from(fault.clone()).into_fault(),
            SendTimeoutError::from(fault.clone()).into_fault(),
            RecvError::from(fault.clone()).into_fault(),
            TryRecvError::from(fault.clone()).into_fault(),
            RecvTimeoutError::from(fault.clone()).into_fault(),
        ];
        assert!(told.iter().all(|told| told.as_ref() == Some(&fault)), "{told:?}");
        // What is owed from before is no message that was sent.
        assert!(!SendError::from(fault).is_sent());
    }
    assert_eq!(SendError::from(GONE), SendError::Disconnected(()));
    assert_eq!(TrySendError::from(GONE), TrySendError::Disconnected(()));
    assert_eq!(SendTimeoutError::from(GONE), SendTimeoutError::Disconnected(()));
    assert_eq!(RecvError::from(GONE_SENDER), RecvError::Disconnected);
    assert_eq!(TryRecvError::from(GONE_SENDER), TryRecvError::Disconnected);
    assert_eq!(RecvTimeoutError::from(GONE_SENDER), RecvTimeoutError::Disconnected);
    // Which side has gone is said all the same.
    assert!(SendError::Disconnected(()).to_string().contains("its last receiver has gone"));
    assert!(TryRecvError::Disconnected.to_string().contains("its last sender has gone"));
    let batch: SendBatchError = SendBatchError::after(3, Fault::Drained);
    let timed: SendBatchError<SendTimeoutError> = batch.clone().into();
    assert_eq!((timed.sent, timed.to_string()), (3, batch.to_string()));
    assert_eq!(timed.reason, Fault::Drained.into());
}

#[test]
fn what_the_kernel_refuses_is_compared_by_all_that_it_says() {
    let too_large = || Shm::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
    let absent = Shm::open(Key::new(0x7001_0b0e)).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    assert_eq!(too_large(), too_large());
    assert_ne!(too_large(), absent);
    assert_eq!(Fault::System(too_large()), Fault::System(too_large()));
    // The same refusal, of something else.
    let about = |what| OpenError::System(too_large().about(what));
    assert_eq!(about("segment a"), about("segment a"));
    assert_ne!(about("segment a"), about("segment b"));
}

#[test]
fn debug_says_the_kind_and_all_that_display_says() {
    let full = ChannelError::SegmentFull {
        channel: "frames".to_owned(),
        segment: "market".to_owned(),
        needed: 64,
        size: 4096,
        available: 8,
    };
    let mismatch = ChannelError::Mismatch {
        channel: "ticks".to_owned(),
        segment: "market".to_owned(),
        what: ChannelProperty::Elements,
        theirs: "Tick{id:u32}".to_owned(),
        ours: "Tick{id:u64}".to_owned(),
    };
    let taken = ChannelError::RoleTaken { channel: "ticks".to_owned(), side: Side::Sender, pid: 7 };
    let exists = || OpenError::Exists { name: "market".to_owned(), id: 7 };
    let name = BadName { name: "a/b".to_owned(), reason: "it has a /".to_owned() };
    let batch: SendBatchError = SendBatchError::after(3, Fault::Shutdown);
    let spawned = SpawnError::Fault(Fault::Forked);
    let fault = TrySendError::Fault { message: (), fault: Fault::Drained };
    let errors: [(Box<dyn Error>, &str, &str); 13] = [
        (full.into(), "SegmentFull: channel frames", "`Options::size(4096)`"),
        (mismatch.into(), "Mismatch: channel ticks", "`tombolo rm market`"),
        (taken.into(), "RoleTaken: channel ticks is SPSC and has its sender", "process 7"),
        (exists().into(), "Exists: segment market", "`tombolo rm market`"),
        (name.into(), "BadName: \"a/b\"", "a /"),
        (batch.into(), "SendBatchError: after 3", "`tombolo ctl NAME resume`"),
        (Box::new(TrySendError::Paused(())), "Paused: the", "`tombolo ctl NAME resume`"),
        (fault.into(), "Drained: the", "`tombolo ctl NAME resume`"),
        (
            SendError::<()>::from(unwoken()).into(),
            "Unwoken: the message is in",
            "but receivers sleep",
        ),
        (Box::new(spawned), "Forked: this", "open the segment again"),
        (Box::new(RecvError::Fault(Fault::Forked)), "Forked: this", "open the segment again"),
        (Box::new(TryRecvError::Pending), "Pending: the next", "being written"),
        (Box::new(RecvTimeoutError::Timeout), "Timeout: nothing", "time-out"),
    ];
    for (error, begin, remedy) in errors {
        // As `main` shows it, and as `unwrap` does.
        let shown = format!("{error:?}");
        assert!(shown.starts_with(begin) && shown.contains(remedy), "{shown}");
        assert!(shown.contains(&error.to_string()), "{shown}");
    }
    // A message need not be one that can be shown.
    let hidden: &dyn Debug = &TrySendError::Full(Opaque(1));
    assert_eq!(format!("{hidden:?}"), "Full: the channel is full");
}
