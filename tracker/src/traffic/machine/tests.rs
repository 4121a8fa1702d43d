//! Facts about the recorder, on a disk in memory and without Redis: the test is its driver.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use contract::{Event, InfoHash, PeerId};

use super::*;
use crate::traffic::booking::Booking;
use crate::traffic::failure::FailureKind;
use crate::traffic::reply::{Clock, Outcome, Present, Verdict};
use crate::traffic::spool::{Fault, MemoryDisk, Store};

const INTERVAL: Duration = Duration::from_millis(200);
const LIMIT: u64 = 1 << 20;
const T0: u64 = 1_700_000_000_000;

type Answer = Result<(), RecordError>;

/// A recorder whose clients are numbers: each uploads as many bytes.
struct Scene {
    machine: RecorderMachine<u64>,
    store: Store<MemoryDisk>,
    now: Instant,
    calls: VecDeque<Call>,
    requests: VecDeque<DiskRequest>,
    answers: Vec<(u64, Answer)>,
    notices: Vec<Notice>,
    /// The tail's file is slow.
    holds_tail: bool,
}

impl Scene {
    fn new(id: &str, disk: &MemoryDisk, has_spool: bool) -> Self {
        let limits = Limits {
            batch: 4,
            replay_batch: 4,
            retry_count: 2,
            retry_interval: INTERVAL,
            has_spool,
            tail: TailLimits::default(),
        };
        let (rules, now) = (Rules::new(&contract::Keys::default()), Instant::now());
        Self {
            machine: RecorderMachine::new(id.into(), limits, rules, (SharedClock::guessed(T0, 0, now), now)),
            store: Store::on(disk.clone(), LIMIT).unwrap(),
            now,
            calls: VecDeque::new(),
            requests: VecDeque::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            holds_tail: false,
        }
    }

    /// One that Redis has let in.
    fn direct(disk: &MemoryDisk) -> Self {
        let mut scene = Self::new("aaaa", disk, true);
        scene.begins();
        scene.disk();
        scene.books();
        assert_eq!(scene.machine.state, RecorderState::Direct);
        scene
    }

    /// One whose Redis has just gone, with these clients' reports in the spool.
    fn cut_off(disk: &MemoryDisk, clients: &[u64]) -> Self {
        let mut scene = Self::direct(disk);
        scene.report(clients);
        scene.fails(FailureKind::Forbidden);
        scene.disk();
        assert_eq!(scene.machine.state, RecorderState::Spooling);
        scene.answers.clear();
        scene
    }

    fn hand(&mut self, input: Input<'_, u64>) {
        self.machine.handle(input, self.now);
        while let Some(action) = self.machine.poll() {
            match action {
                Action::Send(call) => self.calls.push_back(call),
                Action::Disk(request) => self.requests.push_back(request),
                Action::Answer { tokens, verdict } => {
                    self.answers.extend(tokens.into_iter().map(|token| (token, verdict)));
                }
                Action::Notice(notice) => self.notices.push(notice),
            }
        }
        assert!(self.calls.len() <= 1 && self.requests.len() <= 1, "one of each at a time");
        let is_tail = matches!(
            self.requests.front(),
            Some(
                DiskRequest::AppendTail { .. } | DiskRequest::ReadTail { .. } | DiskRequest::LetGoTail { .. }
            )
        );
        if is_tail && !self.holds_tail {
            self.disk();
        }
    }

    /// The recorder asks what time it is, and looks for what an earlier process left.
    fn begins(&mut self) {
        self.hand(Input::Begin);
        self.books();
    }

    fn report(&mut self, clients: &[u64]) {
        assert!(clients.len() <= self.machine.room());
        let report =
            |client: &u64| Submission { booking: booking(*client), arrived: self.now, token: *client };
        self.hand(Input::Reports(&mut clients.iter().map(report).collect()));
    }

    /// The disk does what it is asked.
    fn disk(&mut self) {
        let request = self.requests.pop_front().expect("the disk is asked");
        let result = request.carry_out(&mut self.store);
        self.hand(Input::Disk(result));
    }

    fn call(&mut self) -> Call {
        self.calls.pop_front().expect("Redis is called")
    }

    /// Redis books the call under way.
    fn books(&mut self) {
        let call = self.call();
        let outcomes = vec![Outcome::Booked; call.entries().len()];
        self.answered(&call, outcomes);
    }

