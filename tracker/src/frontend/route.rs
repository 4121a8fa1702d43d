//! Paths as routes: `/announce`, `/announce/:passkey`, `/:passkey/announce`. Over HTTP it is the request's
//! path, over UDP that of the URL data (BEP 41).

use crate::announce::Credential;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// An announce, with the credential the path carried.
    Announce(Option<Credential>),
    /// A scrape, likewise.
    Scrape(Option<Credential>),
}

/// The configured paths.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    announce: Vec<Pattern>,
    scrape: Vec<Pattern>,
}

/// Path segments; a parameter matches any one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Credential,
    Anything,
}

impl Routes {
    /// Reads the configured patterns.
    ///
    /// # Errors
    /// A sentence for each pattern that is none.
    pub fn new(announce: &[String], scrape: &[String]) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut read = |key: &str, patterns: &[String]| {
            let mut compiled = Vec::new();
            for pattern in patterns {
                match Pattern::new(pattern) {
                    Ok(pattern) => compiled.push(pattern),
                    Err(problem) => problems.push(format!("`http.{key}`: `{pattern}` {problem}")),
                }
            }
            compiled
        };
        let routes =
            Self { announce: read("announce_routes", announce), scrape: read("scrape_routes", scrape) };
        if problems.is_empty() { Ok(routes) } else { Err(problems) }
    }

    /// What `path` asks for; `None` when nobody knows it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Route> {
        let path = path.strip_prefix('/')?;
        let length = 1 + path.bytes().filter(|byte| *byte == b'/').count();
        // Patterns of another length are passed over without being compared.
        let of_its_length = |pattern: &&Pattern| pattern.0.len() == length;
        let find = |patterns: &[Pattern]| {
            patterns.iter().filter(of_its_length).find_map(|pattern| pattern.matches(path))
        };
        find(&self.announce).map(Route::Announce).or_else(|| find(&self.scrape).map(Route::Scrape))
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').ok_or("must begin with `/`")?;
        let segments = path.split('/').map(|segment| match segment.strip_prefix(':') {
            Some("passkey" | "credential" | "auth_key") => Segment::Credential,
            Some(_) => Segment::Anything,
            None => Segment::Literal(segment.to_owned()),
        });
        Ok(Self(segments.collect()))
    }

    /// Holds it against a path of as many segments, without its first slash.
    fn matches(&self, path: &str) -> Option<Option<Credential>> {
        let mut credential = None;
        for (segment, text) in self.0.iter().zip(path.as_bytes().split(|byte| *byte == b'/')) {
            match segment {
                Segment::Literal(literal) if literal.as_bytes() == text => {}
                Segment::Literal(_) => return None,
                _ if text.is_empty() => return None,
                Segment::Anything => {}
                Segment::Credential => credential = Some(text),
            }
        }
        Some(credential.map(Credential::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        Routes::new(&own(&["/announce", "/announce/:passkey", "/:passkey/announce"]), &own(&["/scrape"]))
            .unwrap()
    }

    #[test]
    fn a_passkey_is_taken_from_either_place() {
        let key = Some(Credential::new(b"k1"));
        assert_eq!(routes().find("/announce"), Some(Route::Announce(None)));
        assert_eq!(routes().find("/announce/k1"), Some(Route::Announce(key.clone())));
        assert_eq!(routes().find("/k1/announce"), Some(Route::Announce(key)));
        assert_eq!(routes().find("/scrape"), Some(Route::Scrape(None)));
    }

    #[test]
    fn other_paths_are_nobodys() {
        for path in
            ["", "/", "/announce/", "//announce", "/announce/a/b", "/scrape/x", "announce", "/Announce"]
        {
            assert_eq!(routes().find(path), None, "{path}");
        }
    }

    #[test]
    fn a_pattern_without_a_slash_is_a_problem() {
        let problems = Routes::new(&["announce".into()], &[]).unwrap_err();
        assert!(problems[0].contains("http.announce_routes") && problems[0].contains("must begin with"));
    }
}
