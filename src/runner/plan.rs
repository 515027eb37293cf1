//! From `[for_each]` to combinations: one query for each combination of the parameters that Postgres takes one value for; a parameter
//! that it takes for an array is bound as a whole.

use super::keys::key_columns;
use crate::encode::KeyText;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::{Job, Partition, Reads, Values};
use crate::ground::refresh::{Unit, Units};
use crate::ground::row::Row;
use crate::ground::sql::{FROM, NOW, Sql, TO};
use crate::source::{Argument, Snapshot, Statement};

/// The values of all parameters of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The run's start as text, for `:now`.
    now: String,
    single: Vec<(String, Vec<String>)>,
    lists: Vec<(String, Vec<String>)>,
    /// Where each combination's rows are cut into parts, in order.
    cuts: Vec<String>,
}

/// The parameters' values for one query.
#[derive(Debug, Clone, Copy)]
pub struct Combination<'p> {
    plan: &'p Plan,
    index: usize,
}

impl Plan {
    /// Resolves the values of the job's parameters, running the queries of `[for_each]` in the same snapshot.
    ///
    /// # Errors
    /// What the queries give; more combinations than `limit`.
    pub async fn new(
        job: &Job,
        statement: &Statement,
        snapshot: &mut Snapshot,
        now: &str,
        limit: usize,
    ) -> Result<Self, Error> {
        let mut plan = Plan { now: now.to_owned(), single: Vec::new(), lists: Vec::new(), cuts: Vec::new() };
        for parameter in &job.for_each {
            let values = match &parameter.values {
                Values::List(values) => values.clone(),
                Values::Query(sql) => query_values(&parameter.name, sql, (snapshot, job.reads()), now, limit).await?,
            };
            let entry = (parameter.name.clone(), values);
            if statement.takes_list(&parameter.name) { plan.lists.push(entry) } else { plan.single.push(entry) }
        }
        plan.check_keys(job, statement)?;
        if let Some(Partition { column, parts, .. }) = &job.partition {
            plan.cuts = snapshot.cuts(statement, column, *parts).await?;
        }
        let product = |lists: &[(String, Vec<String>)]| {
            lists.iter().try_fold(1_usize, |product, (_, values)| product.checked_mul(values.len()))
        };
        // Each member of the lists in a key is owed a key.
        match (product(&plan.single), product(&plan.lists)) {
            (Some(count), Some(members)) if count <= limit && members <= limit => Ok(plan),
            _ => Err(Error::new(
                ErrorKind::Definition,
                format!(
                    "[for_each] gives more than {limit} combinations; narrow it, or raise `combinations` in [limits]"
                ),
            )),
        }
    }

    /// Two combinations that differ only in what is not in the key would overwrite each other's arrays, and, without a column in the key, each other's
    /// values.
    fn check_keys(&self, job: &Job, statement: &Statement) -> Result<(), Error> {
        let names = job.key.names();
        let has_column = !key_columns(job, statement).is_empty();
        let lost = self.single.iter().find(|(name, values)| values.len() > 1 && !names.contains(name));
        match lost {
            Some((name, values)) if !has_column || job.value.is_array() => {
                let message = format!(
                    "the key `{}` is the same for all {} values of `:{name}`, so that each would overwrite the others; put `{{{name}}}` into the key, or bind the whole list (`= ANY(:{name})`)",
                    job.key,
                    values.len()
                );
                Err(Error::new(ErrorKind::Definition, message))
            }
            _ => Ok(()),
        }
    }

    /// The number of queries: each part of each combination.
    pub fn len(&self) -> usize {
        self.combinations() * self.parts()
    }

    /// The number of combinations.
    pub fn combinations(&self) -> usize {
        self.single.iter().map(|(_, values)| values.len()).product()
    }

    /// In how many parts each combination is read.
    pub fn parts(&self) -> usize {
        self.cuts.len() + 1
    }

    /// The first part of a combination, or all of it.
    pub fn first_part(&self, combination: usize) -> Combination<'_> {
        self.combination(combination * self.parts())
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The combination at `index`, or a part of it; parts change fastest, then the last parameter.
    pub fn combination(&self, index: usize) -> Combination<'_> {
        Combination { plan: self, index }
    }

    /// The whole list of an array parameter.
    pub fn list(&self, name: &str) -> Option<&[String]> {
        self.lists.iter().find(|(other, _)| other == name).map(|(_, values)| values.as_slice())
    }
}