    fn answered(&mut self, call: &Call, outcomes: Vec<Outcome>) {
        self.hand(Input::Answered { call: call.number, answer: Ok(self.receipt(outcomes)) });
    }

    fn receipt(&self, outcomes: Vec<Outcome>) -> Receipt {
        Receipt { clock: Clock { site_ms: T0, ahead_ms: 0 }, verdict: Verdict::SeenTo(outcomes) }
    }

    /// The call under way fails.
    fn fails(&mut self, kind: FailureKind) {
        let call = self.call();
        let answer = Err(SendFailure { kind, reason: "as the test wants".into() });
        self.hand(Input::Answered { call: call.number, answer });
    }

    /// Time passes up to the machine's deadline.
    fn waits(&mut self) -> Duration {
        let deadline = self.machine.deadline().expect("the machine waits for a time");
        let waited = deadline.saturating_duration_since(self.now);
        self.now += waited;
        self.hand(Input::Time);
        waited
    }

    fn answers(&mut self) -> Vec<(u64, Answer)> {
        std::mem::take(&mut self.answers)
    }
}

fn booking(uploaded: u64) -> Booking {
    Booking {
        passkey: "alice".parse().unwrap(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([8; 20]),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded,
        downloaded: 0,
        left: 0,
        event: Event::Started,
        at_ms: 0,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    }
}

/// What a call books: (client, number).
fn content(call: &Call) -> Vec<(u64, u64)> {
    call.entries().map(|entry| (entry.booking.uploaded, entry.sequence)).collect()
}

#[test]
fn clients_are_answered_when_redis_has_booked_their_batch_and_the_next_one_gathers_meanwhile() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[10, 20]);
    assert_eq!(scene.machine.room(), 0, "one batch at a time");
    assert_eq!((content(&scene.calls[0]), scene.answers()), (vec![(10, 1), (20, 2)], vec![]));
    scene.books();
    assert_eq!(scene.answers(), [(10, Ok(())), (20, Ok(()))]);
    scene.report(&[30]);
    let (call, said) = (&scene.calls[0], scene.calls[0].said());
    assert_eq!((content(call), said.known_call + 1, said.call), (vec![(30, 3)], call.number, call.number));
}

#[test]
fn nothing_is_taken_before_redis_was_asked_once() {
    let mut scene = Scene::new("aaaa", &MemoryDisk::default(), true);
    assert_eq!(scene.machine.room(), 0);
    scene.hand(Input::Begin);
    assert_eq!((scene.machine.room(), scene.calls[0].entries().len()), (0, 0));
    scene.fails(FailureKind::Unreachable);
    assert_eq!(scene.machine.room(), 4, "from then on clients need not wait for Redis");
}

#[test]
fn a_batch_is_sent_again_while_its_time_lasts_and_then_spooled_under_the_same_numbers() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[10]);
    for _ in 0..2 {
        scene.fails(FailureKind::Busy);
        assert_eq!((scene.answers(), scene.waits()), (vec![], INTERVAL));
        assert_eq!(content(&scene.calls[0]), [(10, 1)]);
    }
    scene.fails(FailureKind::Busy);
    assert_eq!(scene.answers(), [], "it is not on disk yet");
    scene.disk();
    assert_eq!(scene.answers(), [(10, Ok(()))]);
    assert_eq!(scene.waits(), PAUSE);
    scene.disk();
    assert_eq!(content(&scene.calls[0]), [(10, 1)]);
    assert_eq!(scene.calls[0].other_tracker_id(), None);
}

#[test]
fn what_cannot_pass_soon_is_not_tried_again_at_once() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[10]);
    scene.fails(FailureKind::Forbidden);
    scene.disk();
    assert_eq!(scene.answers(), [(10, Ok(()))]);
}

#[test]
fn an_answer_that_comes_when_it_is_not_awaited_any_more_changes_nothing() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[10]);
    let first = scene.calls[0].clone();
    scene.fails(FailureKind::Unreachable);
    scene.answered(&first, vec![Outcome::Booked]);
    assert_eq!((scene.answers(), scene.machine.room()), (vec![], 0));
    scene.waits();
    scene.answered(&first, vec![Outcome::Booked]);
    assert_eq!(scene.answers(), [], "the second call is under way");
    let second = scene.call();
    scene.answered(&second, vec![Outcome::Repeated]);
    assert_eq!(scene.answers(), [(10, Ok(()))]);
    scene.answered(&second, vec![Outcome::Repeated]);
    assert_eq!((scene.answers(), scene.machine.room()), (vec![], 4));
}

