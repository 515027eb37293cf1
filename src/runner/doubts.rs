//! Why values are given up: rows that are never the same need another remedy than values that die too early.

/// How often values that are not verified yet had to be written anew, by the reason.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Another value was read.
    pub(super) different: u64,
    /// They had died before they could be confirmed.
    pub(super) died: u64,
}

impl Doubts {
    /// Why values are given up after so many readings, for people: the reason that more of them have.
    pub(super) fn reason(&self, readings: u32) -> String {
        match self.died > self.different {
            true => "values died before they could be confirmed: write faster (keys_per_second), let them live longer, or read fewer at a time ([for_each], partition_by)".to_owned(),
            false => format!(
                "some rows were different at each of {readings} readings, and their keys are left to die (a query that never gives the same twice needs verify = \"none\")"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_that_more_values_have_is_told() {
        let reason = |different, died| Doubts { different, died }.reason(5);
        assert!(reason(1, 2).starts_with("values died before they could be confirmed: write faster"));
        assert!(
            reason(1, 0).starts_with("some rows were different at each of 5 readings, and their keys are left to die")
        );
    }
}
