//! From an announce on the wire to one that hooks can judge. Pure.

use std::net::IpAddr;

use contract::Extras;
use wire::udp::{AnnounceRequest, MAX_PEERS_V4, MAX_PEERS_V6};

pub(super) use wire::udp::event;

use crate::announce::{Announce, Families, PeerIds, Refusal};
use crate::arrival::Arrival;
use crate::frontend::credentials::UrlCredentials;
use crate::frontend::limits::{self, Limits, Spoofing};
use crate::frontend::route::Routes;

/// How requests are read: what a reload of the configuration replaces.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Paths in URL data, the same as over HTTP.
    pub routes: Routes,
    /// numwant and its relatives.
    pub limits: Limits,
}

/// Reads an announce with its URL data.
///
/// # Errors
/// The refusal to show the client; its text names the parameter, never the value.
pub fn announce(
    request: &AnnounceRequest<'_>,
    url: Option<&[u8]>,
    arrival: Arrival,
    policy: &Policy,
) -> Result<Announce, Refusal> {
    let ip = address(request.claimed_ip, arrival.ip, policy.limits.spoofing);
    let most = if ip.is_ipv4() { MAX_PEERS_V4 } else { MAX_PEERS_V6 };
    let shown = url.map(|url| UrlCredentials::in_url(url, &policy.routes)).transpose()?.unwrap_or_default();
    Ok(Announce {
        info_hash: request.info_hash,
        peer_id: request.peer_id,
        ip,
        port: request.port,
        uploaded: limits::counter("uploaded", request.uploaded)?,
        downloaded: limits::counter("downloaded", request.downloaded)?,
        left: limits::left(request.left),
        event: event(request.event).unwrap_or_default(),
        num_want: policy.limits.num_want(request.num_want.into()).min(most),
        families: Families::Own,
        peer_ids: PeerIds::Spared,
        credential: shown.credential,
        jwt: shown.jwt,
        arrived: arrival.at,
        // A URL is the tracker's name in the client's list of trackers.
        way: url.map_or(arrival.way, |url| arrival.way.by(url)),
        extras: extras(request, &policy.limits),
    })
}

/// What the operator wants to see besides, as clients that use both protocols write it into URLs.
fn extras(request: &AnnounceRequest<'_>, limits: &Limits) -> Option<Box<Extras>> {
    let key = || Some(format!("{:08X}", request.key));
    limits.event_fields.key.then(|| Box::new(Extras { key: key(), ..Extras::default() }))
}

/// A claimed address counts when it is allowed, not zero, and of the family that the client is answered in.
fn address(claimed: IpAddr, source: IpAddr, spoofing: Spoofing) -> IpAddr {
    let claimed = claimed.to_canonical();
    let counts =
        spoofing == Spoofing::Allowed && !claimed.is_unspecified() && claimed.is_ipv4() == source.is_ipv4();
    if counts { claimed } else { source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{Event, InfoHash, PeerId};
    use std::net::Ipv4Addr;
    use std::time::Instant;
    use wire::udp::AnnounceForm;

    use crate::arrival::Way;
    use crate::frontend::limits::EventFields;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn request() -> AnnounceRequest<'static> {
        AnnounceRequest {
            form: AnnounceForm::Standard,
            connection: 0,
            transaction: 0,
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            downloaded: 3,
            left: 4,
            uploaded: 5,
            event: 0,
            claimed_ip: Ipv4Addr::UNSPECIFIED.into(),
            key: 0,
            num_want: -1,
            port: 6881,
            options: &[],
        }
    }

    fn policy(spoofing: Spoofing) -> Policy {
        let limits = Limits {
            default_numwant: 50,
            max_numwant: 1000,
            max_scrape_infohashes: 50,
            spoofing,
            event_fields: EventFields::NONE,
        };
        Policy { routes: Routes::default(), limits }
    }

    fn arrival() -> Arrival {
        Arrival { at: Instant::now(), ip: SOURCE, way: Way::default() }
    }

    fn read(request: &AnnounceRequest<'_>) -> Result<Announce, String> {
        let read = announce(request, None, arrival(), &policy(Spoofing::Ignored));
        read.map_err(|refusal| refusal.reason.into_owned())
    }

    #[test]
    fn the_limits_hold() {
        let wants = |num_want| read(&AnnounceRequest { num_want, ..request() }).unwrap().num_want;
        assert_eq!((wants(-1), wants(0), wants(7), wants(i32::MAX)), (50, 0, 7, MAX_PEERS_V4));
        assert_eq!(wants(i32::MIN), 50);
    }

    #[test]
    fn incredible_counters_are_refused_and_left_is_clamped() {
        let refused = |request| read(&request).unwrap_err();
        assert_eq!(
            refused(AnnounceRequest { uploaded: 1 << 53, ..request() }),
            "failed to parse parameter: uploaded"
        );
        assert_eq!(
            refused(AnnounceRequest { downloaded: u64::MAX, ..request() }),
            "failed to parse parameter: downloaded"
        );
        let announce = read(&AnnounceRequest { left: u64::MAX, ..request() }).unwrap();
        assert_eq!(announce.left, i64::MAX.unsigned_abs());
    }

    #[test]
    fn events_are_those_of_the_protocol() {
        let known = [Event::None, Event::Completed, Event::Started, Event::Stopped];
        assert_eq!([0, 1, 2, 3].map(|number| event(number).unwrap()), known);
        assert_eq!(read(&AnnounceRequest { event: 4, ..request() }).unwrap().event, Event::None);
    }

    #[test]
    fn the_key_is_read_where_somebody_wants_it() {
        let read = |key| {
            let mut policy = policy(Spoofing::Ignored);
            policy.limits.event_fields.key = key;
            let request = AnnounceRequest { key: 0x5d3e_1a2b, ..request() };
            announce(&request, None, arrival(), &policy).unwrap().extras
        };
        assert_eq!(read(false), None);
        assert_eq!(read(true).unwrap().key.as_deref(), Some("5D3E1A2B"));
    }

    #[test]
    fn a_claimed_address_needs_permission_and_the_clients_family() {
        let ip = |claimed: &str, spoofing| {
            let request = AnnounceRequest { claimed_ip: claimed.parse().unwrap(), ..request() };
            announce(&request, None, arrival(), &policy(spoofing)).unwrap().ip.to_string()
        };
        assert_eq!(ip("198.51.100.7", Spoofing::Ignored), "192.0.2.1");
        assert_eq!(ip("198.51.100.7", Spoofing::Allowed), "198.51.100.7");
        assert_eq!(ip("::ffff:198.51.100.7", Spoofing::Allowed), "198.51.100.7");
        assert_eq!(ip("0.0.0.0", Spoofing::Allowed), "192.0.2.1");
        assert_eq!(ip("2001:db8::7", Spoofing::Allowed), "192.0.2.1");
    }
}