#[test]
fn what_redis_booked_without_saying_so_is_answered_once_and_leaves_the_spool() {
    let mut scene = Scene::cut_off(&MemoryDisk::default(), &[10]);
    scene.waits();
    scene.disk();
    let call = scene.call();
    scene.answered(&call, vec![Outcome::Repeated]);
    scene.disk();
    assert!(scene.store.is_empty());
    assert_eq!((scene.machine.state, scene.answers()), (RecorderState::Direct, vec![]));
}

#[test]
fn a_tracker_killed_between_the_disk_and_the_answer_leaves_the_announce_to_the_next_one() {
    let disk = MemoryDisk::default();
    let mut killed = Scene::direct(&disk);
    killed.report(&[10, 20]);
    killed.fails(FailureKind::Forbidden);
    let request = killed.requests.pop_front().unwrap();
    assert!(matches!(request.carry_out(&mut killed.store), DiskResult::Appended(Ok(()))));
    drop(killed);
    disk.lose_power(0);
    let mut next = Scene::new("bbbb", &disk, true);
    next.begins();
    next.disk();
    let call = &next.calls[0];
    assert_eq!(content(call), [(10, 1), (20, 2)]);
    assert_eq!((call.other_tracker_id(), call.said().call), (Some("aaaa"), call.number));
    next.books();
    next.disk();
    assert_eq!((next.machine.state, next.machine.confirmed), (RecorderState::Direct, 0));
    next.report(&[30]);
    assert_eq!((content(&next.calls[0]), next.calls[0].other_tracker_id()), (vec![(30, 1)], None));
}

