//! The types that can be messages.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Large {
    id: u64,
    rest: [u64; 124],
}
const _: () = assert!(size_of::<Large>() == 1_000);
// SAFETY: words only, without padding.
unsafe impl Zeroable for Large {}
// SAFETY: as above.
unsafe impl Pod for Large {}
impl Message for Large {
    const SCHEMA: &'static str = "Large{id:u64,rest:[u64]}";
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
struct Aligned([u64; 8]);
// SAFETY: words only, as many as its alignment.
unsafe impl Zeroable for Aligned {}
// SAFETY: as above.
unsafe impl Pod for Aligned {}
impl Message for Aligned {
    const SCHEMA: &'static str = "Aligned[u64;8]";
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(256))]
pub(super) struct TooAligned([u64; 32]);
// SAFETY: words only, as many as its alignment.
unsafe impl Zeroable for TooAligned {}
// SAFETY: as above.
unsafe impl Pod for TooAligned {}
impl Message for TooAligned {
    const SCHEMA: &'static str = "TooAligned";
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Hundred([u8; 100]);
// SAFETY: bytes only.
unsafe impl Zeroable for Hundred {}
// SAFETY: bytes only.
unsafe impl Pod for Hundred {}
impl Message for Hundred {
    const SCHEMA: &'static str = "u8";
}

/// All that a derive can make a message of.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f32,
    side: Side,
    venues: [[Venue; 3]; 2],
    last: bool,
    rest: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(u8)]
enum Side {
    Buy = 1,
    Sell = 200,
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(transparent)]
struct Venue(u8);

mod earlier {
    use tombolo::Message;

    #[derive(Clone, Copy, Message)]
    #[repr(C)]
    pub(crate) struct Tick {
        id: u64,
        price: f64,
    }
}

impl Tick {
    fn number(id: u64) -> Self {
        let side = if id.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        let venues = [[Venue(id as u8); 3], [Venue(7); 3]];
        Self { id, price: id as f32, side, venues, last: id == 9, rest: [id as u8; 4] }
    }
}

pub(super) fn carries<T, K: Pick>(make: impl Fn(u64) -> T)
where
    T: Message + bytemuck::NoUninit + bytemuck::CheckedBitPattern + PartialEq + Debug,
{
    let segment = small();
    for capacity in [1, 3, 7] {
        let (tx, rx) = ends::<T, K>(&segment, &format!("c{capacity}"), capacity);
        let mut got = Vec::new();
        for n in 0..50 {
            tx.send(make(n)).unwrap();
            assert_eq!(rx.recv().unwrap(), make(n));
            let batch: Vec<T> = (n..n + capacity as u64).map(&make).collect();
            tx.send_batch(&batch).unwrap();
            got.clear();
            assert_eq!(rx.recv_batch(&mut got, 100).unwrap(), capacity);
            assert_eq!(got, batch);
        }
    }
}

pub(super) fn every_type_comes_out_as_it_went_in<K: Pick>() {
    let byte = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    carries::<u8, K>(byte);
    carries::<u64, K>(|n| !n);
    carries::<u128, K>(|n| u128::from(n) << 77 | 5);
    carries::<f64, K>(|n| n as f64 / 3.0);
    carries::<[u16; 3], K>(|n| [n as u16, 7, 0xFFFF - n as u16]);
    carries::<Hundred, K>(|n| Hundred(std::array::from_fn(|i| byte(n + i as u64))));
    carries::<Large, K>(|n| Large { id: n, rest: std::array::from_fn(|i| n ^ i as u64) });
    carries::<Aligned, K>(|n| Aligned([n; 8]));
    carries::<Tick, K>(Tick::number);
    carries::<bool, K>(|n| n % 3 == 0);
    carries::<char, K>(|n| char::from_u32(0x1F600 + n as u32 % 50).unwrap());
}

