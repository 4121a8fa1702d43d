//! The running tracker while Redis is away or takes nothing: clients are answered, and afterwards the stream
//! holds every byte.

#![allow(clippy::unwrap_used)]

mod outages;
mod room;
mod scene;
mod successors;
mod waiting;
