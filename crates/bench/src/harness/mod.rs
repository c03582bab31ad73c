//! The harness: it knows how to measure, but no subject.
//!
//! A [`Subject`] is something to measure: a mechanism that carries messages, given
//! by its two ends ([`Mechanism`]), or a piece of work. A [`Case`] compares
//! subjects; the first one is the limit of the others, or several are together
//! ([`limit`]). [`conductor`] takes samples
//! of all of them in rounds, and keeps only those that were measured in one
//! placement. Separate processes take each sample ([`crew`], [`worker`]) and run
//! the same loops for all subjects ([`carry`], [`publish`], [`exchange`],
//! [`trickle`]). [`records`] computes
//! figures from the samples, and [`table`] and [`report`] print them.
//!
//! A program with subjects of its own includes this folder by path. It calls
//! [`driver::run`] with groups of cases, and [`worker::run`] in the processes that
//! it starts.

pub(crate) mod beside;
pub(crate) mod board;
pub(crate) mod carry;
pub(crate) mod case;
pub(crate) mod clock;
pub(crate) mod conductor;
pub(crate) mod crew;
pub(crate) mod driver;
pub(crate) mod exchange;
pub(crate) mod limit;
pub(crate) mod machine;
pub(crate) mod orders;
pub(crate) mod placement;
pub(crate) mod publish;
pub(crate) mod records;
pub(crate) mod report;
pub(crate) mod scale;
pub(crate) mod subject;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod times;
pub(crate) mod trickle;
pub(crate) mod worker;

pub(crate) use case::{Case, Group, Plot};
pub(crate) use orders::{Figure, Object, Report, Setting, Shape, Shared};
pub(crate) use publish::pause;
pub(crate) use scale::Scale;
pub(crate) use subject::{Mechanism, Message, Rx, Subject, Tx};
pub(crate) use times::Times;
pub(crate) use worker::Task;