#[test]
fn new_reports_go_behind_what_is_spooled_and_wait_only_for_the_last_batch() {
    let mut scene = Scene::cut_off(&MemoryDisk::default(), &[1, 2, 3, 4]);
    scene.report(&[5, 6, 7, 8]);
    scene.disk();
    scene.waits();
    scene.disk();
    assert_eq!(content(&scene.calls[0]), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    scene.report(&[9]);
    scene.disk();
    assert_eq!(scene.answers().len(), 5, "they do not wait for Redis");
    scene.books();
    assert_eq!(scene.machine.room(), 0, "the disk is asked one thing at a time");
    scene.disk();
    scene.disk();
    assert_eq!((scene.machine.state, scene.machine.room()), (RecorderState::Replaying, 4));
    scene.books();
    scene.disk();
    scene.disk();
    assert_eq!(scene.machine.room(), 0, "one is left: what comes now waits for it");
    assert_eq!(content(&scene.calls[0]), [(9, 9)]);
    scene.books();
    scene.disk();
    assert_eq!((scene.machine.state, scene.machine.room()), (RecorderState::Direct, 4));
}

#[test]
fn redis_may_answer_while_the_disk_is_at_work() {
    let mut scene = Scene::cut_off(&MemoryDisk::default(), &[1]);
    scene.waits();
    scene.disk();
    scene.report(&[2]);
    scene.books();
    assert!(matches!(scene.requests[0], DiskRequest::Append { .. }), "the batch leaves the spool later");
    scene.disk();
    scene.disk();
    assert_eq!((scene.answers(), scene.store.records()), (vec![(2, Ok(()))], 1));
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_only_the_clients_of_that_while_their_answers() {
    let disk = MemoryDisk::default();
    let mut scene = Scene::cut_off(&disk, &[1]);
    disk.fail(Some(Fault::Full { room: 20 }));
    for client in [2, 3] {
        scene.report(&[client]);
        scene.disk();
    }
    let refused = Err(RecordError::SpoolFailed);
    assert_eq!(scene.answers(), [(2, refused), (3, refused)]);
    assert_eq!(scene.machine.state, RecorderState::Refusing);
    let said = scene.notices.iter().filter(|notice| matches!(notice, Notice::SpoolFails(_)));
    assert_eq!(said.count(), 1);
    disk.fail(None);
    scene.report(&[4]);
    scene.disk();
    assert_eq!((scene.answers(), scene.machine.state), (vec![(4, Ok(()))], RecorderState::Spooling));
    scene.waits();
    scene.disk();
    assert_eq!(content(&scene.calls[0]), [(1, 1)], "each segment is a batch of its own");
    scene.books();
    scene.disk();
    scene.disk();
    assert_eq!(content(&scene.calls[0]), [(4, 4)]);
}

#[test]
fn a_full_spool_refuses_by_its_name() {
    let mut scene = Scene::cut_off(&MemoryDisk::default(), &[1]);
    scene.store.set_limit(10);
    scene.report(&[2]);
    scene.disk();
    assert_eq!(scene.answers(), [(2, Err(RecordError::SpoolFull))]);
}

#[test]
fn a_spool_that_cannot_be_read_is_asked_again_after_a_pause() {
    let disk = MemoryDisk::default();
    let mut scene = Scene::cut_off(&disk, &[1]);
    disk.fail(Some(Fault::Broken));
    for _ in 0..2 {
        assert_eq!(scene.waits(), PAUSE);
        scene.disk();
        assert!(scene.requests.is_empty() && scene.calls.is_empty());
    }
    disk.fail(None);
    scene.waits();
    scene.disk();
    assert_eq!(content(&scene.calls[0]), [(1, 1)]);
}

#[test]
fn what_redis_refuses_for_good_is_set_aside_and_holds_up_nobody() {
    let mut scene = Scene::cut_off(&MemoryDisk::default(), &[1, 2]);
    scene.waits();
    scene.disk();
    let call = scene.call();
    scene.answered(&call, vec![Outcome::Failed("WRONGTYPE".into()), Outcome::Booked]);
    scene.disk();
    assert!(scene.store.is_empty() && scene.store.bytes() > 0);
    assert_eq!(scene.machine.state, RecorderState::Direct);
    assert!(
        scene
            .notices
            .iter()
            .any(|notice| { matches!(notice, Notice::LeftSpool { booked: 1, set_aside: 1, file: Some(_) }) })
    );
}

#[test]
fn what_cannot_be_set_aside_stays_in_the_spool_and_is_sent_again() {
    let disk = MemoryDisk::default();
    let mut scene = Scene::cut_off(&disk, &[1]);
    scene.waits();
    scene.disk();
    let call = scene.call();
    disk.fail(Some(Fault::Broken));
    scene.answered(&call, vec![Outcome::Failed("WRONGTYPE".into())]);
    scene.disk();
    disk.fail(None);
    assert_eq!(scene.waits(), PAUSE);
    scene.disk();
    assert_eq!(content(&scene.calls[0]), [(1, 1)]);
}

#[test]
fn an_announce_that_redis_refuses_is_its_clients_alone() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[1, 2, 3]);
    let call = scene.call();
    scene.answered(&call, vec![Outcome::Booked, Outcome::Failed("WRONGTYPE".into()), Outcome::Repeated]);
    assert_eq!(scene.answers(), [(1, Ok(())), (3, Ok(())), (2, Err(RecordError::Unavailable))]);
}

#[test]
fn without_a_spool_clients_are_told_to_come_back_until_redis_takes_a_call() {
    let mut scene = Scene::new("aaaa", &MemoryDisk::default(), false);
    scene.hand(Input::Begin);
    scene.books();
    scene.report(&[1]);
    scene.fails(FailureKind::Forbidden);
    scene.report(&[2]);
    let refused = Err(RecordError::Unavailable);
    assert_eq!(scene.answers(), [(1, refused), (2, refused)]);
    assert_eq!((scene.machine.state, scene.waits()), (RecorderState::Refusing, PAUSE));
    assert!(scene.calls[0].batch().is_empty());
    scene.books();
    assert_eq!(scene.machine.state, RecorderState::Direct);
}

#[test]
fn a_successor_begins_with_what_its_predecessor_has_not_got_rid_of() {
    let disk = MemoryDisk::default();
    let mut last = Scene::cut_off(&disk, &[1]);
    let mut next = Scene::new("bbbb", &disk, true);
    assert_eq!(next.machine.room(), 0, "its reports wait until the spool is its own");
    last.report(&[2]);
    last.hand(Input::Closed);
    assert!(!last.machine.has_ended(), "the disk is at work");
    last.disk();
    assert!(last.machine.has_ended() && last.answers() == [(2, Ok(()))]);
    next.store = last.store;
    next.begins();
    next.disk();
    assert_eq!(content(&next.calls[0]), [(1, 1), (2, 2)]);
    assert_eq!(next.calls[0].other_tracker_id(), Some("aaaa"));
}

