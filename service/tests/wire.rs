//! A wire against a server that answers as the test likes: what it takes for an answer, and when it is not
//! used again.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

use std::time::Duration;

use redis::{ErrorKind, RedisResult};
use service::redis::{Progress, Timeouts, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

const QUESTION: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), response: Some(Duration::from_millis(200)) };

/// A wire to a server that answers each question with the next of these, in pieces of so many bytes, and then
/// is silent.
async fn wire(path: &str, answers: Vec<Vec<u8>>, piece: usize) -> RedisResult<Wire> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", path.replace("HOST", &listener.local_addr().unwrap().to_string()));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        for answer in answers {
            let mut question = [0; 512];
            if stream.read(&mut question).await.unwrap_or(0) == 0 {
                return;
            }
            for piece in answer.chunks(piece) {
                stream.write_all(piece).await.ok();
                tokio::task::yield_now().await;
            }
        }
        // Until the test ends.
        std::future::pending::<()>().await;
    });
    Wire::open(&url.as_str().into(), TIMEOUTS).await
}

/// Reads one line.
fn line(seen: &mut Vec<u8>) -> impl FnMut(&[u8]) -> RedisResult<Progress> {
    |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        seen.extend(&bytes[..end]);
        Ok(Progress { taken: end, whole: seen.ends_with(b"\n") })
    }
}

#[tokio::test]
async fn answers_are_shown_as_they_come_and_nothing_of_one_is_left_for_the_next() {
    let mut wire = wire("HOST", vec![b"+one\r\n".to_vec(), b"+two\r\n".to_vec()], 2).await.unwrap();
    for answer in ["+one\r\n", "+two\r\n"] {
        let mut seen = Vec::new();
        wire.ask(QUESTION, line(&mut seen)).await.unwrap();
        assert_eq!(seen, answer.as_bytes());
        assert!(wire.is_sound());
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_the_connection() {
    let answers =
        vec![b"-NOGROUP No such key\r\n".to_vec(), b"-ERR syntax\r\n".to_vec(), b"+OK\r\n".to_vec()];
    let mut wire = wire("HOST", answers, 3).await.unwrap();
    for code in ["NOGROUP", "ERR"] {
        let error = wire.ask(QUESTION, line(&mut Vec::new())).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(wire.is_sound());
    }
    wire.ask(QUESTION, line(&mut Vec::new())).await.unwrap();
}

#[tokio::test]
async fn password_and_database_are_told_first_and_a_refused_one_is_the_error() {
    let ok = || b"+OK\r\n".to_vec();
    let mut opened = wire("bob:secret@HOST/3", vec![ok(), ok(), b"+hello\r\n".to_vec()], 64).await.unwrap();
    let mut seen = Vec::new();
    opened.ask(QUESTION, line(&mut seen)).await.unwrap();
    assert_eq!(seen, b"+hello\r\n", "two questions were asked before");

    let refused = wire("secret@HOST", vec![b"-WRONGPASS invalid\r\n".to_vec()], 64).await;
    assert_eq!(refused.err().unwrap().code(), Some("WRONGPASS"));
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_an_answer_that_makes_no_sense() {
    let endless = vec![b'x'; 3 << 20];
    let nothing = |_: &[u8]| Ok(Progress { taken: 0, whole: false });
    for (answer, what) in [
        (&b"+one\r\n+two\r\n"[..], "more than was asked"),
        (b"-ERR one\r\n-ERR two\r\n", "two refusals"),
        (b"+on", "no end in time"),
        (&endless, "no end in sight"),
    ] {
        let mut wire = wire("HOST", vec![answer.to_vec()], 1 << 20).await.unwrap();
        let outcome = match answer.len() {
            0..1000 => wire.ask(QUESTION, line(&mut Vec::new())).await,
            _ => wire.ask(QUESTION, nothing).await,
        };
        assert!(outcome.is_err() && !wire.is_sound(), "{what}");
    }
    let mut wire = wire("HOST", vec![b"+one\r\n".to_vec()], 64).await.unwrap();
    let refused = |_: &[u8]| Err((ErrorKind::UnexpectedReturnType, "nothing of ours").into());
    assert!(
        wire.ask(QUESTION, refused).await.is_err() && !wire.is_sound(),
        "a reader that understands nothing"
    );
}

#[tokio::test]
async fn a_question_that_is_given_up_ends_the_connection() {
    let mut wire = wire("HOST", vec![], 1).await.unwrap();
    let mut seen = Vec::new();
    let given_up = timeout(Duration::from_millis(20), wire.ask(QUESTION, line(&mut seen))).await;
    assert!(given_up.is_err() && !wire.is_sound());
}
