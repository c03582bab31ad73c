//! The Rust program at the other end of the tests' channels: `peer SEGMENT-ID WHAT`.

use std::error::Error;

use tombolo::{Message, RecvError, Segment, Start};

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f64,
    side: Side,
    venue: [u8; 7],
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(u8)]
enum Side {
    Buy = 1,
    Sell = 2,
}

/// With a bit of everything, and a schema that is too long to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Everything {
    the_largest_of_all_numbers_here: u128,
    a_negative_one_of_the_same_size: i128,
    three_by_two_of_another_struct: [[Pair; 2]; 3],
    a_number_of_32_bits_without_sign: u32,
    a_character_of_whichever_language: char,
    whether_or_not_it_is_so_and_no_more: bool,
    seven_more_bytes_that_are_of_no_use: [u8; 7],
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Pair(i32, f32);

fn everything() -> Everything {
    Everything {
        the_largest_of_all_numbers_here: u128::MAX,
        a_negative_one_of_the_same_size: -2,
        three_by_two_of_another_struct: [
            [Pair(1, 0.5), Pair(2, 0.5)],
            [Pair(3, 0.5), Pair(4, 0.5)],
            [Pair(5, 0.5), Pair(6, 0.5)],
        ],
        a_number_of_32_bits_without_sign: 7,
        a_character_of_whichever_language: 'ß',
        whether_or_not_it_is_so_and_no_more: true,
        seven_more_bytes_that_are_of_no_use: *b"useless",
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let segment = Segment::open_id(arguments[1].parse()?)?;
    match arguments[2].as_str() {
        // Sends each message back.
        "echo ticks" => {
            let (there, back) = (segment.channel::<Tick>("there"), segment.channel::<Tick>("back"));
            let (receiver, sender) = (there.receiver()?, back.sender()?);
            for tick in &receiver {
                sender.send(tick?)?;
            }
        }
        "echo bytes" => {
            let (receiver, sender) =
                (segment.bytes("there").receiver()?, segment.bytes("back").sender()?);
            let mut message = Vec::new();
            while receiver.recv(&mut message) != Err(RecvError::Disconnected) {
                sender.send(&message)?;
            }
        }
        "echo frames" => {
            let there = segment.channel::<[[[u8; 3]; 5]; 4]>("there").spsc();
            let back = segment.channel::<[[[u8; 3]; 5]; 4]>("back").spsc();
            let (receiver, sender) = (there.receiver()?, back.sender()?);
            for frame in &receiver {
                sender.send(frame?)?;
            }
        }
        "echo news" => {
            let there =
                segment.broadcast::<u64>("there").reliable_subscriber_from(Start::Oldest)?;
            let back = segment.broadcast::<u64>("back").publisher()?;
            back.wait_for(1)?;
            for number in &there {
                back.send(number?)?;
            }
        }
        // Creates a channel with a message of each type.
        "everything" => {
            let all = segment.channel::<Everything>("everything").capacity(2).lasting();
            all.sender()?.send(everything())?;
            let matrix = segment.channel::<[[f32; 3]; 2]>("matrix").capacity(2).lasting();
            matrix.sender()?.send([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])?;
        }
        // Finds what Python has sent equal.
        "equal" => {
            let all = segment.channel::<Everything>("everything").receiver()?;
            assert_eq!(all.recv()?, everything());
        }
        what => return Err(what.into()),
    }
    Ok(())
}
