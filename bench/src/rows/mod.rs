//! What is measured. Each row runs once in every round, rows by turns, so that a machine that grows slow
//! grows slow for all.

mod consuming;
mod http;
mod line;
mod memory;
mod recording;
mod settling;
mod soak;
pub mod swarms;
mod udp;
mod whole;

use anyhow::Result;

use crate::figures::{Goal, Limit, Sample};
use crate::workbench::Bench;

/// One thing that is measured.
#[derive(Debug)]
pub struct Row {
    /// What `--only` takes.
    pub name: &'static str,
    /// What a reader is told.
    pub title: &'static str,
    /// How often it is measured.
    pub repetition: Repetition,
    /// Measures once.
    pub run: fn(&Bench) -> Result<Vec<Sample>>,
    /// What the figures should be at most.
    pub goals: &'static [Goal],
}

/// How often a row is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// In every round.
    EveryRound,
    /// In the first: it takes long, and noise hardly moves it.
    Once,
}

/// What a server spends on each reply: user and system time, in microseconds.
const CPU: &str = "CPU µs";

/// All rows.
pub const ROWS: &[Row] = &[
    Row {
        name: "udp",
        title: "UDP announce, 50 peers out",
        repetition: Repetition::EveryRound,
        run: udp::run,
        goals: &[
            Goal { subject: "seedbook", what: CPU, at_most: Limit::Times(0.75, "aquatic_udp") },
            Goal { subject: "seedbook", what: CPU, at_most: Limit::Times(1.35, "bare echo") },
        ],
    },
    Row {
        name: "http",
        title: "HTTP announce, keep-alive, 50 peers out",
        repetition: Repetition::EveryRound,
        run: http::kept,
        goals: &[Goal {
            subject: "seedbook, passkeys",
            what: CPU,
            at_most: Limit::Times(1.25, "bare epoll"),
        }],
    },
    Row {
        name: "close",
        title: "HTTP announce, one connection each, 50 peers out",
        repetition: Repetition::EveryRound,
        run: http::closed,
        goals: &[Goal { subject: "seedbook, passkeys", what: CPU, at_most: Limit::Times(1.1, "bare epoll") }],
    },
    Row {
        name: "line",
        title: "From the announce to the settled row, HTTP, at half the rate that the line sustains",
        repetition: Repetition::EveryRound,
        run: line::run,
        goals: &[
            Goal { subject: "announce", what: "p99 ms", at_most: Limit::Value(5.0) },
            Goal { subject: "settled", what: "p50 ms", at_most: Limit::Value(50.0) },
            Goal { subject: "settled", what: "p99 ms", at_most: Limit::Value(500.0) },
        ],
    },
    Row {
        name: "whole",
        title: "Processor time of tracker, Redis and consumer for each announce of settled sessions, saturated",
        repetition: Repetition::EveryRound,
        run: whole::run,
        goals: &[
            Goal { subject: "256 connections", what: "CPU µs, all", at_most: Limit::Value(45.0) },
            Goal { subject: "32 connections", what: "CPU µs, all", at_most: Limit::Value(65.0) },
        ],
    },
    Row {
        name: "soak",
        title: "The same for ten minutes at 80 % of that rate: what waits to be settled",
        repetition: Repetition::Once,
        run: soak::run,
        goals: &[Goal {
            subject: "last third",
            what: "entries that wait",
            at_most: Limit::Times(1.5, "first third"),
        }],
    },
    Row {
        name: "memory",
        title: "Memory per peer of the whole program, after so many announced over UDP",
        repetition: Repetition::Once,
        run: memory::run,
        goals: &[
            Goal { subject: "seedbook, passkeys", what: "bytes, 10^6 in 10^4", at_most: Limit::Value(64.0) },
            Goal { subject: "seedbook, passkeys", what: "bytes, 10^6 in 10^5", at_most: Limit::Value(90.0) },
        ],
    },
    Row {
        name: "recording",
        title: "Recording an announce: delta, snapshot and stream entry in one atomic step",
        repetition: Repetition::EveryRound,
        run: recording::run,
        goals: &[
            Goal { subject: "seedbook", what: "tracker µs", at_most: Limit::Value(2.0) },
            Goal { subject: "seedbook", what: "Redis µs", at_most: Limit::Times(2.0, "bare XADD") },
        ],
    },
    Row {
        name: "consuming",
        title: "Consuming an event: reading, and the sets of who seeds and leeches what",
        repetition: Repetition::EveryRound,
        run: consuming::run,
        goals: &[
            Goal { subject: "seedbook", what: "reader µs", at_most: Limit::Value(1.0) },
            Goal { subject: "seedbook", what: "presence's Redis µs", at_most: Limit::Value(10.0) },
        ],
    },
    Row {
        name: "settling",
        title: "Settling an event into SQLite, by rows that are settled already",
        repetition: Repetition::Once,
        run: settling::run,
        goals: &[Goal {
            subject: "10^7 rows there, 5000 at once",
            what: "settlement µs",
            at_most: Limit::Value(10.0),
        }],
    },
    Row {
        name: "swarms",
        title: "The swarm store alone, by peers and torrents",
        repetition: Repetition::Once,
        run: swarms::run,
        goals: &[
            Goal { subject: "10^6 in 10^4", what: "bytes per peer", at_most: Limit::Value(64.0) },
            Goal { subject: "10^6 in 10^5", what: "bytes per peer", at_most: Limit::Value(90.0) },
        ],
    },
];