/// Where a value that occurs once is in a segment, as an index of bytes.
fn place_of(words: &Words, value: &[u8]) -> usize {
    let bytes: Vec<u8> = words.copy().iter().flat_map(|word| word.to_le_bytes()).collect();
    let found: Vec<usize> = (0..bytes.len() - value.len())
        .filter(|&at| &bytes[at..at + value.len()] == value)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

pub(super) fn bytes_that_are_no_value_are_reported_and_stepped_over<K: Pick>() {
    let segment = Segment::options().size(16_384).participants(2).channels(1).anonymous().unwrap();
    let (tx, rx) = ends::<char, K>(&segment, "c", 4);
    let words = Words::behind(&segment);
    for round in 0..6 {
        for c in ['a', '\u{10ABCD}', 'c'] {
            tx.send(c).unwrap();
        }
        let at = place_of(&words, &0x10_ABCD_u32.to_le_bytes());
        // A surrogate, which no char is.
        let word = words.get(at / 8);
        let shift = at % 8 * 8;
        words.put(at / 8, word & !(0xFFFF_FFFF << shift) | 0xD800 << shift);
        assert_eq!(rx.recv().unwrap(), 'a');
        let invalid = RecvError::Invalid { type_name: "char" };
        match round % 3 {
            0 => assert_eq!(rx.recv(), Err(invalid)),
            1 => assert_eq!(rx.try_recv(), Err(invalid.into())),
            _ => assert_eq!(rx.recv_timeout(A_WHILE), Err(invalid.into())),
        }
        assert_eq!(rx.recv().unwrap(), 'c');
        assert!(rx.is_empty());
    }
}

#[test]
fn each_field_of_a_derived_message_is_checked() {
    let segment = small();
    let (tx, rx) = ends::<Tick, Mpmc>(&segment, "c", 2);
    let words = Words::behind(&segment);
    // Where the side is, and where it says whether it is the last.
    for byte in [12, 19] {
        let tick = Tick { id: 0x1234_5678_9ABC_DEF1, ..Tick::number(9) };
        tx.send(tick).unwrap();
        let at = place_of(&words, &tick.id.to_le_bytes()) + byte;
        words.put(at / 8, words.get(at / 8) ^ 0x80 << (at % 8 * 8));
        let error = rx.recv().unwrap_err();
        assert!(matches!(error, RecvError::Invalid { .. }), "{error:?}");
        // So that its bytes are found once.
        for n in 0..2 {
            tx.send(Tick::number(n)).unwrap();
            assert_eq!(rx.recv().unwrap(), Tick::number(n));
        }
    }
}

#[test]
fn a_changed_struct_is_another_schema() {
    macro_rules! schema {
        ($($definition:tt)*) => {{
            #[derive(Clone, Copy, Message)]
            #[repr(C)]
            #[allow(dead_code)]
            struct Tick $($definition)*
            Tick::SCHEMA
        }};
    }
    let schemas = [
        schema! { { id: u64, open: f32, shut: f32 } },
        schema! { { id: u64, shut: f32, open: f32 } },
        schema! { { id: i64, open: f32, shut: f32 } },
        schema! { { id: u64, open: f32, size: f32 } },
        schema! { { id: u64, open: [u8; 4], shut: [u8; 4] } },
        schema! { { id: u64, open: [u8; 5], shut: [u8; 3] } },
        schema! { { id: u64, side: Side, open: [u8; 7] } },
        schema! { { id: u64, side: Venue, open: [u8; 7] } },
        schema! { (u64, f32, f32); },
        schema! { (Venue, [u8; 7], u64); },
        schema! { (Venue, [u8; 6], Side, u64); },
    ];
    for (n, one) in schemas.iter().enumerate() {
        assert!(!schemas[..n].contains(one), "{one}");
    }
    assert_eq!(schemas[6], "Tick{id:u64,side:Side:u8{Buy=1,Sell=200},open:u8[7]}");
    // One that has no room is told from others by its hash.
    macro_rules! long {
        ($last:ident) => {
            schema! { {
                this_is_a_field_with_a_name_of_some_length: u64,
                that_is_a_field_with_a_name_of_some_length: u64,
                here_is_a_field_with_a_name_of_some_length: u64,
                there_is_a_field_with_a_name_of_some_lengt: u64,
                every_field_with_a_name_of_some_length_ends: u64,
                in_one_that_is_cut_off_and_only_hashed: [u8; 8],
                $last: u64,
            } }
        };
    }
    let long = [long!(one), long!(other)];
    assert!(long.iter().all(|schema| schema.len() == 256), "{long:?}");
    assert_eq!(long[0][..200], long[1][..200]);
    assert_ne!(long[0], long[1]);
}

#[test]
fn a_struct_goes_to_another_process_which_must_mean_the_same() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).open_or_create(&name).unwrap();
    let ticks = segment.channel::<Tick>("ticks").capacity(4).sender().unwrap();
    let peer = Peer::start("ticks", &[&name]);
    for n in 0..10 {
        ticks.send(Tick::number(n)).unwrap();
    }
    peer.expect("10 ticks");
    // The schema of an earlier build of the same program.
    let said = peer.said();
    for part in ["ticks", "Tick{id:u64,price:f32,side:", "Tick{id:u64,price:f64}", "tombolo rm"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains(&format!("segment {}", &*name)), "{said}");
}

pub(super) fn a_batch_ends_before_bytes_that_are_no_value<K: Pick>() {
    let segment = Segment::options().size(16_384).participants(2).channels(1).anonymous().unwrap();
    let (tx, rx) = ends::<char, K>(&segment, "c", 5);
    tx.send_batch(&['a', 'b', '\u{10ABCD}', 'd', 'e']).unwrap();
    let words = Words::behind(&segment);
    let at = place_of(&words, &0x10_ABCD_u32.to_le_bytes());
    let shift = at % 8 * 8;
    words.put(at / 8, words.get(at / 8) | 0xFFFF_FFFF << shift);
    let mut got = Vec::new();
    let error = rx.recv_batch(&mut got, 10).unwrap_err();
    assert!(matches!(error, RecvError::Invalid { .. }), "{error:?}");
    assert_eq!(got, ['a', 'b']);
    assert_eq!(rx.recv_batch(&mut got, 10).unwrap(), 2);
    assert_eq!(got, ['a', 'b', 'd', 'e']);
    tx.send_batch(&['f'; 5]).unwrap();
    assert!(tx.is_full());
}

pub(super) fn a_type_without_size_counts<K: Pick>() {
    let segment = small();
    for capacity in [1, 7] {
        let (tx, rx) = ends::<[u64; 0], K>(&segment, &format!("c{capacity}"), capacity);
        for _ in 0..20 {
            for _ in 0..capacity {
                tx.try_send([]).unwrap();
            }
            assert!(matches!(tx.try_send([]), Err(TrySendError::Full([]))));
            let mut got = Vec::new();
            assert_eq!(rx.recv_batch(&mut got, 100).unwrap(), capacity);
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let rx = segment.channel::<Tick>("ticks").receiver().unwrap();
    let same = (0..10).all(|n| rx.recv().unwrap() == Tick::number(n));
    brief.say(if same { "10 ticks" } else { "others" });
    brief.say(segment.channel::<earlier::Tick>("ticks").sender().unwrap_err());
}
