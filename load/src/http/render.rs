//! Requests as clients write them: the query by the codec that all of Seedbook shares, around it what all
//! requests of a load have in common.

use wire::http::PeerForm;
use wire::http::request::{AnnounceRequest, ScrapeRequest};

use crate::population::Population;
use crate::sessions::{Announce, Kind, Request};
use crate::settings::Closing;
use crate::target::Path;

const AGENT: &str = concat!("trackerctl/", env!("CARGO_PKG_VERSION"));

/// How requests are to look.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) announce: Path,
    /// `None` where no scrapes are asked for.
    pub(crate) scrape: Option<Path>,
    pub(crate) numwant: i32,
    /// Whether `ip=` names each session's address.
    pub(crate) spoof: bool,
    pub(crate) real_ip_header: Option<String>,
}

/// Writes requests.
#[derive(Debug)]
pub(super) struct Renderer {
    form: Form,
    /// From behind the query to the end, but for the header with the session's address.
    head: String,
}

impl Renderer {
    /// `authority`: host and port. `closing`: whether the server is asked to close.
    pub(super) fn new(form: Form, authority: &str, closing: Closing) -> Self {
        let connection = if closing == Closing::Asked { "Connection: close\r\n" } else { "" };
        let head = format!(" HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {AGENT}\r\n{connection}");
        Self { form, head }
    }

    /// Writes a request over what `out` held before.
    pub(super) fn render(&self, request: &Request, population: &Population, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"GET ");
        let path = match (&request.kind, &self.form.scrape) {
            (Kind::Scrape, Some(scrape)) => scrape,
            _ => &self.form.announce,
        };
        path.write(population.passkey(request.session), out);
        out.push(path.separator);
        match &request.kind {
            Kind::Announce(announce) => self.announce(request, announce, population, out),
            Kind::Scrape => {
                let info_hashes = &[*population.hash(request.torrent)];
                ScrapeRequest { info_hashes, passkey: None }.write(out);
            }
        }
        out.extend_from_slice(self.head.as_bytes());
        if let Some(name) = &self.form.real_ip_header {
            out.extend_from_slice(format!("{name}: {}\r\n", population.address(request.session)).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn announce(&self, request: &Request, announce: &Announce, population: &Population, out: &mut Vec<u8>) {
        let session = request.session;
        let query = AnnounceRequest {
            info_hash: *population.hash(request.torrent),
            peer_id: population.peer_id(session),
            port: population.port(session),
            uploaded: announce.uploaded,
            downloaded: announce.downloaded,
            left: announce.left,
            event: announce.event,
            form: PeerForm::Compact,
            numwant: Some(self.form.numwant.into()),
            ip: self.form.spoof.then(|| population.address(session)),
            passkey: None,
        };
        query.write(out);
    }
}
