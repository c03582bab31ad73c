mod event;
mod mpmc;
