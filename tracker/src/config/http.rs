//! The HTTP frontend's section.

use std::net::SocketAddr;

use contract::config::{Period, Problems};
use hyper::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::frontend::http::TrustedNetwork;
use crate::frontend::route::Routes;

/// The HTTP frontend.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    /// Where clients announce.
    pub addr: SocketAddr,
    /// Threads; 0 means one per core.
    pub workers: usize,
    /// How long a connection may take for its next request, waiting included.
    pub idle_timeout: Period,
    /// Whether a connection may carry more than one request.
    pub enable_keepalive: bool,
    /// Paths of announces; `:passkey` stands for the credential.
    pub announce_routes: Vec<String>,
    /// Paths of scrapes.
    pub scrape_routes: Vec<String>,
    /// Whether `ip`, `ipv4` and `ipv6` in a query are believed.
    pub allow_ip_spoofing: bool,
    /// The header in which a trusted proxy passes the client's address on.
    pub real_ip_header: String,
    /// The proxies it is believed from.
    pub trusted_proxies: Vec<String>,
    /// Peers for a client that does not say how many.
    pub default_numwant: usize,
    /// Peers at most.
    pub max_numwant: usize,
    /// Torrents in one scrape at most.
    pub max_scrape_infohashes: usize,
    /// Whether a scrape shows `downloaded` too.
    pub scrape_downloaded: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let own = |paths: &[&str]| paths.iter().map(ToString::to_string).collect();
        Self {
            addr: SocketAddr::from(([0; 16], 6969)),
            workers: 0,
            idle_timeout: Period::from_secs(30),
            enable_keepalive: true,
            announce_routes: own(&["/announce", "/announce.php", "/announce/:passkey", "/:passkey/announce"]),
            scrape_routes: own(&["/scrape", "/scrape.php", "/scrape/:passkey", "/:passkey/scrape"]),
            allow_ip_spoofing: false,
            real_ip_header: String::new(),
            trusted_proxies: Vec::new(),
            default_numwant: 50,
            max_numwant: 100,
            max_scrape_infohashes: 50,
            scrape_downloaded: false,
        }
    }
}

impl HttpConfig {
    /// The paths, read.
    ///
    /// # Errors
    /// A sentence for each pattern that is none.
    pub fn routes(&self) -> Result<Routes, Problems> {
        Routes::new(&self.announce_routes, &self.scrape_routes).map_err(Problems)
    }

    /// The trusted proxies, read.
    ///
    /// # Errors
    /// A sentence for each entry that is no address block.
    pub fn proxies(&self) -> Result<Vec<TrustedNetwork>, Problems> {
        let mut problems = Problems::default();
        let mut networks = Vec::new();
        for text in &self.trusted_proxies {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(wanted) => problems.push(format!("`http.trusted_proxies`: `{text}`: {wanted}")),
            }
        }
        problems.or(networks)
    }

    /// What spans several keys or needs more than a type.
    pub(super) fn problems(&self) -> Problems {
        let mut problems = self.proxies().err().unwrap_or_default();
        problems.0.extend(self.routes().err().unwrap_or_default().0);
        let mut require = |holds: bool, otherwise: &str| {
            if !holds {
                problems.push(otherwise);
            }
        };
        require(
            self.default_numwant <= self.max_numwant,
            "`http.default_numwant`: must not be above `http.max_numwant`",
        );
        require(!self.announce_routes.is_empty(), "`http.announce_routes`: needs at least one path");
        require(
            self.real_ip_header.is_empty() || self.real_ip_header.parse::<HeaderName>().is_ok(),
            "`http.real_ip_header`: is not the name of a header",
        );
        require(
            self.real_ip_header.is_empty() || !self.trusted_proxies.is_empty(),
            "`http.real_ip_header`: needs `http.trusted_proxies`, or anybody could claim any address",
        );
        problems
    }
}
