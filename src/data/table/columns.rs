//! What the columns of a table mean: by their names, else by what is in them.

use super::Kind;

/// What columns of puzzles, answers and ratings are called; the first of several is meant.
pub(in crate::data) const QUESTION: [&str; 15] = [
    "puzzle",
    "puzzles",
    "quiz",
    "quizzes",
    "question",
    "questions",
    "input",
    "inputs",
    "maze",
    "problem",
    "unsolved",
    "givens",
    "given",
    "clues",
    "clue",
];
pub(in crate::data) const ANSWER: [&str; 10] =
    ["solution", "solutions", "answer", "answers", "label", "labels", "solved", "output", "target", "path"];
const RATING: [&str; 4] = ["rating", "ratings", "difficulty", "level"];

/// Which column is what, from 0 on.
pub(super) struct Columns {
    /// Whether the first line has their names.
    pub header: bool,
    pub question: usize,
    pub answer: Option<usize>,
    pub rating: Option<usize>,
    /// What was taken for what, where it could have been meant otherwise.
    pub taken: Option<String>,
}

impl Columns {
    /// Looks at the first rows, at most two, of which one may be names.
    ///
    /// # Errors
    /// What was found where no column can be one of puzzles.
    pub fn of(rows: &[Vec<String>], kind: Kind) -> Result<Columns, String> {
        let first = rows.first().ok_or("is empty")?;
        let puzzles_of = |row: &Vec<String>| -> Vec<usize> {
            (0..row.len()).filter(|&column| (kind.fits)(&row[column])).collect()
        };
        let header = puzzles_of(first).is_empty() && first.iter().any(|cell| is_name(cell));
        // A first row of puzzles may be broken: then the second tells.
        let sample = rows[usize::from(header)..].iter().find(|row| !puzzles_of(row).is_empty());
        let puzzles = sample.map(puzzles_of).unwrap_or_default();
        let named = |names: &[&str]| -> Vec<usize> {
            let has = |name: &str| (0..first.len()).filter(|&column| plain(&first[column]) == name).collect();
            names.iter().filter(|_| header).flat_map(|name| -> Vec<usize> { has(name) }).collect()
        };
        // By name and content, by name alone, by content alone.
        let choose = |names: &[&str], content: Option<usize>| {
            let columns = named(names);
            let both = columns.iter().find(|column| puzzles.contains(column));
            both.or(columns.first()).copied().or(content)
        };
        let solved = |column: usize| sample.is_some_and(|row| (kind.solved)(&row[column]));
        let free =
            |taken: &[usize]| puzzles.iter().copied().filter(|column| !taken.contains(column)).collect();
        let unnamed: Vec<usize> = free(&named(&ANSWER));
        let content = unnamed.iter().copied().find(|&column| !solved(column)).or(unnamed.first().copied());
        let question = choose(&QUESTION, content).ok_or_else(|| {
            let names: String = first.join(",").chars().take(80).collect();
            format!("line 1: no column of puzzles in \"{names}\"")
        })?;
        let rest: Vec<usize> = free(&[&named(&QUESTION)[..], &[question]].concat());
        let answer = choose(&ANSWER, rest.first().copied());
        let last = answer.unwrap_or(question).max(question);
        let numbers =
            |row: &Vec<String>| (last + 1..row.len()).find(|&column| number(&row[column]).is_some());
        let rating = match header {
            true => named(&RATING).first().copied(),
            false => sample.and_then(numbers),
        };
        let mut columns = Columns { header, question, answer, rating, taken: None };
        let sure = header
            && [(&QUESTION[..], Some(question)), (&ANSWER, answer)].into_iter().all(|(names, column)| {
                let named = named(names);
                named.len() <= 1 && named.first().copied() == column
            });
        columns.taken = (!sure && first.len() > 1).then(|| columns.told(first));
        Ok(columns)
    }

    fn told(&self, names: &[String]) -> String {
        let place = |column: usize| match self.header {
            true => format!("column \"{}\"", names[column]),
            false => format!("column {}", column + 1),
        };
        let part = |column: Option<usize>, what: &str| {
            column.map_or(String::new(), |column| format!(", {} for the {what}", place(column)))
        };
        let (answer, rating) = (part(self.answer, "answer"), part(self.rating, "rating"));
        format!("{} is taken for the puzzle{answer}{rating}", place(self.question))
    }
}

/// A name in its plain form.
fn plain(cell: &str) -> String {
    cell.trim().to_lowercase()
}

/// Words are names; the letters that puzzles are written with make none.
fn is_name(cell: &str) -> bool {
    cell.chars().any(|character| character.is_alphabetic() && !"SGoxX".contains(character))
}

/// A number as spreadsheets of any country write it.
pub(super) fn number(cell: &str) -> Option<f64> {
    cell.trim().replace(',', ".").parse().ok().filter(|number: &f64| number.is_finite())
}
