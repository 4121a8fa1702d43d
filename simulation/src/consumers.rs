//! Consumers: read, show presence, settle, acknowledge; killed between any two of these, and claiming what
//! others left. The presence arguments and scripts and the ledger are the shipped ones.

use books::presence::{self, Leases};
use books::settlement::Rules;
use books::{Entry, EntryId};
use contract::TrafficEvent;

use crate::books::STREAM;
use crate::chores::Chore;
use crate::mutation::Mutation;
use crate::redis::{Bytes, Reply, Server, words};
use crate::world::{Checked, Violation, World, violation};

pub(crate) const GROUP: &str = "site";
/// Milliseconds after which another consumer's entry is taken over.
pub(crate) const CLAIM_IDLE_MS: u64 = 30_000;

/// Where the next batch comes from.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Own(EntryId),
    Claim(EntryId),
    New,
}

/// What is done next with the batch in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Presence,
    Settle,
    Acknowledge,
}

#[derive(Debug, Clone)]
struct Hand {
    entries: Vec<Entry>,
    /// With those that were deleted from the stream while they were pending.
    ids: Vec<EntryId>,
    stage: Stage,
}

/// One consumer process.
pub(crate) struct Reader {
    name: String,
    pub(crate) skew_ms: i64,
    phase: Phase,
    group_is_there: bool,
    next_claim_ms: u64,
    hand: Option<Hand>,
    pub(crate) chore: Option<Chore>,
}

impl Reader {
    pub(crate) fn new(name: String, skew_ms: i64) -> Self {
        let phase = Phase::Own(EntryId::default());
        Self { name, skew_ms, phase, group_is_there: false, next_claim_ms: 0, hand: None, chore: None }
    }

    /// What follows a broken connection: a chore ends, and reading begins with what this consumer may have
    /// been given.
    pub(crate) fn start_over(&mut self) {
        (self.phase, self.group_is_there, self.chore) = (Phase::Own(EntryId::default()), false, None);
    }
}

