//! A peer overwrites the messages that safe code holds. A copy that was read stays as it was
//! read, and what is written goes nowhere else.

use std::borrow::Borrow;
use std::ops::Deref;
use std::str;
use std::time::{Duration, Instant};

use tombolo::{
    ByteDelivery, ByteGrant, Delivery, DeliverySlice, Grant, GrantSlice, InPlace, Mpmc, Segment,
    Spsc,
};

use crate::case::small;
use crate::common::{Brief, Name, Peer, Words};

const LENGTH: usize = 43;
/// The message sent, which is a text, and bytes that are none.
const TEXT: u64 = u64::from_le_bytes(*b"textTEXT");
const NO_TEXT: u64 = u64::MAX;
/// In which the two are seen, on the busiest machine.
const ENOUGH: Duration = Duration::from_secs(60);

type Element = [u64; 3];

#[test]
fn what_was_read_stays_so_while_a_peer_writes_over_the_message() {
    let name = Name::new();
    let segment = small().size(40_000).create(&name).unwrap();
    let text = &TEXT.to_le_bytes().repeat(8)[..LENGTH];
    let (one, many) = (segment.bytes("one").spsc(), segment.bytes("many"));
    let (single, several) =
        (segment.channel::<Element>("single").spsc(), segment.channel::<Element>("several"));
    one.capacity(2, LENGTH).sender().unwrap().send(text).unwrap();
    many.capacity(2, LENGTH).sender().unwrap().send(text).unwrap();
    single.capacity(4).sender().unwrap().send_batch(&[[TEXT; 3]; 2]).unwrap();
    several.capacity(2).sender().unwrap().send([TEXT; 3]).unwrap();
    let words = Words::behind(&segment);
    let places: Vec<usize> = (0..words.len()).filter(|&n| words.get(n) == TEXT).collect();
    // Whole words of the texts, and all of the elements.
    assert_eq!(places.len(), 2 * (LENGTH / 8) + 3 * 3);
    let holder = Peer::start("views", &[&name]);
    holder.expect("held");
    let mut said = None;
    for value in [NO_TEXT, TEXT].into_iter().cycle() {
        places.iter().for_each(|&place| words.put(place, value));
        said = holder.said_within(Duration::from_micros(20));
        if said.is_some() {
            break;
        }
    }
    assert_eq!(said.as_deref(), Some("seen"));
    assert_eq!(holder.join(), 0);
}

/// Holds a message of each kind, and looks at them until it has seen them
/// change under its hands.
#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let mut one = segment.bytes("one").spsc().receiver().unwrap();
    let mut many = segment.bytes("many").receiver().unwrap();
    let mut single = segment.channel::<Element>("single").spsc().receiver().unwrap();
    let mut several = segment.channel::<Element>("several").receiver().unwrap();
    let (one, many) = (one.take().unwrap(), many.take().unwrap());
    let (single, several) = (single.take_slice(2).unwrap(), several.take().unwrap());
    let mut seen = [[false; 2]; 4];
    brief.say("held");
    let began = Instant::now();
    while seen != [[true; 2]; 4] {
        assert!(began.elapsed() < ENOUGH, "nobody writes: {seen:?}");
        look(&mut seen[0], &one.to_vec());
        look(&mut seen[1], &many.to_vec());
        look(&mut seen[2], bytemuck::cast_slice(&single.to_vec()));
        look(&mut seen[3], bytemuck::bytes_of(&several.read()));
    }
    brief.say("seen");
}

/// A copy that is a text, or is none, is so again the next time one looks.
fn look(seen: &mut [bool; 2], copy: &[u8]) {
    let before = copy.to_owned();
    let text = str::from_utf8(copy);
    seen[usize::from(text.is_ok())] = true;
    std::hint::black_box(text.map(|text| text.chars().filter(|c| c.is_uppercase()).count())).ok();
    assert_eq!((copy, text.is_ok()), (&before[..], str::from_utf8(&before).is_ok()));
}

/// Is implemented once for every type, and once more for each way to lend bytes
/// or what is behind a pointer: a type that has one of them is ambiguous, and
/// does not compile.
trait LendsNothing<Way> {
    fn known() {}
}

struct Lends<const WAY: u8>;
impl<T> LendsNothing<()> for T {}
impl<T: Deref> LendsNothing<Lends<0>> for T {}
impl<T: AsRef<[u8]>> LendsNothing<Lends<1>> for T {}
impl<T: Borrow<[u8]>> LendsNothing<Lends<2>> for T {}

fn lend_nothing<K: InPlace>() {
    <Grant<'_, Element, K> as LendsNothing<_>>::known();
    <GrantSlice<'_, Element> as LendsNothing<_>>::known();
    <Delivery<'_, Element, K> as LendsNothing<_>>::known();
    <DeliverySlice<'_, Element> as LendsNothing<_>>::known();
    <ByteGrant<'_, K> as LendsNothing<_>>::known();
    <ByteDelivery<'_, K> as LendsNothing<_>>::known();
}

#[test]
fn no_guard_lends_a_reference_by_itself() {
    lend_nothing::<Spsc>();
    lend_nothing::<Mpmc>();
}
