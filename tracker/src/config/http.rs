//! The HTTP frontend's section.

use std::num::NonZero;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use contract::config::{ListenAddr, Period, Problems};
use hyper::header::HeaderName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wire::http::reply::ScrapeForm;

use crate::frontend::http::{CertificateSource, Keepalive, Policy, ProxyRules, Settings, Timeouts, network};
use crate::frontend::limits::{EventFields, Limits, Spoofing};
use crate::frontend::route::Routes;

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
    /// Paths at which clients scrape; `:passkey` stands for the user's passkey.
    pub scrape_routes: Vec<String>,
    /// Whether `ip`, `ipv4` and `ipv6` in a query are believed.
    pub allow_ip_spoofing: bool,
    /// The header in which a trusted proxy passes the client's address on.
    pub real_ip_header: String,
    /// The proxies it is believed from.
    pub trusted_proxies: Vec<String>,
    /// Peers for a client that does not say how many.
    pub default_numwant: usize,
    /// Peers in one reply, at most.
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

/// What the HTTP frontends are built from.
#[derive(Debug)]
pub struct HttpPlan {
    /// How requests are read and answered.
    pub policy: Policy,
    /// The certificate for HTTPS, read from its files; `None` when that is off.
    pub certificate: Option<CertificateSource>,
    /// Threads, waits, keep-alive.
    pub settings: Settings,
}

impl HttpConfig {
    /// Reads and checks the section. `grace`: how long requests in hand may take at the end.
    pub(super) fn plan(&self, grace: Duration) -> Result<HttpPlan, Problems> {
        let mut problems = self.listener_problems();
        let certificate = problems.gather(self.certificate()).flatten();
        let trusted = problems.gather(self.proxies()).unwrap_or_default();
        let routes = Routes::new(&self.announce_routes, &self.scrape_routes).map_err(Problems);
        let routes = problems.gather(routes).unwrap_or_default();
        let header = problems.gather(self.header()).flatten();
        problems.require(
            self.default_numwant <= self.max_numwant,
            "`http.default_numwant`: must not be above `http.max_numwant`",
        );
        problems.require(!self.announce_routes.is_empty(), "`http.announce_routes`: needs at least one path");
        let policy = Policy {
            routes,
            proxies: ProxyRules { header, trusted },
            limits: self.limits(),
            scrape_form: if self.scrape_downloaded { ScrapeForm::WithDownloaded } else { ScrapeForm::Counts },
        };
        problems.or(HttpPlan { policy, certificate, settings: self.settings(grace) })
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

    fn settings(&self, grace: Duration) -> Settings {
        Settings {
            timeouts: Timeouts {
                read: self.read_timeout.0,
                write: self.write_timeout.0,
                idle: self.idle_timeout.0,
            },
            keepalive: if self.enable_keepalive { Keepalive::On } else { Keepalive::Off },
            workers: threads(self.workers),
            grace,
        }
    }

    fn header(&self) -> Result<Option<HeaderName>, Problems> {
        let read = (!self.real_ip_header.is_empty()).then(|| self.real_ip_header.parse()).transpose();
        read.map_err(|_| Problems(vec!["`http.real_ip_header`: is not the name of a header".into()]))
    }

    fn proxies(&self) -> Result<Vec<IpNet>, Problems> {
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

    fn certificate(&self) -> Result<Option<CertificateSource>, Problems> {
        let problem = |text: &str| Err(Problems(vec![text.to_owned()]));
        let a_path_is_missing =
            self.tls_cert_path.as_os_str().is_empty() || self.tls_key_path.as_os_str().is_empty();
        match &self.https_addr {
            ListenAddr::Off => Ok(None),
            ListenAddr::Unix(_) => {
                problem("`http.https_addr`: a Unix socket is local and needs no TLS; put it into `http.addr`")
            }
            ListenAddr::Inet(_) if a_path_is_missing => {
                problem("`http.https_addr`: needs `http.tls_cert_path` and `http.tls_key_path`")
            }
            ListenAddr::Inet(_) => CertificateSource::load(&self.tls_cert_path, &self.tls_key_path).map(Some),
        }
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
        let mut problems = Problems::default();
        let ListenAddr::Unix(path) = &self.addr else { return problems };
        problems.require(
            !self.real_ip_header.is_empty(),
            "`http.addr`: a Unix socket needs `http.real_ip_header`, in which its proxy passes the client's \
             address on",
        );
        if let Some(problem) = socket_problem(path) {
            problems.push(format!("`http.addr`: {}: {problem}", path.display()));
        }
        problems
    }
}

/// Why no socket can be bound there. A socket that is there already is another matter: of a tracker that was
/// killed, or of the one that runs while its operator checks the next configuration.
fn socket_problem(path: &Path) -> Option<&'static str> {
    let is_other = path.symlink_metadata().is_ok_and(|metadata| !metadata.file_type().is_socket());
    if is_other {
        Some("is there already, and no socket")
    } else if UnixAddr::from_pathname(path).is_err() {
        Some("is too long for a socket's path")
    } else if !path.parent().is_some_and(Path::is_dir) {
        Some("its folder is not there")
    } else {
        None
    }
}

/// As many as were asked for; 0 means one per core.
pub(super) fn threads(asked: usize) -> usize {
    if asked == 0 { available_parallelism().map_or(1, NonZero::get) } else { asked }
}
