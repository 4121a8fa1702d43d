use super::*;

fn event() -> TrafficEvent {
    TrafficEvent {
        passkey: "alice".parse().unwrap(),
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        port: 6881,
        ip: [192, 0, 2, 1].into(),
        af: contract::AddressFamily::V4,
        du: 1000,
        dd: 3000,
        left: 0,
        event: Event::None,
        ts: 10_000,
        dt: 600,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    }
}

fn settled(event: &TrafficEvent) -> SettledRow {
    settle(EntryId::at_ms(1), event, &Promotions::default(), &Rules::default())
}

fn seconds(event: &TrafficEvent) -> (i64, i64) {
    let row = settled(event);
    (row.seed_seconds, row.leech_seconds)
}

#[test]
fn without_promotions_credit_equals_the_raw_bytes() {
    let row = settled(&event());
    assert_eq!((row.raw_up, row.raw_down, row.credited_up, row.credited_down), (1000, 3000, 1000, 3000));
    assert_eq!((row.promotion_id, row.down_promotion_id, row.flag), (None, None, None));
}

#[test]
fn time_counts_for_what_the_client_was_doing() {
    let with = |word: Event, left: u64| seconds(&TrafficEvent { event: word, left, ..event() });
    assert_eq!(with(Event::None, 0), (600, 0));
    assert_eq!(with(Event::Stopped, 0), (600, 0));
    assert_eq!(with(Event::None, 5), (0, 600));
    assert_eq!(with(Event::Stopped, 5), (0, 600));
    assert_eq!(with(Event::Completed, 0), (0, 600));
    assert_eq!(with(Event::Started, 0), (0, 0));
    assert_eq!(with(Event::Started, 5), (0, 0));
}

#[test]
fn a_client_that_was_away_is_paid_for_two_intervals_at_most() {
    assert_eq!(seconds(&TrafficEvent { dt: 9000, ..event() }), (3600, 0));
    assert_eq!(seconds(&TrafficEvent { dt: u64::MAX, ts: 50, ..event() }), (50, 0));
}

#[test]
fn impossible_speed_is_recorded_and_credited_nothing() {
    let row = settled(&TrafficEvent { du: 1_250_000_001, dt: 1, ..event() });
    assert_eq!((row.raw_up, row.raw_down, row.credited_up, row.credited_down), (1_250_000_001, 3000, 0, 0));
    let flag = row.flag.unwrap();
    assert_eq!(flag.reason, FlagReason::Speed);
    assert!(flag.details.contains("1250000001"), "{}", flag.details);
    assert_eq!(settled(&TrafficEvent { du: 1_250_000_000, dt: 1, ..event() }).flag, None);
}

#[test]
fn bytes_without_a_time_base_are_judged_over_one_interval() {
    assert_eq!(settled(&TrafficEvent { du: 1_250_000_000 * 1800, dt: 0, ..event() }).flag, None);
    assert!(settled(&TrafficEvent { du: 1_250_000_000 * 1800 + 1, dt: 0, ..event() }).flag.is_some());
}

#[test]
fn a_rate_of_zero_switches_the_speed_flag_off() {
    let fast = TrafficEvent { du: MAX_EXACT_BYTES, dt: 1, ..event() };
    let row = settle(EntryId::default(), &fast, &Promotions::default(), &Rules { max_rate_bytes_per_s: 0 });
    assert_eq!(row.flag, None);
}

#[test]
fn a_figure_that_cannot_be_exact_is_recorded_as_nothing_with_its_claim_in_the_flag() {
    let row = settled(&TrafficEvent { dd: u64::MAX, dt: u64::MAX, ..event() });
    assert_eq!((row.raw_up, row.raw_down, row.credited_up, row.credited_down), (0, 0, 0, 0));
    let flag = row.flag.unwrap();
    assert_eq!(flag.reason, FlagReason::Overflow);
    assert!(flag.details.contains("18446744073709551615"));
}

#[test]
fn a_magnet_client_that_wants_everything_is_no_cheat() {
    let row = settled(&TrafficEvent { left: u64::MAX, ..event() });
    assert_eq!((row.left_bytes, row.flag), (i64::MAX, None));
}

#[test]
fn credit_rounds_down_and_saturates() {
    assert_eq!(credit(999, 500), 499);
    assert_eq!(credit(1000, 0), 0);
    assert_eq!(credit(i64::MAX, 1_000_000), i64::MAX);
}

const RATE: u64 = 1_000_000;
const RATED: Rules = Rules { max_rate_bytes_per_s: RATE };

/// What a session's announces are flagged for, one after the other: seconds since its birth, `dt`, bytes.
fn flags_of(announces: &[(u64, u64, u64)]) -> Vec<bool> {
    let (mut lines, mut tu) = (Lines::default(), 0);
    let born_ms = 1_700_000_000_000;
    let flagged = |(age, dt, du): &(u64, u64, u64)| {
        tu += du;
        let at_ms = born_ms + age * 1000;
        let claim = contract::Claim { at_ms, up: tu, down: 0, born_ms, tu, td: 0, n: 0 };
        let event = TrafficEvent { du: *du, dd: 0, dt: *dt, ts: at_ms / 1000, claim: Some(claim), ..event() };
        let claim = |event: &TrafficEvent| lines.claim(event);
        settle_claimed(EntryId::default(), &event, claim, &Promotions::default(), &RATED).flag.is_some()
    };
    announces.iter().map(flagged).collect()
}

#[test]
fn what_paths_and_clocks_may_shift_is_no_flag() {
    // A slow path told the first report, a fast one the second: 100 s of bytes within a second.
    assert_eq!(flags_of(&[(0, 0, 0), (600, 600, 500 * RATE), (601, 1, 100 * RATE)]), [false; 3]);
    // A spooled report of a run that nobody else had heard of, without a time base.
    assert_eq!(flags_of(&[(0, 0, 0), (90_000, 90_000, 0), (80_000, 0, 80_000 * RATE)]), [false; 3]);
    // The site's clock runs a tenth slower than time.
    assert_eq!(flags_of(&[(0, 0, 0), (1800, 1800, 2000 * RATE)]), [false; 2]);
}

#[test]
fn who_claims_too_much_over_time_is_flagged_however_often_he_announces() {
    assert_eq!(flags_of(&[(0, 0, 0), (1800, 1800, 2 * 1800 * RATE)]), [false, true]);
    let each_second: Vec<_> = (1..300).map(|second| (second, 1, 20 * RATE)).collect();
    let flagged = flags_of(&each_second).into_iter().filter(|flagged| *flagged).count();
    assert!(flagged > 150, "{flagged} of 299");
}

#[test]
fn an_event_whose_time_was_moved_on_is_judged_over_its_line() {
    let born_ms = 1_700_000_000_000;
    let claim = contract::Claim { at_ms: born_ms + 3_600_000, up: 0, down: 0, born_ms, tu: 0, td: 0, n: 0 };
    let event = TrafficEvent { du: 3600 * RATE, dd: 0, dt: 1, ts: claim.at_ms / 1000, ..event() };
    let flag = |event: &TrafficEvent| flags::speed(event, &Claimed::default(), &RATED);
    let on_time = TrafficEvent { claim: Some(claim), ..event.clone() };
    assert!(flag(&on_time).is_some());
    assert_eq!(flag(&TrafficEvent { ts: event.ts + 7200, claim: Some(claim), ..event }), None);
}
