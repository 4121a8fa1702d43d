//! The command line and the environment, brought into one list of settings: a flag wins over `TRACKER_*`,
//! that over `RETRACKER_*` (the names of an image that this program can stand in for), and all of them over
//! the file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use contract::config::ListenAddr;
use service::program;
use tracker::config::{Config, HttpConfig, Plan};

/// A private BitTorrent tracker whose books balance.
#[derive(Debug, Default, Parser)]
#[command(name = "tracker", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The YAML file to read (TRACKER_CONFIG); without one, an in-memory HTTP tracker on port 6969
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients announce over HTTP, in place of `http.addr`; `:6969` means every address
    #[arg(short, long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where clients announce over UDP, in place of `udp.addr`
    #[arg(short, long, value_name = "ADDR")]
    udp: Option<String>,
    /// Other trackers to tell of our clients, in place of `forwarders`
    #[arg(short, long, value_name = "FILE")]
    forwarders: Option<PathBuf>,
    /// Log more
    #[arg(short, long)]
    debug: bool,
    /// Take clients' addresses from X-Real-IP, in place of `http.real_ip_header`. Believed only from
    /// `http.trusted_proxies`, which are this host when none are configured
    #[arg(short = 'x', long)]
    real_ip: bool,
    /// Read the configuration, print what is in force, and stop
    #[arg(long)]
    pub(crate) check: bool,
}

const EXAMPLES: &str = "\
Examples:
  tracker                               an open tracker on port 6969, everything in memory
  tracker --udp :6969                   the same over UDP too
  tracker --config tracker.yaml         as the file says
  tracker --config tracker.yaml --check print the configuration in force, or all that is wrong with it
  tracker -l :8080 -f forwarders.yml    an open tracker that tells others of its clients
  TRACKER_HTTP_ADDR=0.0.0.0:8080 tracker  any key by environment

RETRACKER_CONFIG, RETRACKER_LISTEN, RETRACKER_UDP_LISTEN, RETRACKER_FORWARDS and RETRACKER_DEBUG=true do what
-c, -l, -u, -f and -d do.
Flags win over TRACKER_* variables, those over RETRACKER_* variables, and these over the file.
Metrics have an address of their own: metrics_addr.";

/// Variables of the other image, and the keys of ours that they set.
const ALIASES: [(&str, &str); 4] = [
    ("RETRACKER_CONFIG", "TRACKER_CONFIG"),
    ("RETRACKER_LISTEN", "TRACKER_HTTP_ADDR"),
    ("RETRACKER_UDP_LISTEN", "TRACKER_UDP_ADDR"),
    ("RETRACKER_FORWARDS", "TRACKER_FORWARDERS"),
];

impl Args {
    /// The configuration in force: defaults, file, environment, flags.
    pub(crate) fn plan(&self, env: impl IntoIterator<Item = (String, String)>) -> Result<Plan> {
        let mut settings = self.settings(env)?;
        let file = settings.remove("TRACKER_CONFIG").map(PathBuf::from);
        program::read(file.as_deref(), |text| {
            let mut config = Config::read(text, settings)?;
            if self.real_ip {
                believe_this_host(&mut config.http);
            }
            Plan::of(config)
        })
    }

    /// The environment with `RETRACKER_*` under our names and the flags on top. A variable set to nothing is
    /// not set: compose files do that.
    fn settings(&self, env: impl IntoIterator<Item = (String, String)>) -> Result<BTreeMap<String, String>> {
        let mut settings: BTreeMap<String, String> = env.into_iter().collect();
        for (theirs, ours) in ALIASES {
            let value = settings.remove(theirs).filter(|value| !value.is_empty());
            if let Some(value) = value
                && !settings.contains_key(ours)
            {
                let value =
                    if theirs.ends_with("_LISTEN") { address(theirs, &value)?.to_string() } else { value };
                settings.insert(ours.to_owned(), value);
            }
        }
        let their_debug =
            settings.remove("RETRACKER_DEBUG").is_some_and(|value| value == "true" || value == "1");
        let debug = self.debug || their_debug && !settings.contains_key("TRACKER_LOG_LEVEL");
        let listen = self.listen.as_deref().map(|text| address("--listen", text)).transpose()?;
        let udp = self.udp.as_deref().map(|text| address("--udp", text)).transpose()?;
        let flags = [
            ("TRACKER_CONFIG", self.config.as_ref().map(|path| path.display().to_string())),
            ("TRACKER_HTTP_ADDR", listen.map(|address| address.to_string())),
            ("TRACKER_UDP_ADDR", udp.map(|address| address.to_string())),
            ("TRACKER_FORWARDERS", self.forwarders.as_ref().map(|path| path.display().to_string())),
            ("TRACKER_LOG_LEVEL", debug.then(|| "debug".to_owned())),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                settings.insert(key.to_owned(), value);
            }
        }
        Ok(settings)
    }
}

/// The address, in any form that the file takes too, checked here so that the mistake is told by the flag's
/// own name.
fn address(name: &str, text: &str) -> Result<ListenAddr> {
    text.parse().map_err(|wanted| anyhow::anyhow!("{name} {text}: {wanted}"))
}

