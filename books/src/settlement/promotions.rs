//! Promotions: which factors are in force for an event at its own time.
//!
//! The user always gets the better side: the highest upload factor and the lowest download factor among all
//! that match.

use std::collections::HashMap;

use contract::{InfoHash, Passkey, TrafficEvent};
use thiserror::Error;

/// What a promotion applies to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything.
    Global,
    /// One torrent.
    Torrent(InfoHash),
    /// Every torrent of a film, as the credential names it.
    Film(String),
    /// Every torrent of a playlist, as the credential names it.
    Playlist(String),
    /// One user.
    User(Passkey),
}

impl Scope {
    /// The word in `promotions.scope`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Torrent(_) => "torrent",
            Self::Film(_) => "film",
            Self::Playlist(_) => "playlist",
            Self::User(_) => "user",
        }
    }

    /// The text in `promotions.scope_key`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Global => String::new(),
            Self::Torrent(info_hash) => info_hash.to_string(),
            Self::Film(id) | Self::Playlist(id) => id.clone(),
            Self::User(passkey) => passkey.reveal().to_owned(),
        }
    }

    /// Reads the two columns back.
    ///
    /// # Errors
    /// [`PromotionError`] for an unknown word or a key that is no info hash or passkey.
    pub fn read(word: &str, key: &str) -> Result<Self, PromotionError> {
        match word {
            "global" => Ok(Self::Global),
            "torrent" => key.parse().map(Self::Torrent).map_err(|_| PromotionError::Key),
            "film" => Ok(Self::Film(key.to_owned())),
            "playlist" => Ok(Self::Playlist(key.to_owned())),
            "user" => key.parse().map(Self::User).map_err(|_| PromotionError::Key),
            _ => Err(PromotionError::Scope),
        }
    }
}

/// Why a row of `promotions` cannot be used. Never repeats the key: it may be a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PromotionError {
    /// The scope is none of the five.
    #[error("scope must be global, torrent, film, playlist or user")]
    Scope,
    /// The key does not fit the scope.
    #[error("scope_key must be 40 hex digits for a torrent and a passkey for a user")]
    Key,
    /// The factor is negative, above 1000, or no number.
    #[error("a factor is a number from 0 to 1000")]
    Factor,
}

/// One row of `promotions`. Factors are in thousandths: 2000 is double, 0 is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Stamped into the rows it was used for.
    pub id: i64,
    /// What it applies to.
    pub scope: Scope,
    /// Upload counts so many thousandths.
    pub up_milli: i64,
    /// Download counts so many thousandths.
    pub down_milli: i64,
    /// Unix seconds from which it is in force.
    pub starts_at: i64,
    /// Unix seconds from which it is no longer in force; `None`: until further notice.
    pub ends_at: Option<i64>,
}

impl Promotion {
    /// A factor as people write it, in thousandths: `1.5` is 1500.
    ///
    /// # Errors
    /// [`PromotionError::Factor`] when it is not from 0 to 1000.
    pub fn milli(factor: f64) -> Result<i64, PromotionError> {
        if !(0.0..=1000.0).contains(&factor) {
            return Err(PromotionError::Factor);
        }
        #[expect(clippy::cast_possible_truncation, reason = "0 to 1,000,000 fits")]
        Ok((factor * 1000.0).round() as i64)
    }

    fn in_force_at(&self, ts: u64) -> bool {
        let ts = i64::try_from(ts).unwrap_or(i64::MAX);
        self.starts_at <= ts && self.ends_at.is_none_or(|end| ts < end)
    }
}

/// The factors of one event and where they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factors {
    /// Upload counts so many thousandths.
    pub up_milli: i64,
    /// Download counts so many thousandths.
    pub down_milli: i64,
    /// The promotion that gave the upload factor.
    pub promotion_id: Option<i64>,
    /// The promotion that gave the download factor, when it was another one.
    pub down_promotion_id: Option<i64>,
}

impl Factors {
    const PLAIN: Self =
        Self { up_milli: 1000, down_milli: 1000, promotion_id: None, down_promotion_id: None };
}

/// Promotions by scope, so that one event looks at its own few and not at a whole site's.
#[derive(Debug, Clone, Default)]
pub struct Promotions(HashMap<Scope, Vec<Promotion>>);

impl FromIterator<Promotion> for Promotions {
    fn from_iter<I: IntoIterator<Item = Promotion>>(promotions: I) -> Self {
        let mut by_scope: HashMap<Scope, Vec<Promotion>> = HashMap::new();
        for promotion in promotions {
            by_scope.entry(promotion.scope.clone()).or_default().push(promotion);
        }
        Self(by_scope)
    }
}

