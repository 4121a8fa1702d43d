//! The HTTP frontend's section.

use std::path::PathBuf;

use contract::config::{Period, Problems};
use hyper::header::HeaderName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::frontend::http::{CertificateSource, network};
use crate::frontend::route::Routes;
use contract::config::ListenAddr;

/// The HTTP frontend.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    /// Where clients, or a proxy in front of them, announce over plain HTTP.
    pub addr: ListenAddr,
    /// Where they announce over HTTPS.
    pub https_addr: ListenAddr,
    /// The certificate that HTTPS shows, with those between it and its root, in a PEM file.
    pub tls_cert_path: PathBuf,
    /// Its private key, in a PEM file.
    pub tls_key_path: PathBuf,
    /// Threads; 0 means one per core.
    pub workers: usize,
    /// How long the head of a request may take, from its first byte, or from accepting the connection.
    pub read_timeout: Period,
    /// How long a client may take to read its reply.
    pub write_timeout: Period,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Period,
    /// Whether a connection may carry more than one request.
    pub enable_keepalive: bool,
    /// Taken for the sake of other trackers' files: request times are always measured.
    pub enable_request_timing: bool,
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
            addr: ListenAddr::port(6969),
            https_addr: ListenAddr::Off,
            tls_cert_path: PathBuf::new(),
            tls_key_path: PathBuf::new(),
            workers: 0,
            read_timeout: Period::from_secs(5),
            write_timeout: Period::from_secs(5),
            idle_timeout: Period::from_secs(30),
            enable_keepalive: true,
            enable_request_timing: false,
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
    pub fn proxies(&self) -> Result<Vec<IpNet>, Problems> {
        let mut problems = Problems::default();
        let mut networks = Vec::new();
        for text in &self.trusted_proxies {
            match network(text) {
                Ok(network) => networks.push(network),
                Err(wanted) => problems.push(format!("`http.trusted_proxies`: `{text}`: {wanted}")),
            }
        }
        problems.or(networks)
    }

    /// The certificate for HTTPS; `None` when that is off.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn certificate(&self) -> Result<Option<CertificateSource>, Problems> {
        if self.https_addr.is_off() {
            return Ok(None);
        }
        CertificateSource::load(&self.tls_cert_path, &self.tls_key_path).map(Some)
    }

    /// What spans several keys or needs more than a type.
    pub(super) fn problems(&self) -> Problems {
        let mut problems = self.listener_problems();
        problems.0.extend(self.proxies().err().unwrap_or_default().0);
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
        problems
    }

    /// Whether a proxy's header was named, but nobody whose header counts. No problem, because files of other
    /// trackers, which believe anybody, must load; but whoever runs it must hear that clients seem to come
    /// from the proxy.
    #[must_use]
    pub fn believes_nobody(&self) -> bool {
        let is_unix = matches!(self.addr, ListenAddr::Unix(_));
        !is_unix && !self.real_ip_header.is_empty() && self.trusted_proxies.is_empty()
    }

    fn listener_problems(&self) -> Problems {
        let mut problems = self.https_problems();
        let is_unix = matches!(self.addr, ListenAddr::Unix(_));
        if is_unix && self.real_ip_header.is_empty() {
            problems.push(
                "`http.addr`: a Unix socket needs `http.real_ip_header`, in which its proxy passes the client's address on",
            );
        }
        problems
    }

    fn https_problems(&self) -> Problems {
        let problem = |text: &str| Problems(vec![text.to_owned()]);
        let a_path_is_missing =
            self.tls_cert_path.as_os_str().is_empty() || self.tls_key_path.as_os_str().is_empty();
        match &self.https_addr {
            ListenAddr::Off => Problems::default(),
            ListenAddr::Unix(_) => {
                problem("`http.https_addr`: a Unix socket is local and needs no TLS; put it into `http.addr`")
            }
            ListenAddr::Inet(_) if a_path_is_missing => {
                problem("`http.https_addr`: needs `http.tls_cert_path` and `http.tls_key_path`")
            }
            ListenAddr::Inet(_) => self.certificate().err().unwrap_or_default(),
        }
    }
}
