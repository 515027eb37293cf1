//! What a plan says, as PostgreSQL gives it in JSON: a tree of steps, each an object.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A plan.
pub(super) struct Explained(Value);

type Step = Map<String, Value>;

impl Explained {
    /// Reads a plan; from a text that is none, nothing can be learned.
    pub(super) fn parse(text: &str) -> Self {
        Explained(serde_json::from_str(text).unwrap_or_default())
    }

    /// How many rows the planner expects, and how many bytes each has.
    pub(super) fn rows_and_width(&self) -> Option<(u64, u64)> {
        let first = self.0.get(0)?.get("Plan")?;
        Some((first.get("Plan Rows")?.as_u64()?, first.get("Plan Width")?.as_u64()?))
    }

    /// The step that would change or lock rows. A read-only transaction refuses it, but only when it is run.
    pub(super) fn changes(&self) -> Option<String> {
        self.steps().into_iter().find_map(|step| match text(step, "Node Type")?.as_str() {
            "ModifyTable" => {
                Some(format!("{} on {}", text(step, "Operation")?, text(step, "Relation Name").unwrap_or_default()))
            }
            "LockRows" => Some("LockRows".to_owned()),
            _ => None,
        })
    }

    /// The tables that are read, by schema and name.
    pub(super) fn tables(&self) -> BTreeSet<(String, String)> {
        self.steps().into_iter().filter_map(|step| text(step, "Schema").zip(text(step, "Relation Name"))).collect()
    }

    /// The expressions that are computed, those of views included, each as a text of SQL.
    pub(super) fn expressions(&self) -> Vec<&str> {
        let no_expression = |name: &str| name.ends_with("Name") || ["Alias", "Schema", "Node Type"].contains(&name);
        let of_step = |step| {
            let computed = Step::iter(step).filter(|(name, _)| !no_expression(name));
            computed.flat_map(|(_, value)| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
        };
        self.steps().into_iter().flat_map(of_step).filter_map(Value::as_str).collect()
    }

    /// All steps.
    fn steps(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = Vec::new();
        steps.extend(self.0.get(0).and_then(|whole| whole.get("Plan")?.as_object()));
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            let below = step.get("Plans").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            steps.extend(below.iter().filter_map(Value::as_object));
            next += 1;
        }
        steps
    }
}

fn text(step: &Step, name: &str) -> Option<String> {
    step.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"[{"Plan": {"Node Type": "Limit", "Plan Rows": 20, "Plan Width": 94, "Output": ["id", "random()"], "Plans": [
        {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "Update on x", "Alias": "now()", "Filter": "(at > now())", "Plan Rows": 7}
    ]}}]"#;

    #[test]
    fn the_planners_figures_are_those_of_the_whole_query() {
        assert_eq!(Explained::parse(PLAN).rows_and_width(), Some((20, 94)));
        for text in ["", "[]", "no plan"] {
            let nothing = Explained::parse(text);
            assert_eq!((nothing.rows_and_width(), nothing.changes(), nothing.expressions()), (None, None, vec![]));
        }
    }

    #[test]
    fn tables_and_expressions_are_those_of_all_steps() {
        let plan = Explained::parse(PLAN);
        assert_eq!(Vec::from_iter(plan.tables()), [("public".to_owned(), "Update on x".to_owned())]);
        assert_eq!(plan.expressions(), ["id", "random()", "(at > now())"]);
    }

    #[test]
    fn a_plan_that_changes_something_is_told_from_one_that_reads() {
        assert_eq!(Explained::parse(PLAN).changes(), None);
        for (step, changes) in [
            (r#""Node Type": "ModifyTable", "Operation": "Delete", "Relation Name": "thing""#, "Delete on thing"),
            (r#""Node Type": "LockRows""#, "LockRows"),
        ] {
            let text = format!(r#"[{{"Plan": {{"Node Type": "CTE Scan", "Plans": [{{{step}}}]}}}}]"#);
            assert_eq!(Explained::parse(&text).changes().as_deref(), Some(changes));
        }
    }
}
