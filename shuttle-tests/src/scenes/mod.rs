mod block_slots;
mod broadcast;
mod channel;
mod lives;
mod reactor;