impl Promotions {
    /// The factors in force for `event` at its own `ts`.
    #[must_use]
    pub fn factors(&self, event: &TrafficEvent) -> Factors {
        if self.0.is_empty() {
            return Factors::PLAIN;
        }
        let matching = self.matching(event);
        // Ties are broken all the way down to the id, so that every consumer stamps the same promotion.
        let up = matching.iter().min_by_key(|p| (-p.up_milli, p.down_milli, p.id));
        let down = matching.iter().min_by_key(|p| (p.down_milli, -p.up_milli, p.id));
        let (Some(up), Some(down)) = (up, down) else { return Factors::PLAIN };
        Factors {
            up_milli: up.up_milli,
            down_milli: down.down_milli,
            promotion_id: Some(up.id),
            down_promotion_id: (down.down_milli < up.down_milli).then_some(down.id),
        }
    }

    fn matching(&self, event: &TrafficEvent) -> Vec<&Promotion> {
        let scopes = [
            Some(Scope::Global),
            Some(Scope::Torrent(event.info_hash)),
            event.fd.clone().map(Scope::Film),
            event.pd.clone().map(Scope::Playlist),
            Some(Scope::User(event.passkey)),
        ];
        let of_scope = scopes.into_iter().flatten().filter_map(|scope| self.0.get(&scope));
        of_scope.flatten().filter(|promotion| promotion.in_force_at(event.ts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{AddressFamily, Event, PeerId};

    fn event(ts: u64) -> TrafficEvent {
        TrafficEvent {
            passkey: "alice".parse().unwrap(),
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            port: 1,
            ip: [192, 0, 2, 1].into(),
            af: AddressFamily::V4,
            du: 0,
            dd: 0,
            left: 0,
            event: Event::None,
            ts,
            dt: 0,
            interval: 1800,
            min_interval: 900,
            fd: Some("film-7".into()),
            pd: None,
            claim: None,
            extras: contract::Extras::default(),
        }
    }

    fn promotion(id: i64, scope: Scope, up_milli: i64, down_milli: i64) -> Promotion {
        Promotion { id, scope, up_milli, down_milli, starts_at: 100, ends_at: Some(200) }
    }

    fn factors(promotions: Vec<Promotion>, ts: u64) -> (i64, i64, Option<i64>, Option<i64>) {
        let f = Promotions::from_iter(promotions).factors(&event(ts));
        (f.up_milli, f.down_milli, f.promotion_id, f.down_promotion_id)
    }

    #[test]
    fn a_promotion_counts_from_its_start_until_before_its_end() {
        let one = || vec![promotion(1, Scope::Global, 2000, 0)];
        assert_eq!(factors(one(), 99), (1000, 1000, None, None));
        assert_eq!(factors(one(), 100), (2000, 0, Some(1), None));
        assert_eq!(factors(one(), 199), (2000, 0, Some(1), None));
        assert_eq!(factors(one(), 200), (1000, 1000, None, None));
        let open = Promotion { ends_at: None, ..one().remove(0) };
        assert_eq!(factors(vec![open], 9_999_999), (2000, 0, Some(1), None));
    }

    #[test]
    fn the_better_side_of_each_wins_and_both_are_stamped() {
        let both = vec![
            promotion(1, Scope::Global, 2000, 1000),
            promotion(2, Scope::Film("film-7".into()), 1000, 0),
        ];
        assert_eq!(factors(both, 150), (2000, 0, Some(1), Some(2)));
    }

    #[test]
    fn ties_go_to_the_lower_download_factor_and_then_to_the_lower_id() {
        let tied = vec![
            promotion(9, Scope::Global, 2000, 500),
            promotion(3, Scope::User("alice".parse().unwrap()), 2000, 300),
            promotion(2, Scope::Torrent(InfoHash([1; 20])), 2000, 300),
        ];
        assert_eq!(factors(tied, 150), (2000, 300, Some(2), None));
    }

    #[test]
    fn what_does_not_match_does_not_count() {
        let others = vec![
            promotion(1, Scope::Torrent(InfoHash([9; 20])), 5000, 0),
            promotion(2, Scope::Film("film-8".into()), 5000, 0),
            promotion(3, Scope::Playlist("film-7".into()), 5000, 0),
            promotion(4, Scope::User("bob".parse().unwrap()), 5000, 0),
        ];
        assert_eq!(factors(others, 150), (1000, 1000, None, None));
    }

    #[test]
    fn a_penalty_applies_when_nothing_better_matches() {
        assert_eq!(factors(vec![promotion(1, Scope::Global, 500, 2000)], 150), (500, 2000, Some(1), None));
    }

    #[test]
    fn factors_are_read_to_the_thousandth() {
        assert_eq!(Promotion::milli(0.3), Ok(300));
        assert_eq!(Promotion::milli(2.0), Ok(2000));
        assert_eq!(Promotion::milli(-0.1), Err(PromotionError::Factor));
        assert_eq!(Promotion::milli(f64::NAN), Err(PromotionError::Factor));
    }
}