#[test]
fn a_recorder_that_stops_finishes_the_batch_under_way() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[1]);
    scene.hand(Input::Closed);
    assert!(!scene.machine.has_ended());
    scene.books();
    assert!(scene.machine.has_ended() && scene.answers() == [(1, Ok(()))]);
}

#[test]
fn an_outage_is_told_once_and_its_end_too() {
    let mut scene = Scene::cut_off(&MemoryDisk::default(), &[1]);
    scene.waits();
    scene.disk();
    scene.fails(FailureKind::Unreachable);
    scene.waits();
    scene.disk();
    scene.books();
    scene.disk();
    let began = scene.notices.iter().filter(|notice| matches!(notice, Notice::OutageBegan(_)));
    assert_eq!(began.count(), 1);
    let over = |notice: &&Notice| matches!(notice, Notice::CaughtUp { outage: Some(_), replayed: 1 });
    assert_eq!(scene.notices.iter().filter(over).count(), 1);
}

/// Redis says that it knows calls and numbers only up to these.
fn goes_back(scene: &mut Scene, known: u64, booked: u64) {
    let call = scene.call();
    let clock = Clock { site_ms: T0, ahead_ms: 0 };
    let receipt = Receipt { clock, verdict: Verdict::WentBack { call: known, booked } };
    scene.hand(Input::Answered { call: call.number, answer: Ok(receipt) });
}

#[test]
fn a_redis_that_went_back_gets_the_tail_again_under_the_old_numbers_and_seconds() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    let (mut seconds, mut calls) = (Vec::new(), Vec::new());
    for client in [10, 20, 30] {
        scene.report(&[client]);
        seconds.push(scene.calls[0].batch()[0].booked.ts);
        calls.push(scene.calls[0].number);
        scene.books();
    }
    scene.answers();
    scene.report(&[40]);
    goes_back(&mut scene, calls[0], 1);
    let said = scene.calls[0].said();
    assert_eq!((content(&scene.calls[0]), said.known_call, said.call), (vec![(20, 2), (30, 3)], calls[0], 0));
    assert_eq!(scene.calls[0].batch()[1].booked.ts, seconds[2]);
    scene.books();
    assert_eq!((content(&scene.calls[0]), scene.calls[0].said().call), (vec![], scene.calls[0].number));
    scene.books();
    assert_eq!(scene.answers(), [], "what was under way waits for that");
    assert_eq!(content(&scene.calls[0]), [(40, 4)]);
    scene.books();
    assert_eq!(scene.answers(), [(40, Ok(()))]);
    let told = |notice: &&Notice| matches!(notice, Notice::WentBack { behind: 2, again: 2 });
    assert_eq!(scene.notices.iter().filter(told).count(), 1);
}

#[test]
fn what_an_earlier_process_has_left_came_before_this_one_began() {
    let disk = MemoryDisk::default();
    let ahead = Booking { at_ms: T0 + 3_600_000, ..booking(1) };
    let mut store = Store::on(disk.clone(), LIMIT).unwrap();
    store.append("aaaa", &[NumberedBooking::new(ahead, 1)]).unwrap();
    let mut next = Scene::new("bbbb", &disk, true);
    next.now += Duration::from_secs(5);
    next.begins();
    next.disk();
    assert_eq!(next.calls[0].batch()[0].entry.booking.at_ms, T0 - 5000);
}

#[test]
fn a_recorder_gives_redis_the_tail_that_the_one_before_has_left_it() {
    let disk = MemoryDisk::default();
    let mut last = Scene::direct(&disk);
    last.report(&[10]);
    last.books();
    last.hand(Input::Closed);
    assert!(last.machine.has_ended());
    let left = last.machine.leave();
    let mut next = Scene::new("bbbb", &disk, true);
    next.store = last.store;
    next.begins();
    next.hand(Input::Heritage(left));
    next.disk();
    assert_eq!(next.calls[0].said().known_call, next.calls[0].number, "Redis must say how far it is");
    goes_back(&mut next, 1, 0);
    let call = &next.calls[0];
    assert_eq!((content(call), call.other_tracker_id()), (vec![(10, 1)], Some("aaaa")));
    next.books();
    next.books();
    next.books();
    assert_eq!(next.machine.state, RecorderState::Direct);
    assert!(!next.notices.iter().any(|notice| matches!(notice, Notice::WentBack { .. })));
    next.report(&[20]);
    goes_back(&mut next, 1, 0);
    assert_eq!(content(&next.calls[0]), [(10, 1)], "it is its own now");
}

