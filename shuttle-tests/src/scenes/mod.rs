mod block_slots;
mod channel;
mod lives;
