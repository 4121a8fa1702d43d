//! Where a listener listens: an address, a port on every address, a Unix socket, or nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// As operators write it: `0.0.0.0:6969`, `[::]:6969`, `:6969` for every address,
/// `unix:/run/seedbook/tracker.sock`, or an empty text for nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListenAddr {
    /// Nowhere: this listener is off.
    #[default]
    Off,
    /// A port. `[::]` serves IPv4 too.
    Inet(SocketAddr),
    /// A socket in the file system, for a reverse proxy on this machine.
    Unix(PathBuf),
}

impl ListenAddr {
    /// The port on every address, IPv4 and IPv6.
    #[must_use]
    pub const fn port(port: u16) -> Self {
        Self::Inet(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))
    }

    /// The address, where it is one.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Off | Self::Unix(_) => None,
        }
    }

    /// Whether one process cannot tell the two apart: the same socket file, or the same port on addresses of
    /// which one includes the other. The kernel chooses a free port for 0, so that overlaps with nothing.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inet(one), Self::Inet(two)) => {
                let (ours, theirs) = (one.ip(), two.ip());
                let includes = |wide: IpAddr, narrow: IpAddr| {
                    // `[::]` serves IPv4 too.
                    wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
                };
                let share = ours == theirs || includes(ours, theirs) || includes(theirs, ours);
                one.port() == two.port() && one.port() != 0 && share
            }
            (Self::Unix(one), Self::Unix(two)) => one == two,
            _ => false,
        }
    }

    /// Whether nobody shall listen.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

impl FromStr for ListenAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected an address such as 0.0.0.0:6969, :6969 or unix:/run/seedbook/tracker.sock, or \"\" for none";
        if text.is_empty() {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is the same as `unix:/path`, as in other programs' files.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(WANTED) };
        }
        match text.strip_prefix(':') {
            Some(port) => port.parse().map(Self::port).map_err(|_| WANTED),
            None => text.parse().map(Self::Inet).map_err(|_| WANTED),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => Ok(()),
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for ListenAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A key without a value is as empty as an empty text.
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, shown) in [
            ("", ""),
            (":6969", "[::]:6969"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("unix:/run/t.sock", "unix:/run/t.sock"),
            ("unix:///run/t.sock", "unix:/run/t.sock"),
        ] {
            let address: ListenAddr = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse::<ListenAddr>().unwrap(), address);
        }
    }

    #[test]
    fn addresses_overlap_when_one_includes_the_other_on_the_same_port() {
        for (one, other, overlap) in [
            (":80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            (":80", ":81", false),
            (":0", ":0", false),
            ("", "", false),
            ("unix:/run/t.sock", "unix:///run/t.sock", true),
            ("unix:/run/t.sock", ":80", false),
        ] {
            let (one, other): (ListenAddr, ListenAddr) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.overlaps(&other), overlap, "{one} and {other}");
            assert_eq!(other.overlaps(&one), overlap, "{other} and {one}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in ["6969", "localhost", ":", ":70000", "unix:", "unix:relative.sock", "1.2.3.4"] {
            assert!(text.parse::<ListenAddr>().unwrap_err().contains(":6969"), "{text}");
        }
    }
}
