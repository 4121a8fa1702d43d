//! What is under way between a tracker and Redis.

use std::collections::VecDeque;
use std::rc::Rc;

use tracker::traffic::Receipt;

use crate::redis::{Bytes, Reply};

/// Something between a tracker and Redis. It is dropped when Redis goes, and not when the tracker goes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) slot: usize,
    pub(crate) sent_ms: u64,
    /// The recorder that calls: its id, and which of its calls this is.
    pub(crate) from: (Rc<str>, u64),
    pub(crate) what: What,
}

/// A call on its way to Redis, or an answer on its way back.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A call of the script, and the announces it books.
    Book(Rc<Vec<Bytes>>, Rc<Vec<usize>>),
    /// An `XADD` of a mutated tracker's own.
    Append(Rc<Vec<Bytes>>),
    Booked(Receipt, Reply),
    Appended,
}

/// The call under way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) number: u64,
    /// It never left: there is no way to Redis.
    pub(crate) lost: bool,
    pub(crate) sent_ms: u64,
    /// What Redis said, and the entries that only a mutated tracker appends by itself.
    pub(crate) deferred: Option<(Receipt, VecDeque<Rc<Vec<Bytes>>>)>,
}
