//! The forwarders file: a YAML list of `uri` and, if wanted, `name`, `ip`, `host`. Read strictly, every
//! problem at once.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use contract::config::{Problems, parse_yaml_list, section};
use hyper::Uri;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Forwarders at most: each client's standing is kept per forwarder.
pub const MAX_FORWARDERS: usize = 100;

/// One external tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarder {
    /// What logs and metrics call it.
    pub name: String,
    /// Its announce URL.
    pub target: Target,
    /// The address it is told in place of the client's own, when clients are behind NAT.
    pub ip: Option<IpAddr>,
    /// The `Host` header, when it is not the URI's host.
    pub host: Option<String>,
}

/// Where a forwarder is asked. Printed without its path, which may be a credential of the operator's.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The protocol it speaks.
    pub scheme: Scheme,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Its port; 80 or 443 when an HTTP URI names none.
    pub port: u16,
    /// Path and query of its announce URL; may hold a credential.
    pub path: String,
}

/// How a forwarder is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Over TCP, in clear text.
    Http,
    /// Over TLS; its certificate is checked.
    Https,
    /// `udp://` (BEP 15)
    Udp,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Udp => "udp",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One entry as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    uri: String,
    name: String,
    ip: Option<IpAddr>,
    host: String,
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub(crate) fn read_file(path: &Path) -> Result<Vec<Forwarder>, Problems> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problems(vec![format!("`forwarders`: cannot read {}: {error}", path.display())]))?;
    read(&text).map_err(|Problems(lines)| {
        Problems(lines.iter().map(|line| format!("{}: {line}", path.display())).collect())
    })
}

/// Reads a file's text.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(text: &str) -> Result<Vec<Forwarder>, Problems> {
    let entries = parse_yaml_list(text)?;
    let (mut forwarders, mut problems) = (Vec::<Forwarder>::new(), Problems::default());
    if entries.len() > MAX_FORWARDERS {
        problems.push(format!("{} forwarders; at most {MAX_FORWARDERS} are allowed", entries.len()));
    }
    for (number, entry) in entries.iter().enumerate() {
        match read_entry(entry, &format!("[{number}]")) {
            Ok(forwarder) if forwarders.iter().any(|other| other.name == forwarder.name) => {
                problems.push(format!(
                    "`[{number}]`: another forwarder is called `{}` too; give one a `name`",
                    forwarder.name
                ));
            }
            Ok(forwarder) => forwarders.push(forwarder),
            Err(found) => problems.0.extend(found.0),
        }
    }
    problems.or(forwarders)
}

fn read_entry(entry: &Value, path: &str) -> Result<Forwarder, Problems> {
    if !entry.is_object() {
        return Err(Problems(vec![format!("`{path}`: expected `uri` and, if wanted, `name`, `ip`, `host`")]));
    }
    let Entry { uri, name, ip, host } = section(entry, path)?;
    let mut problems = Problems::default();
    let target = read_uri(&uri).map_err(|wanted| problems.push(format!("`{path}.uri`: {wanted}"))).ok();
    if HeaderValue::from_str(&host).is_err() || host.contains(char::is_whitespace) {
        problems.push(format!("`{path}.host`: is not the name of a host"));
    }
    if !host.is_empty() && target.as_ref().is_some_and(|target| target.scheme == Scheme::Udp) {
        problems.push(format!("`{path}.host`: UDP has no host header"));
    }
    let Some(target) = target else { return Err(problems) };
    let name = if name.is_empty() { target.to_string() } else { name };
    let host = Some(host).filter(|host| !host.is_empty());
    problems.or(Forwarder { name, target, ip: ip.map(|ip| ip.to_canonical()), host })
}

