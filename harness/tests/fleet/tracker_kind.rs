//! The tracker that a fleet announces to: over which transport, in which family, and who may.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use contract::AddressFamily;
use harness::{Certificate, Network, free_port};

/// How clients reach the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Https,
    Udp,
}

/// Who may announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Users with a passkey; every announce goes into the stream.
    Passkeys,
    /// Everybody, for clients that cannot show a passkey over UDP. Nothing is recorded; the swarm's figures
    /// are all there is.
    Open,
}

/// How clients reach the tracker, and who may announce.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrackerKind {
    pub(crate) transport: Transport,
    pub(crate) family: AddressFamily,
    pub(crate) access: Access,
}

/// Where the tracker listens.
#[derive(Debug)]
pub(crate) struct TrackerAddress {
    kind: TrackerKind,
    address: String,
    certificate: Certificate,
}

impl TrackerKind {
    pub(crate) fn address(self, network: &Network) -> TrackerAddress {
        let ip: IpAddr = match self.family {
            AddressFamily::V4 => network.ipv4().into(),
            AddressFamily::V6 => network.ipv6().into(),
        };
        // A TCP port that is free has nearly always a free UDP port beside it, as nothing else here uses UDP.
        let address = SocketAddr::new(ip, free_port()).to_string();
        TrackerAddress { kind: self, address, certificate: Certificate::for_addresses(&[ip]) }
    }
}

impl TrackerAddress {
    /// What a client has to trust to announce over HTTPS.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.certificate.file()
    }

    pub(crate) fn announce_url(&self, passkey: &str) -> String {
        let scheme = match self.kind.transport {
            Transport::Http => "http",
            Transport::Https => "https",
            Transport::Udp => "udp",
        };
        match self.kind.access {
            Access::Passkeys => format!("{scheme}://{}/announce/{passkey}", self.address),
            Access::Open => format!("{scheme}://{}/announce", self.address),
        }
    }

    /// Short intervals, so that a test sees several announces, and figures of the swarms at most a second
    /// old.
    pub(crate) fn tracker_config(&self, redis: &str) -> String {
        let frontends = match self.kind.transport {
            Transport::Http => format!("http: {{addr: '{}'}}\n", self.address),
            Transport::Https => format!(
                "http: {{addr: '', https_addr: '{}', tls_cert_path: '{}', tls_key_path: '{}'}}\n",
                self.address,
                self.certificate.file().display(),
                self.certificate.key_file().display()
            ),
            Transport::Udp => format!("http: {{addr: '127.0.0.1:0'}}\nudp: {{addr: '{}'}}\n", self.address),
        };
        let hooks = match self.kind.access {
            Access::Passkeys => {
                "hooks: {prehooks: [{name: passkey approval}], posthooks: [{name: traffic push}]}\n"
            }
            Access::Open => "",
        };
        format!(
            "announce_interval: 5s\nmin_announce_interval: 2s\nredis_broker: {redis}\n\
             storage: {{config: {{gc_interval: 1s}}}}\n{frontends}{hooks}"
        )
    }
}
