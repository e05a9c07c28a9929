//! Which of the models that come with trm answers what was given.

use crate::checkpoint::Shipped;
use crate::data::pasted::kind_of;
use crate::text::counted;
use crate::{Error, Result};

use super::super::stop::Stop;
use super::source::Source;

/// Sources that follow each other and have the same model.
pub type Part = (&'static Shipped, Vec<Source>);

/// The sources, each with the model for its kind and size of puzzles; and why there is none for some.
pub fn parts(sources: impl Iterator<Item = Source>, stop: &Stop) -> Result<(Vec<Part>, Vec<Error>)> {
    let (mut parts, mut refused): (Vec<Part>, Vec<Error>) = (Vec::new(), Vec::new());
    for source in sources {
        let (name, text) = match source.whole(stop)? {
            Source::Text { name, text } => (name, text),
            Source::Unreadable(error) => {
                refused.push(error);
                continue;
            }
            Source::Input => continue,
        };
        match fitting(&name, &text) {
            Ok(shipped) => {
                let source = Source::Text { name, text };
                match parts.last_mut().filter(|(last, _)| last.name == shipped.name) {
                    Some((_, sources)) => sources.push(source),
                    None => parts.push((shipped, vec![source])),
                }
            }
            Err(error) => refused.push(error),
        }
    }
    Ok((parts, refused))
}

fn fitting(name: &str, text: &str) -> Result<&'static Shipped> {
    let Some(kind) = kind_of(text) else {
        let problem =
            format!("{}, neither a Sudoku of 16, 36 or 81 cells nor a maze with S and G", held(text));
        let fix = "correct it, with . for blanks, or name the model that answers it: --run, --weights";
        return Err(Error::usage(name, problem, fix));
    };
    Shipped::of(kind).ok_or_else(|| {
        let known: Vec<String> = Shipped::all().iter().map(|shipped| shipped.kind.to_string()).collect();
        let problem = format!("no model for {kind} comes with trm, but for {}", known.join(", "));
        Error::usage(name, problem, "train a model of that size, and name it: --run, --weights")
    })
}

/// What a text holds that is no puzzle.
fn held(text: &str) -> String {
    match text.trim_start().chars().next() {
        None => "nothing".to_owned(),
        Some('{') => "a JSON object, as tasks of ARC are".to_owned(),
        Some(_) if text.contains('S') && text.contains('G') && text.lines().count() > 1 => {
            "an S and a G in rows that are not of \"# SGo.\", as those of mazes are".to_owned()
        }
        Some(_) => counted(text.chars().filter(|one| !one.is_whitespace()).count(), "character"),
    }
}