/// Reads a tracker's URI. The error never repeats it: trackers' URIs carry passkeys.
fn read_uri(text: &str) -> Result<Target, &'static str> {
    const WANTED: &str = "expected http://HOST/PATH, https://HOST/PATH or udp://HOST:PORT";
    let uri: Uri = text.parse().map_err(|_| WANTED)?;
    let (scheme, default_port) = match uri.scheme_str() {
        Some("http") => (Scheme::Http, Some(80)),
        Some("https") => (Scheme::Https, Some(443)),
        Some("udp") => (Scheme::Udp, None),
        _ => return Err(WANTED),
    };
    let authority = uri.authority().ok_or(WANTED)?;
    if authority.as_str().contains('@') {
        return Err("a user and password in it are not supported");
    }
    // An explicit port that is none must not fall back to the default.
    let explicit = authority.as_str().rsplit_once(':').is_some_and(|(_, end)| !end.contains(']'));
    let port = if explicit { uri.port_u16() } else { default_port };
    let port = port.filter(|port| *port > 0).ok_or("needs a port, such as udp://tracker.example.org:6969")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if host.is_empty() { Err(WANTED) } else { Ok(Target { scheme, host, port, path }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_file_loads() {
        let text = "# HTTP trackers
- uri: http://1.2.3.4:8080/announce
- uri: https://tracker.example.com/announce
- uri: udp://tracker.example.com:6969/announce
- uri: http://5.6.7.8:8080/announce
  ip: 192.168.1.15
- uri: http://192.168.1.1:8080/announce
  host: retracker.local
- uri: http://[2001:db8::1]/announce?key=x
  name: my-tracker
";
        let forwarders = read(text).unwrap();
        let names: Vec<_> = forwarders.iter().map(|forwarder| forwarder.name.as_str()).collect();
        assert_eq!(
            names[..3],
            ["http://1.2.3.4:8080", "https://tracker.example.com:443", "udp://tracker.example.com:6969"]
        );
        assert_eq!(forwarders[3].ip, Some([192, 168, 1, 15].into()));
        assert_eq!(forwarders[4].host.as_deref(), Some("retracker.local"));
        let Target { host, port, path, .. } = &forwarders[5].target;
        assert_eq!((host.as_str(), *port, path.as_str()), ("2001:db8::1", 80, "/announce?key=x"));
        assert_eq!(forwarders[5].name, "my-tracker");
    }

    #[test]
    fn an_empty_file_is_an_empty_list() {
        assert_eq!(read("# nobody yet\n").unwrap(), []);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = problems(
            "- urii: http://a/\n- uri: ftp://a/\n- uri: udp://a/announce\n- just text\n- {uri: 'http://a/', ip: here}\n- {uri: 'http://u:p@b/'}\n- {uri: 'http://c:99999/'}\n- {uri: 'udp://d:1', host: x}\n",
        );
        assert!(problems.contains("`urii`") && problems.contains("did you mean `uri`"), "{problems}");
        for place in [
            "`[1].uri`",
            "`[2].uri`: needs a port",
            "`[3]`",
            "[4].`ip`",
            "`[5].uri`",
            "`[6].uri`",
            "`[7].host`",
        ] {
            assert!(problems.contains(place), "{place} in {problems}");
        }
        assert!(!problems.contains("u:p"), "{problems}");
    }

    #[test]
    fn names_are_labels_and_must_differ() {
        assert!(problems("- uri: http://a/1\n- uri: http://a/2\n").contains("give one a `name`"));
        assert!(read("- uri: http://a/1\n- {uri: http://a/2, name: b}\n").is_ok());
    }

    #[test]
    fn a_mapping_is_no_list_and_too_many_are_refused() {
        assert!(problems("uri: http://a/\n").contains("list"));
        let many =
            (0..=MAX_FORWARDERS).map(|port| format!("- uri: udp://a:{}\n", port + 1)).collect::<String>();
        assert!(problems(&many).contains("at most 100"));
    }

    #[test]
    fn the_path_which_may_hold_a_key_is_not_printed() {
        let forwarder = read("- uri: http://a/SECRET/announce\n").unwrap().remove(0);
        assert!(!format!("{forwarder:?}").contains("SECRET"));
    }
}
