//! Figures that look random and that the same seed always repeats, so that two runs send the same load. Not
//! for secrets.

/// What follows one number in the splitmix64 sequence: every bit of the result depends on every bit of
/// `value`.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether the thing that `number` stands for belongs to this share (0 to 1) of all things.
pub(crate) fn belongs(number: u64, share: f64) -> bool {
    // 53 bits are what a float holds exactly.
    ((mix(number) >> 11) as f64) < share * (1u64 << 53) as f64
}

/// A sequence of draws.
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, each as likely as any other to one part in 2^32. `bound` is below 2^32.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let product = (self.next() >> 32) * u64::from(bound);
        u32::try_from(product >> 32).unwrap_or(0)
    }

    /// Yes once in so many times.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Yes for this share (0 to 1) of all draws.
    pub(crate) fn falls_in(&mut self, share: f64) -> bool {
        share > 0.0 && belongs(self.next(), share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_seed_others() {
        let drawn = |seed| {
            let mut draw = Draw::new(seed);
            (0..8).map(|_| draw.next()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn shares_and_bounds_are_kept() {
        let mut draw = Draw::new(7);
        let below: Vec<u32> = (0..1000).map(|_| draw.below(10)).collect();
        assert!((0..10).all(|wanted| below.iter().filter(|drawn| **drawn == wanted).count() > 60));
        let seeding = (0..10_000).filter(|number| belongs(*number, 0.25)).count();
        assert!((2300..2700).contains(&seeding), "{seeding}");
        assert!((0..100).all(|number| belongs(number, 1.0) && !belongs(number, 0.0)));
    }
}
