mod creation;
mod event;
mod mpmc;
mod orderings;
mod spsc;
mod table;
