mod blocks;
mod creation;
mod event;
mod mpmc;
mod orderings;
mod records;
mod spsc;
mod table;
