//! Whose key is it? Templates of several jobs may overlap: `event:{id}` also matches `event:list:state:Lagos`. The template with the
//! most literal text owns a key; where two have equally much, nobody can tell, and nobody writes it.

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
    fn an_equal_claim_is_a_claim_on_both_sides() {
        let space = space(&[("one", "a:{x}:bb"), ("two", "a:bb:{x}")]);
        assert_eq!(space.rivals("one").claim(b"a:bb:bb"), Some("two"));
        assert_eq!(space.rivals("two").claim(b"a:bb:bb"), Some("one"));
        assert_eq!(space.rivals("one").claim(b"a:1:bb"), None);
    }
}
