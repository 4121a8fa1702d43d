//! Entries on their way into the stream: what was computed for them, and what became of those that Redis has
//! seen to. Those that it shows another snapshot for are computed and sent again, the others not.

use std::sync::Arc;

use crate::traffic::booking::NumberedBooking;
use crate::traffic::bookkeeper::{Bookkeeper, Computed};
use crate::traffic::reply::Outcome;

/// One list of entries, until Redis has seen to all of them.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What is sent next.
    computed: Arc<Vec<Computed>>,
    /// The places of these in the list.
    places: Vec<usize>,
    /// By place, as the next.
    outcomes: Vec<Outcome>,
    numbers: Vec<u64>,
    /// What Redis has booked of it.
    booked: Vec<Arc<Vec<Computed>>>,
}

impl Attempt {
    pub(super) fn new(entries: Vec<NumberedBooking>, bookkeeper: &mut Bookkeeper) -> Self {
        Self {
            places: (0..entries.len()).collect(),
            outcomes: vec![Outcome::Booked; entries.len()],
            numbers: entries.iter().map(|entry| entry.sequence).collect(),
            computed: Arc::new(bookkeeper.compute(entries)),
            booked: Vec::new(),
        }
    }

    pub(super) fn batch(&self) -> Arc<Vec<Computed>> {
        self.computed.clone()
    }

    /// The entries' numbers.
    pub(super) fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// Takes Redis' answer; whether it has seen to everything now. Otherwise the rest is to be sent.
    pub(super) fn answered(&mut self, answer: Vec<Outcome>, bookkeeper: &mut Bookkeeper) -> bool {
        let again = bookkeeper.settle(&self.computed, &answer);
        for (place, outcome) in self.places.iter().zip(answer) {
            self.outcomes[*place] = outcome;
        }
        self.keep_booked();
        self.places = again.iter().map(|(place, _)| self.places[*place]).collect();
        self.computed = Arc::new(bookkeeper.compute(again.into_iter().map(|(_, entry)| entry).collect()));
        self.computed.is_empty()
    }

    fn keep_booked(&mut self) {
        let is_booked = |place: &usize| self.outcomes[*place].is_recorded();
        if self.places.iter().all(is_booked) {
            self.booked.push(self.computed.clone());
            return;
        }
        let parts = self.places.iter().zip(self.computed.iter());
        let booked: Vec<_> = parts.filter(|(place, _)| is_booked(place)).map(|(_, it)| it.clone()).collect();
        if !booked.is_empty() {
            self.booked.push(Arc::new(booked));
        }
    }

    /// Computes what was not booked anew: sessions are not any more what they were.
    pub(super) fn compute_again(&mut self, bookkeeper: &mut Bookkeeper) {
        self.computed = Arc::new(bookkeeper.compute(self.entries()));
    }

    /// What Redis has not seen to.
    pub(super) fn entries(&self) -> Vec<NumberedBooking> {
        self.computed.iter().map(|computed| computed.entry.clone()).collect()
    }

    /// What is booked, with the seconds that their events have.
    pub(super) fn as_booked(&self) -> Vec<NumberedBooking> {
        self.booked.iter().flat_map(|part| part.iter()).map(Computed::as_booked).collect()
    }

    /// What is sent next, with the seconds that their events get.
    pub(super) fn as_sent(&self) -> Vec<NumberedBooking> {
        self.computed.iter().map(Computed::as_booked).collect()
    }

    /// Whether Redis has booked the entry with this number.
    pub(super) fn has_booked(&self, number: u64) -> bool {
        self.booked.iter().flat_map(|part| part.iter()).any(|computed| computed.entry.sequence == number)
    }

    /// The numbers that Redis has not booked, if it has booked some of the list.
    pub(super) fn missing(&self) -> Vec<u64> {
        let is_whole = self.computed.is_empty() && self.outcomes.iter().all(Outcome::is_recorded);
        if is_whole || self.booked.is_empty() {
            return Vec::new();
        }
        self.numbers.iter().copied().filter(|number| !self.has_booked(*number)).collect()
    }

    /// What became of each entry, and what is booked.
    pub(super) fn into_parts(self) -> (Vec<Outcome>, Vec<Arc<Vec<Computed>>>) {
        (self.outcomes, self.booked)
    }
}