impl<'p> Combination<'p> {
    /// The value of a parameter that takes one value.
    pub fn single(&self, name: &str) -> Option<&'p str> {
        let mut rest = self.index / self.plan.parts();
        for (other, values) in self.plan.single.iter().rev() {
            let value = values.get(rest.checked_rem(values.len())?)?;
            rest /= values.len();
            if other == name {
                return Some(value);
            }
        }
        None
    }

    /// What it is refreshed as.
    pub fn unit(&self, units: &Units) -> Unit {
        let pairs = self.plan.single.iter().filter_map(|(name, _)| Some([name.as_str(), self.single(name)?]));
        units.unit(&pairs.flatten().collect::<Vec<_>>())
    }

    /// The end of its range: nothing where it has none.
    fn end(&self, name: &str) -> Argument {
        let part = self.index % self.plan.parts();
        let cut = if name == FROM { part.checked_sub(1) } else { Some(part) };
        let cut = cut.and_then(|cut| self.plan.cuts.get(cut));
        cut.map_or(Argument::Nothing, |cut| Argument::Text(cut.clone()))
    }

    /// What is bound to a parameter of the query.
    pub fn argument(&self, name: &str) -> Option<Argument> {
        if name == NOW {
            return Some(Argument::Text(self.plan.now.clone()));
        }
        if [FROM, TO].contains(&name) {
            return Some(self.end(name));
        }
        let list = || self.plan.list(name).map(|values| Argument::List(values.to_vec()));
        self.single(name).map(|value| Argument::Text(value.to_owned())).or_else(list)
    }
}

async fn query_values(
    name: &str,
    sql: &Sql,
    (snapshot, reads): (&mut Snapshot, Reads),
    now: &str,
    limit: usize,
) -> Result<Vec<String>, Error> {
    let fail = |what: &str| Error::new(ErrorKind::Definition, format!("the query of [for_each] {name} {what}"));
    let statement = snapshot.prepare(sql).await?;
    let [column] = statement.columns() else {
        return Err(fail("must give one column"));
    };
    let text = KeyText::new(column).map_err(|error| fail(&format!("cannot be used: {error}")))?;
    let mut rows = snapshot.rows(&statement, reads, |name| (name == NOW).then(|| Argument::Text(now.to_owned())))?;
    let mut seen = std::collections::HashSet::new();
    let mut values = Vec::new();
    while let Some(row) = rows.next().await? {
        let bytes = row.value(0).ok_or_else(|| fail("gives a NULL; leave such rows out with WHERE … IS NOT NULL"))?;
        let mut value = Vec::new();
        text.append(bytes, &mut value)
            .map_err(|reason| fail(&format!("gives a value that cannot be read: {reason}")))?;
        let value = String::from_utf8(value).map_err(|_| fail("gives text that is not UTF-8"))?;
        if seen.insert(value.clone()) {
            values.push(value);
        }
        if values.len() > limit {
            return Err(fail(&format!(
                "gives more than {limit} values; narrow it, or raise `combinations` in [limits]"
            )));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_the_product_and_lists_stay_whole() {
        let values = |list: &[&str]| list.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let plan = Plan {
            now: "2026-11-24T12:00:00.000Z".to_owned(),
            single: vec![
                ("state".to_owned(), values(&["Lagos", "Kano"])),
                ("page".to_owned(), values(&["1", "2", "3"])),
            ],
            lists: vec![("types".to_owned(), values(&["music", "food"]))],
            cuts: Vec::new(),
        };
        assert_eq!(plan.len(), 6);
        let pairs: Vec<_> =
            (0..6).map(|i| (plan.combination(i).single("state"), plan.combination(i).single("page"))).collect();
        assert_eq!(pairs[0], (Some("Lagos"), Some("1")));
        assert_eq!(pairs[4], (Some("Kano"), Some("2")));
        assert_eq!(plan.combination(5).argument("types"), Some(Argument::List(values(&["music", "food"]))));
        assert_eq!(plan.combination(5).argument("other"), None);
        let plan = Plan { cuts: values(&["5", "7"]), ..plan };
        assert_eq!((plan.len(), plan.combinations()), (18, 6));
        let of = |index: usize| [FROM, TO].map(|name| plan.combination(index).argument(name));
        let text = |text: &str| Some(Argument::Text(text.to_owned()));
        assert_eq!(of(3), [Some(Argument::Nothing), text("5")]);
        assert_eq!(of(4), [text("5"), text("7")]);
        assert_eq!(of(5), [text("7"), Some(Argument::Nothing)]);
        assert_eq!(plan.combination(5).single("page"), Some("2"));
        assert_eq!(plan.combination(17).single("state"), plan.first_part(5).single("state"));
    }
}
