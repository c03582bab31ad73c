mod channel;
mod lives;
mod parcels;
