//! What tells two recipes apart.

use toml::Table;

use super::keys::leaves;
use super::{Recipe, parse};
use crate::Result;

impl Recipe {
    /// What `other` changes, key by key: `train.lr is 0.001, no more 0.01`.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`] for a number that TOML cannot hold.
    pub fn changes(&self, other: &Recipe) -> Result<Vec<String>> {
        let table = |recipe: &Recipe| -> Result<Table> { parse("recipe", &recipe.to_toml()?) };
        let (own, other) = (leaves(&table(self)?), leaves(&table(other)?));
        let changed = other.iter().filter_map(|(key, value)| {
            let before = own.get(key).filter(|before| *before != value)?;
            Some(format!("{key} is {value}, no more {before}"))
        });
        Ok(changed.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named() {
        let recipe = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            Recipe::load("tiny-sudoku4", &sets).unwrap()
        };
        let changes =
            recipe(&[]).changes(&recipe(&["train.lr=0.5", "train.on_divergence=back-off"])).unwrap();
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes[0].starts_with("train.lr is 0.5, no more "), "{changes:?}");
        assert_eq!(changes[1], "train.on_divergence is \"back-off\", no more \"stop\"");
        assert!(recipe(&[]).changes(&recipe(&[])).unwrap().is_empty());
    }
}
