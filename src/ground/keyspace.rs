//! Whose key is it? Templates of several jobs may overlap: `event:{id}` also matches `event:list:state:Lagos`. The template with the
//! most literal text owns a key; where two have equally much, nobody can tell, and nobody writes it.

use std::fmt;

use super::key::KeyTemplate;

/// The key templates of all jobs.
#[derive(Debug, Clone, Default)]
pub struct KeySpace {
    templates: Vec<(String, KeyTemplate)>,
}

impl KeySpace {
    /// The key space of the given jobs (name, template).
    pub fn new(templates: Vec<(String, KeyTemplate)>) -> Self {
        KeySpace { templates }
    }

    /// The job that the key belongs to.
    ///
    /// # Errors
    /// Why it belongs to none.
    pub fn owner(&self, key: &[u8]) -> Result<&str, NoOwner> {
        let claims = self.templates.iter().filter(|(_, template)| template.matches(key).is_some());
        let claims: Vec<_> = claims.map(|(name, template)| (template.literal_len(), name)).collect();
        let most = claims.iter().map(|(literal, _)| *literal).max();
        let mut best = claims.iter().filter(|(literal, _)| Some(*literal) == most).map(|(_, name)| name.as_str());
        match (best.next(), best.next()) {
            (Some(owner), None) => Ok(owner),
            (Some(one), Some(other)) => Err(NoOwner::Several(one.to_owned(), other.to_owned())),
            (None, _) => Err(NoOwner::Nobody),
        }
    }

    /// The templates of other jobs that may own keys which `job`'s template renders.
    pub fn rivals(&self, job: &str) -> Rivals {
        let Some((_, own)) = self.templates.iter().find(|(name, _)| name == job) else {
            return Rivals::default();
        };
        let rivals = self.templates.iter().filter(|(name, other)| {
            name != job && other.literal_len() >= own.literal_len() && overlap(own.prefix(), other.prefix())
        });
        Rivals { templates: rivals.cloned().collect() }
    }
}

/// Why a key belongs to no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoOwner {
    /// No job makes such a key.
    Nobody,
    /// These two jobs have the same claim on it, so that neither writes it.
    Several(String, String),
}

impl fmt::Display for NoOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoOwner::Nobody => f.write_str("it is a key of no job"),
            NoOwner::Several(one, other) => {
                write!(f, "the jobs {one} and {other} have the same claim on it, so that it is a key of neither")
            }
        }
    }
}

/// The templates that may own keys which another template renders.
#[derive(Debug, Clone, Default)]
pub struct Rivals {
    templates: Vec<(String, KeyTemplate)>,
}

impl Rivals {
    /// The job that has a better, or an equally good, claim on `key`.
    pub fn claim(&self, key: &[u8]) -> Option<&str> {
        self.templates.iter().find(|(_, template)| template.matches(key).is_some()).map(|(name, _)| name.as_str())
    }
}

/// Whether keys with the one literal prefix can begin with the other.
fn overlap(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(jobs: &[(&str, &str)]) -> KeySpace {
        KeySpace::new(
            jobs.iter().map(|(name, key)| ((*name).to_owned(), KeyTemplate::parse(key).expect("good"))).collect(),
        )
    }

    #[test]
    fn the_template_with_most_literal_text_owns_a_key() {
        let space = space(&[("events", "event:{id}"), ("lists", "event:list:state:{state}"), ("users", "user:{id}")]);
        let events = space.rivals("events");
        assert_eq!(events.claim(b"event:list:state:Lagos"), Some("lists"));
        assert_eq!(events.claim(b"event:list:other"), None);
        assert_eq!(space.rivals("lists").claim(b"event:list:state:Lagos"), None);
    }

    #[test]
    fn a_key_has_one_owner_or_none() {
        let space = space(&[
            ("events", "event:{id}"),
            ("lists", "event:list:{state}"),
            ("one", "a:{x}:bb"),
            ("two", "a:bb:{x}"),
        ]);
        assert_eq!(space.owner(b"event:7"), Ok("events"));
        assert_eq!(space.owner(b"event:list:Lagos"), Ok("lists"));
        assert_eq!(space.owner(b"a:bb:bb"), Err(NoOwner::Several("one".to_owned(), "two".to_owned())));
        assert_eq!(space.owner(b"a:1:bb"), Ok("one"));
        assert_eq!(space.owner(b"user:7"), Err(NoOwner::Nobody));
    }

    #[test]
    fn an_equal_claim_is_a_claim_on_both_sides() {
        let space = space(&[("one", "a:{x}:bb"), ("two", "a:bb:{x}")]);
        assert_eq!(space.rivals("one").claim(b"a:bb:bb"), Some("two"));
        assert_eq!(space.rivals("two").claim(b"a:bb:bb"), Some("one"));
        assert_eq!(space.rivals("one").claim(b"a:1:bb"), None);
    }
}