fn believe_this_host(http: &mut HttpConfig) {
    http.real_ip_header = "x-real-ip".into();
    if http.trusted_proxies.is_empty() {
        http.trusted_proxies = vec!["127.0.0.0/8".into(), "::1".into()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(flags: &[&str], env: &[(&str, &str)]) -> Result<Config> {
        let args = Args::try_parse_from(std::iter::once(&"tracker").chain(flags)).unwrap();
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        args.plan(env).map(|plan| plan.config)
    }

    fn port(flags: &[&str], env: &[(&str, &str)]) -> u16 {
        configuration(flags, env).unwrap().http.addr.inet().unwrap().port()
    }

    #[test]
    fn flags_win_over_our_variables_and_those_over_the_other_images() {
        let theirs = ("RETRACKER_LISTEN", ":8081");
        let ours = ("TRACKER_HTTP_ADDR", "127.0.0.1:8082");
        assert_eq!(port(&[], &[theirs]), 8081);
        assert_eq!(port(&[], &[theirs, ours]), 8082);
        assert_eq!(port(&["-l", ":8083"], &[theirs, ours]), 8083);
        assert_eq!(port(&[], &[("RETRACKER_LISTEN", ""), ("RETRACKER_FORWARDS", "")]), 6969);
    }

    #[test]
    fn the_file_comes_last() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
        std::fs::write(&ours, "http: {addr: '127.0.0.1:1'}\n").unwrap();
        std::fs::write(&theirs, "http: {addr: '127.0.0.1:2'}\n").unwrap();
        let (ours, theirs) = (ours.display().to_string(), theirs.display().to_string());
        let (our_env, their_env) = (("TRACKER_CONFIG", ours.as_str()), ("RETRACKER_CONFIG", theirs.as_str()));
        assert_eq!(port(&[], &[their_env]), 2);
        assert_eq!(port(&[], &[their_env, our_env]), 1);
        assert_eq!(port(&["-c", &theirs], &[our_env]), 2);
        assert_eq!(port(&["-c", &theirs, "--listen", "0.0.0.0:3"], &[]), 3);
    }

    #[test]
    fn udp_is_off_until_somebody_asks_for_it() {
        let udp = |flags: &[&str], env: &[(&str, &str)]| configuration(flags, env).unwrap().udp.addr.inet();
        assert_eq!(udp(&[], &[("RETRACKER_UDP_LISTEN", "")]), None);
        let theirs = ("RETRACKER_UDP_LISTEN", ":6969");
        assert_eq!(udp(&[], &[theirs]).unwrap().port(), 6969);
        assert_eq!(udp(&["-u", "127.0.0.1:7"], &[theirs]).unwrap().port(), 7);
    }

    #[test]
    fn debug_and_forwarders_have_short_forms_and_variables() {
        let level = |flags: &[&str], env: &[(&str, &str)]| configuration(flags, env).unwrap().log.level;
        assert_eq!(level(&["-d"], &[]), "debug");
        assert_eq!(level(&[], &[("RETRACKER_DEBUG", "true")]), "debug");
        assert_ne!(level(&[], &[("RETRACKER_DEBUG", "false")]), "debug");
        assert_eq!(level(&[], &[("RETRACKER_DEBUG", "true"), ("TRACKER_LOG_LEVEL", "warn")]), "warn");
        let file = |flags: &[&str], env: &[(&str, &str)]| configuration(flags, env).unwrap().forwarders;
        assert_eq!(file(&["-f", "/dev/null"], &[]), Some("/dev/null".into()));
        assert_eq!(file(&[], &[("RETRACKER_FORWARDS", "/dev/null")]), Some("/dev/null".into()));
        let missing = configuration(&["-f", "/nowhere/f.yml"], &[]).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/f.yml"), "{missing}");
    }

    #[test]
    fn x_real_ip_is_believed_from_this_host_only_unless_proxies_are_named() {
        let http = configuration(&["-x"], &[]).unwrap().http;
        assert_eq!(http.real_ip_header, "x-real-ip");
        assert_eq!(http.trusted_proxies, ["127.0.0.0/8", "::1"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "http: {trusted_proxies: [10.0.0.0/8]}\n").unwrap();
        let http = configuration(&["-x", "-c", &file.display().to_string()], &[]).unwrap().http;
        assert_eq!(http.trusted_proxies, ["10.0.0.0/8"]);
    }

    #[test]
    fn a_wrong_address_is_named() {
        let text = configuration(&[], &[("RETRACKER_LISTEN", "here")]).unwrap_err().to_string();
        assert!(text.contains("RETRACKER_LISTEN") && text.contains(":6969"), "{text}");
        assert!(configuration(&["-l", "8080"], &[]).unwrap_err().to_string().contains("--listen"));
    }

    #[test]
    fn what_the_other_program_had_and_this_one_has_not_is_refused() {
        assert!(Args::try_parse_from(["tracker", "-p"]).is_err(), "metrics have an address of their own");
    }
}