#[test]
fn a_redis_that_fails_while_it_is_given_the_tail_is_given_it_again() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    for client in [10, 20] {
        scene.report(&[client]);
        scene.books();
    }
    scene.answers();
    scene.report(&[30]);
    goes_back(&mut scene, 0, 0);
    let given = scene.calls[0].number;
    scene.fails(FailureKind::Unreachable);
    scene.waits();
    let said = scene.calls[0].said();
    assert_eq!(
        (content(&scene.calls[0]), said.known_call),
        (vec![(30, 3)], given),
        "Redis remembers none of it"
    );
    goes_back(&mut scene, 0, 1);
    assert_eq!(content(&scene.calls[0]), [(10, 1), (20, 2)]);
    scene.books();
    scene.books();
    scene.books();
    assert_eq!(scene.answers(), [(30, Ok(()))]);
}

#[test]
fn a_redis_that_went_back_further_than_the_tail_reaches_is_told_of_and_used() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[10]);
    scene.books();
    scene.now += Duration::from_secs(61);
    scene.report(&[20]);
    scene.books();
    scene.report(&[30]);
    goes_back(&mut scene, 0, 0);
    assert_eq!(content(&scene.calls[0]), [(20, 2)]);
    assert!(scene.notices.iter().any(|notice| matches!(notice, Notice::WentBack { behind: 2, again: 1 })));
}

#[test]
fn an_entry_is_computed_again_from_what_redis_shows() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.report(&[10]);
    scene.books();
    scene.report(&[50]);
    let present = scene.calls[0].batch()[0].before.clone();
    assert_eq!(scene.calls[0].batch()[0].booked.claims.up, 40);
    let call = scene.call();
    scene.answered(&call, vec![Outcome::Stale(Present::Snapshot(present))]);
    assert_eq!(content(&scene.calls[0]), [(50, 2)], "under its number");
    let call = scene.call();
    scene.answered(&call, vec![Outcome::Stale(Present::Nothing)]);
    let again = &scene.calls[0].batch()[0];
    assert_eq!((again.booked.claims.up, again.expected()), (40, &b""[..]), "from what is known here");
    scene.books();
    assert_eq!(scene.answers().last(), Some(&(50, Ok(()))));
}

#[test]
fn clients_are_answered_when_what_redis_booked_is_on_disk_too() {
    let mut scene = Scene::direct(&MemoryDisk::default());
    scene.holds_tail = true;
    scene.report(&[10]);
    assert!(matches!(scene.requests[0], DiskRequest::AppendTail { .. }), "while the call travels");
    scene.books();
    assert_eq!((scene.answers(), scene.machine.room()), (vec![], 0));
    scene.disk();
    assert_eq!(scene.answers(), [(10, Ok(()))]);
    scene.report(&[20]);
    scene.books();
    assert_eq!(scene.waits(), Duration::from_secs(1), "a disk that hangs holds nobody up for long");
    assert_eq!(scene.answers(), [(20, Ok(()))]);
    scene.report(&[30]);
    scene.books();
    assert_eq!((scene.answers(), scene.requests.len()), (vec![], 1), "it is still at work");
    scene.disk();
    scene.disk();
    assert_eq!(scene.answers(), [(30, Ok(()))]);
}

#[test]
fn what_a_killed_tracker_was_confirmed_is_given_to_a_redis_that_lost_it() {
    let disk = MemoryDisk::default();
    let mut killed = Scene::direct(&disk);
    killed.report(&[10, 20]);
    let ts = killed.calls[0].batch()[1].booked.ts;
    killed.books();
    assert_eq!(killed.answers().len(), 2);
    drop(killed);
    let mut next = Scene::new("bbbb", &disk, true);
    next.begins();
    let call = &next.calls[0];
    assert_eq!((content(call), call.other_tracker_id()), (vec![(10, 1), (20, 2)], Some("aaaa")));
    assert_eq!(call.batch()[1].booked.ts, ts);
    next.books();
    next.disk();
    next.books();
    assert_eq!(next.machine.state, RecorderState::Direct);
}
