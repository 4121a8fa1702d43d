//! `interval variation`: some replies ask for a longer interval, so that clients that started together do not
//! announce together for ever.
//!
//! Every announce is drawn anew. A draw that depends on the peer would lengthen the same peers' intervals
//! each time.

use contract::config::{Check, Problems};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Admission, Hook, Verdict};
use crate::announce::Announce;

/// Options of `interval variation`, as Chihaya names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The share of replies that are changed: above 0, at most 1.
    pub modify_response_probability: f64,
    /// Seconds added at most; at least one is.
    pub max_increase_delta: u32,
    /// Whether `min interval` grows by the same.
    pub modify_min_interval: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { modify_response_probability: 0.2, max_increase_delta: 60, modify_min_interval: false }
    }
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        let share = self.modify_response_probability;
        if !(share > 0.0 && share <= 1.0) {
            problems.push(format!("`{path}.modify_response_probability`: must be above 0 and at most 1"));
        }
        if self.max_increase_delta == 0 {
            problems.push(format!("`{path}.max_increase_delta`: must be at least 1 second"));
        }
        problems
    }
}

/// The hook.
#[derive(Debug)]
pub struct IntervalVariation(Options);

impl IntervalVariation {
    /// Makes the hook from options without problems.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(options)
    }

    fn vary(&self, admission: &mut Admission, rng: &mut impl Rng) {
        let Options { modify_response_probability, max_increase_delta, modify_min_interval } = self.0;
        // A draw from [0, 1) is always below 1, so that 1 means every reply.
        if rng.random::<f64>() >= modify_response_probability {
            return;
        }
        let more = rng.random_range(1..=max_increase_delta);
        admission.interval = admission.interval.saturating_add(more);
        if modify_min_interval {
            admission.min_interval = admission.min_interval.saturating_add(more);
        }
    }
}

impl Hook for IntervalVariation {
    fn announce(&self, _announce: &Announce, admission: &mut Admission) -> Verdict {
        self.vary(admission, &mut rand::rng());
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::scene::problems_of;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::collections::HashSet;

    fn draws(options: Options) -> Vec<(u32, u32)> {
        let hook = IntervalVariation::new(options);
        let mut rng = SmallRng::seed_from_u64(7);
        let draw = |_| {
            let mut admission = Admission::new(1800, 900);
            hook.vary(&mut admission, &mut rng);
            (admission.interval - 1800, admission.min_interval - 900)
        };
        (0..1000).map(draw).collect()
    }

    #[test]
    fn every_second_up_to_the_limit_comes_up_and_no_other() {
        let always =
            Options { modify_response_probability: 1.0, max_increase_delta: 5, modify_min_interval: false };
        let increases: HashSet<u32> = draws(always).into_iter().map(|(more, _)| more).collect();
        assert_eq!(increases, (1..=5).collect());
    }

    #[test]
    fn the_probability_is_the_share_of_changed_replies() {
        let sometimes = Options { modify_response_probability: 0.25, ..Options::default() };
        let changed = draws(sometimes).into_iter().filter(|(more, _)| *more > 0).count();
        assert!((200..300).contains(&changed), "{changed} of 1000");
    }

    #[test]
    fn the_min_interval_grows_by_the_same_when_asked_and_not_otherwise() {
        let both = Options { modify_min_interval: true, ..Options::default() };
        assert!(draws(both).into_iter().all(|(more, min_more)| more == min_more));
        assert!(draws(Options::default()).into_iter().all(|(_, min_more)| min_more == 0));
    }

    #[test]
    fn an_impossible_share_or_no_increase_is_a_problem() {
        for share in ["0", "-0.1", "1.01", ".nan"] {
            let options = format!("{{modify_response_probability: {share}}}");
            let problems = problems_of::<Options>(&options);
            assert!(problems.contains("modify_response_probability"), "{share}: {problems}");
        }
        assert!(problems_of::<Options>("{max_increase_delta: 0}").contains("at least 1 second"));
        assert!(problems_of::<Options>("{max_increase_delta: -1}").contains("max_increase_delta"));
        let good = "{modify_response_probability: 1, max_increase_delta: 60, modify_min_interval: true}";
        assert_eq!(problems_of::<Options>(good), "");
    }
}
