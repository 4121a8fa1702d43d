//! What the reader asks next, and what it makes of answers; without a Redis.

use super::*;

struct Scene {
    reader: Reader,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let source = Source {
            stream: "traffic".into(),
            group: "site".into(),
            consumer: "one".into(),
            batch_size: 2,
            claim_idle: Duration::from_secs(60),
        };
        Self { reader: Reader::new(source, now), now }
    }

    /// Has nothing of its own and of others, and waits for new entries.
    fn reading_new() -> Self {
        let mut scene = Self::new();
        scene.expect("XGROUP CREATE traffic site 0 MKSTREAM", Err(refusal("BUSYGROUP it is there")));
        scene.expect("XREADGROUP GROUP site one COUNT 2 STREAMS traffic 0-0", Ok(entries(&[])));
        scene.expect("XAUTOCLAIM traffic site one 60000 0-0 COUNT 2", Ok(claim("0-0", &[])));
        scene
    }

    fn asked(&mut self) -> String {
        match self.reader.poll(self.now) {
            Ask::Command(command) => words(&command),
            Ask::NewEntries(_) => "new entries".into(),
        }
    }

    /// It asks this, and hears that; says which entries it was given, and whether the read is over.
    fn expect(&mut self, question: &str, answer: RedisResult<Value>) -> Option<Vec<u64>> {
        assert_eq!(self.asked(), question);
        let batch = self.reader.answered(answer.map(Answer::Reply), self.now).unwrap();
        batch.map(|batch| {
            batch.gone.iter().chain(batch.broken.iter().map(|broken| &broken.id)).map(|id| id.ms).collect()
        })
    }

    fn given_new(&mut self, batch: Batch) -> Batch {
        assert_eq!(self.asked(), "new entries");
        self.reader.answered(Ok(Answer::NewEntries(batch)), self.now).unwrap().unwrap()
    }

    fn fails(&mut self, error: RedisError) {
        self.asked();
        self.reader.answered(Err(error), self.now).unwrap_err();
    }
}

fn words(command: &Cmd) -> String {
    let word = |arg: redis::Arg<&[u8]>| match arg {
        redis::Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
        _ => "*".into(),
    };
    command.args_iter().map(word).collect::<Vec<_>>().join(" ")
}

fn text(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn list(ids: &[u64]) -> Value {
    Value::Array(ids.iter().map(|ms| Value::Array(vec![text(&format!("{ms}-0")), Value::Nil])).collect())
}

/// One stream with these entries, all of them gone.
fn entries(ids: &[u64]) -> Value {
    Value::Array(vec![Value::Array(vec![text("traffic"), list(ids)])])
}

fn claim(cursor: &str, ids: &[u64]) -> Value {
    Value::Array(vec![text(cursor), list(ids), Value::Array(Vec::new())])
}

fn refusal(line: &str) -> RedisError {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
}

fn broken_connection() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()
}

const OWN: &str = "XREADGROUP GROUP site one COUNT 2 STREAMS traffic 0-0";

#[test]
fn its_own_pending_entries_come_first_then_what_others_left_then_what_is_new() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.expect("XGROUP CREATE traffic site 0 MKSTREAM", Err(refusal("BUSYGROUP it is there"))),
        None
    );
    assert_eq!(scene.expect(OWN, Ok(entries(&[1, 2]))), Some(vec![1, 2]));
    let more = "XREADGROUP GROUP site one COUNT 2 STREAMS traffic 2-0";
    assert_eq!(scene.expect(more, Ok(entries(&[]))), Some(vec![]), "an empty read is a read");
    assert_eq!(
        scene.expect("XAUTOCLAIM traffic site one 60000 0-0 COUNT 2", Ok(claim("5-0", &[4]))),
        Some(vec![4])
    );
    assert!(scene.reader.looks_back(scene.now));
    scene.expect("XAUTOCLAIM traffic site one 60000 5-0 COUNT 2", Ok(claim("0-0", &[])));
    assert!(!scene.reader.looks_back(scene.now));
    assert!(scene.given_new(Batch::default()).is_empty());
}

#[test]
fn entries_that_were_deleted_while_they_were_pending_are_told_whichever_way_redis_says_so() {
    let mut scene = Scene::new();
    scene.expect("XGROUP CREATE traffic site 0 MKSTREAM", Err(refusal("BUSYGROUP it is there")));
    scene.expect(OWN, Ok(entries(&[])));
    let deleted = Value::Array(vec![text("7-0"), text("8-0")]);
    let answer = Value::Array(vec![text("0-0"), list(&[4]), deleted]);
    assert_eq!(
        scene.expect("XAUTOCLAIM traffic site one 60000 0-0 COUNT 2", Ok(answer)),
        Some(vec![4, 7, 8])
    );
}

#[test]
fn others_are_looked_after_again_after_half_the_time_that_they_have() {
    let mut scene = Scene::reading_new();
    scene.now += Duration::from_secs(29);
    assert!(!scene.reader.looks_back(scene.now));
    scene.now += Duration::from_secs(1);
    assert!(scene.reader.looks_back(scene.now));
    assert_eq!(scene.asked(), "XAUTOCLAIM traffic site one 60000 0-0 COUNT 2");
}

#[test]
fn after_a_failure_it_begins_with_what_it_may_have_been_given() {
    let mut scene = Scene::reading_new();
    scene.fails(broken_connection());
    assert!(scene.reader.looks_back(scene.now));
    scene.expect("XGROUP CREATE traffic site 0 MKSTREAM", Err(refusal("BUSYGROUP it is there")));
    scene.expect(OWN, Ok(entries(&[])));
}

#[test]
fn a_question_that_was_given_up_counts_as_one_that_was_answered_to_nobody() {
    let mut scene = Scene::reading_new();
    assert_eq!(scene.asked(), "new entries");
    assert!(scene.reader.looks_back(scene.now), "it may have been given something");
    scene.expect(OWN, Ok(entries(&[])));
}

#[test]
fn a_group_that_is_gone_is_made_again() {
    let mut scene = Scene::reading_new();
    let error = refusal("NOGROUP No such key 'traffic' or consumer group");
    assert!(group_is_gone(&error) && !group_is_gone(&broken_connection()));
    scene.fails(error);
    scene.expect("XGROUP CREATE traffic site 0 MKSTREAM", Ok(Value::Okay));
    scene.expect(OWN, Ok(entries(&[])));
}
