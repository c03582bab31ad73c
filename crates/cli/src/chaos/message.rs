//! A message of the storm: its sender, its number, a content that follows from
//! both, and a checksum of it all.

use super::ledger::Id;

/// Bytes before the filling.
pub(crate) const HEAD: usize = 24;

/// The checksum ends here, and the bytes that it covers begin.
const SUM: usize = 4;

/// Writes the message. `into` is as long as the message is to be.
pub(crate) fn write(id: Id, into: &mut [u8]) {
    let Some((head, filling)) = into.split_at_mut_checked(HEAD) else {
        return;
    };
    let mut seed = id.number ^ u64::from(id.life) << 40 ^ u64::from(id.producer) << 56;
    for chunk in filling.chunks_mut(8) {
        seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        chunk.copy_from_slice(&seed.to_le_bytes()[..chunk.len()]);
    }
    let length = filling.len() as u32;
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..12].copy_from_slice(&id.life.to_le_bytes());
    head[12..16].copy_from_slice(&u32::from(id.producer).to_le_bytes());
    head[16..24].copy_from_slice(&id.number.to_le_bytes());
    let sum = crc32fast::hash(&into[SUM..]);
    into[..SUM].copy_from_slice(&sum.to_le_bytes());
}

/// The name of a message, if it is whole.
pub(crate) fn read(message: &[u8]) -> Option<Id> {
    let (head, filling) = message.split_at_checked(HEAD)?;
    let word =
        |at: usize| head[at..at + 4].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    let number = head[16..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let whole = word(0) == crc32fast::hash(&message[SUM..]) && word(4) as usize == filling.len();
    let producer = u16::try_from(word(12)).ok()?;
    whole.then_some(Id { producer, life: word(8), number })
}

/// Makes it what nobody may ever receive.
pub(crate) fn spoil(message: &mut [u8]) {
    message.fill(0xAA);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_written_and_any_changed_byte_is_noticed() {
        for size in [0, 1, 7, 64, 4096] {
            let id = Id { producer: 9, life: 1 << 31, number: 1 << 63 | 5 };
            let mut message = vec![0; HEAD + size];
            write(id, &mut message);
            assert_eq!(read(&message), Some(id));
            for at in 0..message.len() {
                message[at] ^= 0x10;
                assert_eq!(read(&message), None, "byte {at} of {size}");
                message[at] ^= 0x10;
            }
            assert_eq!(read(&message[..message.len() - 1]), None);
            spoil(&mut message);
            assert_eq!(read(&message), None);
        }
    }

    #[test]
    fn halves_of_two_messages_make_none() {
        let [mut one, mut other] = [[0; HEAD + 64]; 2];
        write(Id { producer: 0, life: 0, number: 1 }, &mut one);
        write(Id { producer: 0, life: 0, number: 2 }, &mut other);
        one[HEAD + 32..].copy_from_slice(&other[HEAD + 32..]);
        assert_eq!(read(&one), None);
    }
}
