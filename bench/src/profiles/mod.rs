//! Flame graphs of the programs at work: their own profiler's samples (`/debug/pprof/profile`) as pictures.

mod flame;
mod stacks;
mod take;

pub use flame::flame_graph;
pub use stacks::{Stacks, decode};
pub use take::take;
