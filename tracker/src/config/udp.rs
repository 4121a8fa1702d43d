//! The UDP frontend's section.

use std::net::SocketAddr;

use contract::config::{ListenAddr, Period, Problems, Secret};
use serde::{Deserialize, Serialize};

use super::http::threads;
use crate::frontend::limits::{EventFields, Limits, Spoofing};
use crate::frontend::route::Routes;
use crate::frontend::udp::{ConnectionIds, LONGEST_LIFETIME, Policy, Settings};

/// The UDP frontend. Off unless it has an address. Paths in URL data (BEP 41) are those of the HTTP frontend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UdpConfig {
    /// The address to receive packets at; empty: UDP is off.
    pub addr: ListenAddr,
    /// Threads; 0 means one per core.
    pub workers: usize,
    /// What connection ids are made with. Trackers that share it accept each other's; none: random at each
    /// start.
    pub private_key: Secret,
    /// How far other trackers' clocks may be ahead.
    pub max_clock_skew: Period,
    /// How long a connection id is accepted. BEP 15 has two minutes; uTorrent uses its ids for five.
    pub connection_lifetime: Period,
    /// Whether an address in an announce is believed.
    pub allow_ip_spoofing: bool,
    /// Accepted for Chihaya's sake, without effect: every request is timed, and the metrics cost next to
    /// nothing.
    pub enable_request_timing: bool,
    /// Peers for a client that does not say how many.
    pub default_numwant: usize,
    /// Peers at most; over IPv6 no more than 76, over IPv4 230 fit one packet.
    pub max_numwant: usize,
    /// Torrents in one scrape at most; no more than 74 fit one packet.
    pub max_scrape_infohashes: usize,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            addr: ListenAddr::Off,
            workers: 0,
            private_key: Secret::default(),
            max_clock_skew: Period::from_secs(10),
            connection_lifetime: Period::from_secs(120),
            allow_ip_spoofing: false,
            enable_request_timing: false,
            default_numwant: 50,
            max_numwant: 100,
            max_scrape_infohashes: 50,
        }
    }
}

/// What the UDP frontend is built from.
#[derive(Debug)]
pub struct UdpPlan {
    /// How requests are read.
    pub policy: Policy,
    /// Where it listens, and its threads and connection ids; `None` while UDP is off.
    pub settings: Option<Settings>,
}

impl UdpConfig {
    /// Whether `other` differs in what a reload cannot change.
    pub(super) fn needs_restart(&self, other: &Self) -> bool {
        let fixed = |config: &Self| {
            let Self { addr, workers, private_key, max_clock_skew, connection_lifetime, .. } = config.clone();
            (addr, workers, private_key, max_clock_skew, connection_lifetime)
        };
        fixed(self) != fixed(other)
    }

    /// Reads and checks the section. Paths in URL data are those of HTTP.
    pub(super) fn plan(&self, routes: Routes) -> Result<UdpPlan, Problems> {
        let mut problems = Problems::default();
        problems.require(
            !matches!(self.addr, ListenAddr::Unix(_)),
            "`udp.addr`: must be an address with a port, or empty for none",
        );
        problems.require(
            self.default_numwant <= self.max_numwant,
            "`udp.default_numwant`: must not be above `udp.max_numwant`",
        );
        problems.require(
            self.connection_lifetime.as_secs() > 0,
            "`udp.connection_lifetime`: must be at least 1s",
        );
        let longest = self.connection_lifetime.0.saturating_add(self.max_clock_skew.0);
        problems.require(
            longest <= LONGEST_LIFETIME,
            "`udp.connection_lifetime`: must not be longer than 12h, `udp.max_clock_skew` included",
        );
        let settings = self.addr.inet().map(|address| self.settings(address));
        problems.or(UdpPlan { policy: Policy { routes, limits: self.limits() }, settings })
    }

    fn limits(&self) -> Limits {
        Limits {
            default_numwant: self.default_numwant,
            max_numwant: self.max_numwant,
            max_scrape_infohashes: self.max_scrape_infohashes,
            spoofing: if self.allow_ip_spoofing { Spoofing::Allowed } else { Spoofing::Ignored },
            // The hooks' list says which; the plan puts it in.
            event_fields: EventFields::NONE,
        }
    }

    fn settings(&self, address: SocketAddr) -> Settings {
        let (lifetime, skew) = (self.connection_lifetime.0, self.max_clock_skew.0);
        let ids = ConnectionIds::new(self.private_key.reveal(), lifetime, skew);
        Settings { address, workers: threads(self.workers), ids }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Plan};
    use service::program::Plan as _;

    fn load(text: &str) -> Result<Config, String> {
        Config::load(Some(text), []).map_err(|problems| problems.to_string())
    }

    #[test]
    fn udp_is_off_until_it_has_an_address() {
        let address = |text: &str| load(text).unwrap().udp.addr.inet().map(|address| address.to_string());
        assert_eq!(address(""), None);
        assert_eq!(address("udp: {addr: ''}"), None);
        assert_eq!(address("udp: {addr: ':6969'}").unwrap(), "[::]:6969");
        assert_eq!(address("udp: {addr: '0.0.0.0:6969'}").unwrap(), "0.0.0.0:6969");
        let env = [("TRACKER_UDP_ADDR".to_owned(), "[::1]:7000".to_owned())];
        assert_eq!(Config::load(None, env).unwrap().udp.addr.inet().unwrap().port(), 7000);
    }

    #[test]
    fn a_chihaya_section_loads_unchanged() {
        let text = "chihaya:\n  udp:\n    addr: 0.0.0.0:6969\n    max_clock_skew: 10s\n    private_key: paste a random string\n    enable_request_timing: false\n    allow_ip_spoofing: false\n    max_numwant: 100\n    default_numwant: 50\n    max_scrape_infohashes: 50\n";
        let config = load(text).unwrap();
        assert_eq!(config.udp.private_key.reveal(), "paste a random string");
        assert!(!Plan::of(config).unwrap().effective().unwrap().to_string().contains("random string"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let problems = load("udp: {connection_lifetime: 1d, default_numwant: 200}").unwrap_err();
        assert!(problems.contains("`udp.connection_lifetime`") && problems.contains("`udp.default_numwant`"));
        assert!(load("udp: {addr: nowhere}").unwrap_err().contains("`udp.addr`: expected an address"));
        assert!(
            load("udp: {addr: 'unix:/run/t.sock'}").unwrap_err().contains("`udp.addr`: must be an address")
        );
        assert!(load("udp: {connection_lifetime: 10ms}").unwrap_err().contains("at least 1s"));
    }
}
