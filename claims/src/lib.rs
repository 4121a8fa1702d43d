//! Which bytes of a session's reports nobody has claimed yet.
//!
//! A client announces one torrent over several *paths* at once: a path is (tracker, transport, the client's
//! address). Along one path reports are in order; between paths nothing is, because handshakes, slow
//! networks, look-ups and spools shift them against each other by anything from milliseconds to days.
//! Counters begin anew at each pause and resume, under the same peer id.
//!
//! A *run* is the life of one pair of counters in the client. What was said can often be explained in more
//! than one way: which path's `started` belongs to which run? The books take, for each counter by itself, the
//! **least total of all explanations** (stories). The truth is one of the stories, so nobody is ever credited
//! too much. But for what is said below, a further report never lowers the least, so each report claims at
//! once by how much the least grows, and the order in which reports are booked does not matter.
//!
//! What makes that small enough for a snapshot: between two `started` (or falls) a path stays in one run, so
//! all that it said there is one segment, of which only the ends count and what was said near them
//! (`segment`). A session is a handful of segments, nearly always one or two; a story is a way to sort them
//! into runs, and `search` finds the least.
//!
//! Along a path, too, reports may be booked in another order than they arrived in: one announce waits for a
//! look-up, and the client gives it up and goes on. Each is sorted in where it belongs. What was *answered*
//! must be booked before the same path's next: a client goes on from an answered `started` without another,
//! so until it is booked two runs look like one, and the books may claim more than they should.
//!
//! What is left open. A report of a run that was forgotten (more than sixteen segments ago), or of a path
//! that was left for another (more than eight), claims nothing, so there the order of booking does matter. A
//! session that restarts so often that nobody can follow it begins anew, and what it moves within a skew of
//! that is not claimed. A search that is given up (3000 partial stories) claims too little until the next
//! report, and when it is given up depends on the order. Two names of one session that are folded late have
//! claimed twice what both reported; it is worked off, but for runs that were forgotten by then.
//!
//! What one path said between two skews behind a segment's beginning and two before its end forbids no
//! story, and is forgotten. What it said in the first two skews is forgotten, too, once a segment is older
//! than eight and no other path's ended before it began: when all of a path that another took the place of
//! is booked later than that (from a spool), the run that began then may be taken for one that went on, and
//! the bytes of the smaller of both are not claimed. Of what a path said more than seven times in two skews,
//! only so much counts. But for that no order of booking changes the books: `tests/orders.rs` plays all
//! of up to seven reports.
//!
//! Of a million generated clients (up to three runs on four paths, one announce of twenty lost, pauses of a
//! second and more) none is credited a byte too much. Of those with several paths 1.63 in a thousand miss
//! more than a MiB when paths are up to 3 s late, 6.00 when they are up to 40 s late. Clients with up to five
//! runs, two counters, lost answers and downloads of 4 MiB that are over before a path has said `started`
//! miss as much for 12 in a thousand at 3 s (of 50,000) and 38 at 40 s (of 20,000); none of them is over,
//! either.
//! `CLAIMS_CLIENTS=1000000 cargo test --release -p claims --test generated nobody_is -- --nocapture`, for the
//! latter with 200000.
//!
//! What they miss is open in what they said: an oracle that was written from the statement above, and tries
//! all stories, finds the same least (`tests/generated/oracle.rs`; 20,000 clients of each kind, both
//! counters). But for 1 of 20,000 on slow paths, and of the harsher clients 2 in a thousand, 2.5 at 40 s: for
//! them the search ends at its bound before it has seen the least, and claims less until it does.
//!
//! No clock, no I/O: arrival times come with the reports.

mod codec;
mod presence;
mod room;
mod search;
mod segment;
mod session;
mod snapshot;
mod span;
mod story;

pub use codec::DecodeError;
pub use segment::{Counters, Path, Report};
pub use session::Session;
pub use snapshot::{Announced, Booked, Snapshot, Word};

/// How far two paths of one client may differ, in milliseconds: a client's own timeout (`path_skew`).
pub const DEFAULT_SKEW_MS: u64 = 120_000;

/// A fall by less on the same path is a client that reported `completed` a little high, not another run.
pub const WOBBLE_BYTES: u64 = 1 << 20;
