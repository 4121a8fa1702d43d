//! Asking over HTTP and HTTPS (BEP 3, 7, 23): one connection per announce, one bounded answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wire::http::PeerForm;
use wire::http::request::AnnounceRequest;

use super::answer::{self, Answer, Failure};
use super::config::{Forwarder, Scheme, Target};
use super::queue::Job;
use super::worker::{Neighbourhood, resolve};
use crate::announce::Role;
use crate::fetch;
use contract::Event;

/// Room for some thousand peers as dictionaries, the longest form.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// For one address; the whole exchange has its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Half of what is taken, which leaves room for peers of the other family.
const WANTED: i32 = 100;
const AGENT: &str = concat!("Seedbook/", env!("CARGO_PKG_VERSION"));

/// A forwarder that speaks HTTP.
pub(super) struct HttpClient {
    target: Target,
    ip: Option<IpAddr>,
    host: String,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HttpClient").field(&self.target).finish()
    }
}

/// TLS with the certificate authorities that the system trusts.
pub(super) fn tls() -> Result<TlsConnector, rustls::Error> {
    Ok(Arc::new(fetch::tls(fetch::system_roots())?).into())
}

impl HttpClient {
    pub(super) fn new(forwarder: &Forwarder, tls: Option<TlsConnector>) -> Self {
        let target = forwarder.target.clone();
        let host = forwarder.host.clone().unwrap_or_else(|| host_header(&target));
        Self { target, ip: forwarder.ip, host, tls }
    }

    pub(super) async fn announce(&self, job: &Job) -> Result<Answer, Failure> {
        let stream = connect(&resolve(&self.target, job.endpoint.ip()).await?).await?;
        let neighbourhood = Neighbourhood::of(stream.peer_addr()?.ip());
        let told = neighbourhood.tell(self.ip, job.endpoint.ip());
        let request = Request::get(path_and_query(&self.target.path, job, told))
            .header(HOST, &self.host)
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| Failure::Unaskable)?;
        let (status, body) = self.ask(stream, request).await?;
        match answer::read(&body) {
            // Some say no with a status as well.
            Ok(refused @ Answer::Refused(_)) => Ok(refused),
            _ if status != StatusCode::OK => Err(Failure::Status(status.as_u16())),
            Ok(answer) => Ok(neighbourhood.filter(answer)),
            Err(failure) => Err(failure),
        }
    }

    async fn ask(
        &self,
        stream: TcpStream,
        request: Request<Empty<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let Some(tls) = &self.tls else { return exchange(stream, request).await };
        let name = ServerName::try_from(self.target.host.clone()).map_err(|_| Failure::Unaskable)?;
        exchange(tls.connect(name, stream).await?, request).await
    }
}

/// A connection to the first address that takes one: a name may have a family that does not work from here.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut last = Failure::Nowhere;
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = Failure::Silent,
        }
    }
    Err(last)
}

/// One request and its whole answer. Whatever happens, the connection ends with it.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let answer = async move { read(sender.send_request(request).await?).await };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may be through before its answer was taken over.
        _ = &mut connection => answer.await,
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<(StatusCode, Bytes), Failure> {
    let (head, body) = response.into_parts();
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(body) => Ok((head.status, body.to_bytes())),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => Failure::Http(*error),
            Err(_) => Failure::TooLarge,
        }),
    }
}

fn host_header(target: &Target) -> String {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    match (target.scheme, target.port) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

/// All that a forwarder is told. The counters are always zero, and `left` says no more than seeder or
/// leecher: what a client transferred is between it and its own tracker.
fn path_and_query(path: &str, job: &Job, ip: Option<IpAddr>) -> Vec<u8> {
    let mut out = path.as_bytes().to_vec();
    out.push(if path.contains('?') { b'&' } else { b'?' });
    let request = AnnounceRequest {
        info_hash: job.info_hash,
        peer_id: job.peer_id,
        port: job.endpoint.port(),
        uploaded: 0,
        downloaded: 0,
        left: u64::from(job.role == Role::Leecher),
        event: job.event,
        form: PeerForm::Compact,
        numwant: Some(numwant(job).into()),
        ip,
        passkey: None,
    };
    request.write(&mut out);
    out
}

/// How many peers are asked for: none for a client that goes.
pub(super) fn numwant(job: &Job) -> i32 {
    if job.event == Event::Stopped { 0 } else { WANTED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::{Families, PrivatePeers};
    use crate::forward::store::ClientAnnounce;
    use contract::{InfoHash, PeerId};
    use std::time::Instant;

    fn job(event: Event) -> Job {
        let announce = ClientAnnounce {
            info_hash: InfoHash([0xff; 20]),
            peer_id: PeerId(*b"-TR4060-abcdefghij~ "),
            endpoint: "[2001:db8::1]:6881".parse().unwrap(),
            role: Role::Leecher,
            event,
            num_want: 50,
            families: Families::Both,
            private: PrivatePeers::Offered,
        };
        Job::new(&announce, event, Instant::now())
    }

    #[tokio::test]
    async fn https_is_spoken_with_whom_the_roots_trust_and_with_nobody_else() {
        let (uri, roots) = crate::fetch::tests::https("d8:intervali60e5:peers6:\x7f\0\0\x01\x1a!e").await;
        let (host, port) = ("localhost".to_owned(), uri.port_u16().unwrap());
        let target = Target { scheme: Scheme::Https, host, port, path: "/announce".into() };
        let forwarder = Forwarder { name: "f".into(), target, ip: None, host: None };
        let trusting = TlsConnector::from(Arc::new(fetch::tls(roots).unwrap()));
        // The client is at an IPv6 address and the server at none: the other family is tried then.
        let answer = HttpClient::new(&forwarder, Some(trusting)).announce(&job(Event::None)).await;
        let Ok(Answer::Peers(learned)) = answer else { panic!("{answer:?}") };
        assert_eq!(learned.peers, ["127.0.0.1:6689".parse().unwrap()]);
        let error = HttpClient::new(&forwarder, Some(tls().unwrap())).announce(&job(Event::None)).await;
        assert!(error.unwrap_err().to_string().contains("certificate"));
    }

    #[test]
    fn a_request_says_who_where_and_which_side_and_nothing_more() {
        let query = |path: &str, event, ip: Option<IpAddr>| {
            String::from_utf8(path_and_query(path, &job(event), ip)).unwrap()
        };
        let hash = "%FF".repeat(20);
        assert_eq!(
            query("/announce", Event::Started, Some("2001:db8::1".parse().unwrap())),
            format!(
                "/announce?info_hash={hash}&peer_id=-TR4060-abcdefghij~%20&port=6881&uploaded=0&downloaded=0\
                 &left=1&compact=1&numwant=100&event=started&ip=2001%3Adb8%3A%3A1"
            )
        );
        let stopped = query("/announce?key=k", Event::Stopped, None);
        assert!(
            stopped.starts_with("/announce?key=k&info_hash=") && stopped.contains("&numwant=0&event=stopped"),
            "{stopped}"
        );
        assert!(!query("/", Event::None, None).contains("event"));
    }
}
