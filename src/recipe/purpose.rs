//! Which puzzles the recipes that come with trm were made for.

use super::Recipe;
use crate::data::inspect::Kind;

impl Recipe {
    /// The puzzles that the built-in recipe of this name was made for; none for another name.
    pub fn made_for(name: &str) -> Option<Kind> {
        match name {
            "tiny-sudoku4" => Some(Kind::Sudoku { size: 4 }),
            "tiny-sudoku6" => Some(Kind::Sudoku { size: 6 }),
            "tiny-sudoku9" | "sudoku-fast" | "sudoku-mlp" | "sudoku-att" => Some(Kind::Sudoku { size: 9 }),
            "tiny-maze" => Some(Kind::Maze { rows: 5, cols: 5 }),
            "maze-hard" => Some(Kind::Maze { rows: 30, cols: 30 }),
            "arc1" | "arc2" => Some(Kind::Arc),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_built_in_recipes_have_a_purpose() {
        let without: Vec<&str> = Recipe::names().filter(|name| Recipe::made_for(name).is_none()).collect();
        assert_eq!((without, Recipe::made_for("runs/first/recipe.toml")), (vec![], None));
    }
}