impl World<'_> {
    /// A consumer takes its next step.
    pub(crate) fn consumer_turn(&mut self, who: usize) -> Checked {
        let needs_redis = self.consumers[who].hand.as_ref().is_none_or(|hand| hand.stage != Stage::Settle);
        if needs_redis && !self.redis.up {
            return Ok(());
        }
        match self.consumers[who].hand.take() {
            None => self.read(who),
            Some(hand) => self.go_on(who, hand),
        }
    }

    fn go_on(&mut self, who: usize, mut hand: Hand) -> Checked {
        let acks_first = self.mutation == Some(Mutation::AckBeforeCommit);
        let next = match hand.stage {
            Stage::Presence => {
                self.show_presence(who, &hand)?;
                Some(if acks_first { Stage::Acknowledge } else { Stage::Settle })
            }
            Stage::Settle => {
                self.settle(who, &hand)?;
                (!acks_first).then_some(Stage::Acknowledge)
            }
            Stage::Acknowledge => {
                self.acknowledge(who, &hand);
                acks_first.then_some(Stage::Settle)
            }
        };
        if let Some(stage) = next {
            hand.stage = stage;
            self.consumers[who].hand = Some(hand);
        }
        Ok(())
    }

    fn read(&mut self, who: usize) -> Checked {
        if !self.consumers[who].group_is_there {
            self.redis.server.run(&words(&["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"]));
            self.consumers[who].group_is_there = true;
        }
        let now = self.now_ms;
        let consumer = &mut self.consumers[who];
        if matches!(consumer.phase, Phase::New) && consumer.next_claim_ms <= now {
            consumer.phase = Phase::Claim(EntryId::default());
        }
        let reply = match consumer.phase {
            Phase::Own(after) => self.read_group(who, &after.to_string()),
            Phase::Claim(cursor) => self.claim(who, cursor),
            Phase::New => self.read_group(who, ">"),
        };
        if matches!(reply, Reply::Error(_)) {
            self.consumers[who].start_over();
            return Ok(());
        }
        let (next, raw) = match self.consumers[who].phase {
            Phase::Claim(_) => {
                self.consumers[who].next_claim_ms = now + CLAIM_IDLE_MS / 2;
                let cursor = reply.items().first().and_then(id_of).unwrap_or_default();
                let next = if cursor == EntryId::default() { Phase::New } else { Phase::Claim(cursor) };
                (next, reply.items().get(1).map(Reply::items).unwrap_or_default())
            }
            phase => {
                let raw = reply.items().first().and_then(|stream| stream.items().get(1));
                let raw = raw.map(Reply::items).unwrap_or_default();
                let last = raw.last().and_then(|entry| id_of(&entry.items()[0]));
                let own = matches!(phase, Phase::Own(_));
                (last.filter(|_| own).map_or(Phase::New, Phase::Own), raw)
            }
        };
        let hand = hand_of(raw)?;
        self.consumers[who].phase = next;
        if !hand.ids.is_empty() {
            let ids: Vec<String> = hand.ids.iter().map(ToString::to_string).collect();
            self.tell(|| format!("consumer {who} reads {}", ids.join(", ")));
            self.consumers[who].hand = Some(hand);
        }
        Ok(())
    }

    fn read_group(&self, who: usize, from: &str) -> Reply {
        let (name, count) = (&self.consumers[who].name, self.scenario.batch_size.to_string());
        let read = ["XREADGROUP", "GROUP", GROUP, name, "COUNT", &count, "STREAMS", STREAM, from];
        self.redis.server.run(&words(&read))
    }

    fn claim(&self, who: usize, cursor: EntryId) -> Reply {
        let (name, count) = (&self.consumers[who].name, self.scenario.batch_size.to_string());
        let (idle, cursor) = (CLAIM_IDLE_MS.to_string(), cursor.to_string());
        self.redis.server.run(&words(&["XAUTOCLAIM", STREAM, GROUP, name, &idle, &cursor, "COUNT", &count]))
    }

    fn show_presence(&mut self, who: usize, hand: &Hand) -> Checked {
        let now = self.consumer_now(who);
        let mut args = self.bases();
        for standing in presence::standings(Leases::default(), &hand.entries, now) {
            args.extend(standing.arguments());
        }
        self.run_script(&self.scripts.apply, &args).map(drop)
    }

    fn settle(&mut self, who: usize, hand: &Hand) -> Checked {
        let new = self.ledger.commit(&hand.entries, &Rules::default())?;
        let count = hand.entries.len();
        self.tell(|| format!("consumer {who} commits {count} entries, {new} of them new"));
        for entry in &hand.entries {
            let event = &entry.event;
            match self.session_of(&(event.passkey, event.info_hash, event.peer_id)) {
                Some(session) => self.no_more_than_the_truth(session)?,
                None => violation(format!("entry {} is of a session that never was", entry.id))?,
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, who: usize, hand: &Hand) {
        let ids: Vec<String> = hand.ids.iter().map(ToString::to_string).collect();
        let command = ["XACK", STREAM, GROUP].into_iter().chain(ids.iter().map(String::as_str));
        self.redis.server.run(&words(&command.collect::<Vec<_>>()));
        self.tell(|| format!("consumer {who} acknowledges {} entries", ids.len()));
    }

    /// A consumer is killed; what it had in hand stays pending in the group.
    pub(crate) fn consumer_crashes(&mut self, who: usize) {
        let renamed = self.dice.percent(40);
        let consumer = &mut self.consumers[who];
        let name = if renamed { format!("{}+", consumer.name) } else { consumer.name.clone() };
        let had = consumer.hand.as_ref().map(|hand| hand.stage);
        *consumer = Reader::new(name, consumer.skew_ms);
        self.tell(|| format!("consumer {who} is killed before {had:?}"));
    }

    pub(crate) fn consumer_is_idle(&self, who: usize) -> bool {
        self.consumers[who].hand.is_none() && self.consumers[who].chore.is_none()
    }

    pub(crate) fn consumer_now(&mut self, who: usize) -> u64 {
        let now = self.clock(self.consumers[who].skew_ms) / 1000;
        self.latest_now = self.latest_now.max(now);
        now
    }

    pub(crate) fn bases(&self) -> Vec<String> {
        presence::bases(&self.keys).to_vec()
    }

    pub(crate) fn run_script(&self, script: &str, args: &[String]) -> Result<Reply, Violation> {
        let mut command: Vec<Bytes> = words(&["EVALSHA", &Server::sha(script), "0"]);
        command.extend(args.iter().map(|arg| arg.as_bytes().to_vec()));
        match self.ask(script, &command) {
            Reply::Error(error) => Err(Violation(format!("a presence script failed: {error}"))),
            reply => Ok(reply),
        }
    }
}

fn id_of(reply: &Reply) -> Option<EntryId> {
    reply.text().parse().ok()
}

fn hand_of(raw: &[Reply]) -> Result<Hand, Violation> {
    let mut hand = Hand { entries: Vec::new(), ids: Vec::new(), stage: Stage::Presence };
    for item in raw {
        let [id, fields] = item.items() else { continue };
        let Some(id) = id_of(id) else { continue };
        hand.ids.push(id);
        let Reply::Array(flat) = fields else { continue };
        let pairs = flat.chunks_exact(2).map(|pair| (pair[0].text().as_bytes(), pair[1].text().as_bytes()));
        let event = TrafficEvent::from_fields(pairs);
        let event = event.map_err(|error| Violation(format!("entry {id} cannot be read: {error}")))?;
        hand.entries.push(Entry { id, event });
    }
    Ok(hand)
}
