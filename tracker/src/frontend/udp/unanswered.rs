//! A request until it is answered: who sent it, and all that its reply needs. Small enough to be kept in a
//! look-up or with the recorder while the packet's buffer has long been used again.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use contract::AddressFamily;

use super::packet::{self, AnnounceForm, AnnounceRequest, ScrapeRequest};
use super::return_path::ReturnPath;
use super::url_data;
use crate::announce::{Refusal, RefusalKind, Reply, ScrapeReply};
use crate::arrival::{Arrival, Transport, Way};
use crate::frontend::metrics::{Action, RequestOutcome};

/// Who sent a packet, and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    /// Where replies go.
    pub(super) path: ReturnPath,
    /// IPv4-mapped addresses mapped to IPv4.
    pub(super) ip: IpAddr,
    /// When it reached this machine.
    pub(super) arrived: Instant,
    /// When it was read.
    pub(super) received: Instant,
    pub(super) unix_secs: u64,
}

impl Sender {
    /// Clients may know a tracker by one name for each of its addresses.
    pub(super) fn arrival(&self) -> Arrival {
        let way = Way::over(Transport::Udp, self.ip);
        let way = match self.path.from {
            Some(IpAddr::V4(ours)) => way.by(&ours.octets()),
            Some(IpAddr::V6(ours)) => way.by(&ours.octets()),
            None => way,
        };
        Arrival { at: self.arrived, ip: self.ip, way }
    }
}

/// A request with a valid connection id, until it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unanswered {
    pub(super) sender: Sender,
    transaction: u32,
    form: AnnounceForm,
    pub(super) action: Action,
    url_data: UrlData,
}

/// What became of the announce URL on its way here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlData {
    Sent,
    /// The client does not know how, or has nothing to send.
    Absent,
    /// It has the very length at which some clients cut it.
    MaybeCut,
}

impl UrlData {
    fn of(url: Option<&[u8]>) -> Self {
        match url {
            None => Self::Absent,
            Some(url) if url.len() == url_data::CUT_AT => Self::MaybeCut,
            Some(_) => Self::Sent,
        }
    }
}

impl Unanswered {
    /// `url`: what the announce carried as URL data.
    pub(super) fn announce(request: &AnnounceRequest<'_>, sender: Sender, url: Option<&[u8]>) -> Self {
        let AnnounceRequest { transaction, form, .. } = *request;
        Self { sender, transaction, form, action: Action::Announce, url_data: UrlData::of(url) }
    }

    pub(super) fn scrape(request: &ScrapeRequest<'_>, sender: Sender) -> Self {
        Self {
            sender,
            transaction: request.transaction,
            form: AnnounceForm::Standard,
            action: Action::Scrape,
            url_data: UrlData::Absent,
        }
    }

    pub(super) fn family(&self) -> AddressFamily {
        AddressFamily::of(self.sender.ip)
    }

    pub(super) fn write_announce(
        &self,
        out: &mut Vec<u8>,
        outcome: &Result<Reply, Refusal>,
    ) -> RequestOutcome {
        match outcome {
            Ok(reply) => {
                packet::write_announce(out, self.form, self.transaction, reply);
                RequestOutcome::Accepted
            }
            Err(refusal) => self.write_refusal(out, refusal),
        }
    }

    pub(super) fn write_scrape(
        &self,
        out: &mut Vec<u8>,
        outcome: &Result<ScrapeReply, Refusal>,
    ) -> RequestOutcome {
        match outcome {
            Ok(reply) => {
                packet::write_scrape(out, self.transaction, &reply.counts);
                RequestOutcome::Accepted
            }
            Err(refusal) => self.write_refusal(out, refusal),
        }
    }

    pub(super) fn write_refusal(&self, out: &mut Vec<u8>, refusal: &Refusal) -> RequestOutcome {
        let text = match self.hint(refusal.kind) {
            Some(hint) => Cow::Owned(format!("{}: {hint}", refusal.reason)),
            None => Cow::Borrowed(refusal.reason.as_ref()),
        };
        packet::write_error(out, self.transaction, &text);
        RequestOutcome::Refused
    }

    /// What a user can do whose client cannot send what a hook misses: no protocol error, but the client's
    /// own limit.
    fn hint(&self, kind: RefusalKind) -> Option<&'static str> {
        use RefusalKind::{InvalidCredential, InvalidUrl, MissingCredential};
        match (self.action, self.url_data, kind) {
            (Action::Announce, UrlData::Absent, MissingCredential) => {
                Some("use the http announce URL, or a client that sends URL data over udp (BEP 41)")
            }
            (Action::Announce, UrlData::MaybeCut, MissingCredential | InvalidCredential | InvalidUrl) => {
                Some("this client cuts long URLs over udp, use the http announce URL")
            }
            (Action::Scrape, _, MissingCredential) => Some("a scrape over udp cannot carry it, use http"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// What a refused client reads behind the reason.
    fn advice(action: Action, url_data: UrlData, kind: RefusalKind) -> Option<&'static str> {
        let path = ReturnPath { to: (Ipv4Addr::LOCALHOST, 6881).into(), from: None };
        let ip = Ipv4Addr::LOCALHOST.into();
        let now = Instant::now();
        let sender = Sender { path, ip, arrived: now, received: now, unix_secs: 0 };
        let form = AnnounceForm::Standard;
        Unanswered { sender, transaction: 1, form, action, url_data }.hint(kind)
    }

    #[test]
    fn advice_is_given_to_those_whose_client_could_not_send_a_credential_or_cut_it() {
        use RefusalKind::{InvalidCredential, InvalidUrl, MissingCredential, Other};
        let announce = |url_data, kind| advice(Action::Announce, url_data, kind);
        assert!(announce(UrlData::Absent, MissingCredential).unwrap().contains("BEP 41"));
        for kind in [MissingCredential, InvalidCredential, InvalidUrl] {
            assert!(announce(UrlData::MaybeCut, kind).unwrap().contains("cuts long URLs"));
            assert_eq!(announce(UrlData::Sent, kind), None);
        }
        assert!(advice(Action::Scrape, UrlData::Absent, MissingCredential).unwrap().contains("use http"));
        for url_data in [UrlData::Absent, UrlData::MaybeCut, UrlData::Sent] {
            assert_eq!(announce(url_data, Other), None);
        }
    }
}
