//! What an answer to a maze is worth.

use super::{GOAL, OPEN, PATH, START, WALL, distances};

/// What the marked cells of an answer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A path that no other is shorter than, of so many moves.
    Shortest(usize),
    /// A path, but a longer one: its moves and those of a shortest one.
    Valid(usize, usize),
    /// No path, and why.
    Broken(String),
}

impl Verdict {
    /// Judges `answer` to `question`, (rows * cols) tokens each, of which the question has a start and a goal.
    pub fn of(cols: usize, question: &[i32], answer: &[i32]) -> Verdict {
        let token = |tokens: &[i32], token: u8| tokens.iter().position(|found| *found == i32::from(token));
        let (Some(start), Some(goal)) = (token(question, START), token(question, GOAL)) else {
            return Verdict::Broken("the question has no start and goal".to_owned());
        };
        let place = |at: usize| format!("row {}, column {}", at / cols + 1, at % cols + 1);
        let marked = |pair: (&i32, &i32)| pair.0 == pair.1 || pair == (&i32::from(OPEN), &i32::from(PATH));
        if let Some(at) = question.iter().zip(answer).position(|pair| !marked(pair)) {
            return Verdict::Broken(format!("the answer changes the maze at {}", place(at)));
        }
        let moves = |walls: &[u8], tokens: &[i32]| {
            let wall = |token: &i32| walls.iter().any(|&wall| i32::from(wall) == *token);
            let tokens: Vec<u8> = tokens.iter().map(|token| if wall(token) { WALL } else { OPEN }).collect();
            distances(tokens.len() / cols, cols, &tokens, start).moves[goal]
        };
        let marks = answer.iter().filter(|&&token| token == i32::from(PATH)).count();
        match (moves(&[WALL, OPEN], answer), moves(&[WALL], question)) {
            (_, None) => Verdict::Broken("no way leads from S to G".to_owned()),
            (None, _) => Verdict::Broken(format!("the {marks} marked cells do not lead from S to G")),
            (Some(moves), _) if marks + 1 > moves => {
                let (marks, beside) = (marks, marks + 1 - moves);
                Verdict::Broken(format!(
                    "{beside} of the {marks} marked cells lie beside the way from S to G"
                ))
            }
            (Some(moves), Some(shortest)) if moves > shortest => Verdict::Valid(moves, shortest),
            (Some(moves), _) => Verdict::Shortest(moves),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CHARACTERS;
    use super::*;

    #[test]
    fn tells_shortest_valid_and_broken_paths_apart() {
        let tokens = |text: &str| -> Vec<i32> {
            let token = |byte: u8| CHARACTERS.iter().position(|known| *known == byte).unwrap() as i32 + 1;
            text.bytes().map(token).collect()
        };
        let judge = |answer: &str| Verdict::of(4, &tokens("S      #   G"), &tokens(answer));
        assert_eq!(judge("S   o  #oooG"), Verdict::Shortest(5));
        assert_eq!(
            judge("S   o  ooooG"),
            Verdict::Broken("the answer changes the maze at row 2, column 4".into())
        );
        let judge = |answer: &str| Verdict::of(4, &tokens("S    #  G   "), &tokens(answer));
        assert_eq!(judge("S   o#  G   "), Verdict::Shortest(2));
        assert_eq!(judge("Soo  #o Goo "), Verdict::Valid(6, 2));
        let beside = "1 of the 2 marked cells lie beside the way from S to G";
        assert_eq!(judge("S  oo#  G   "), Verdict::Broken(beside.into()));
        let torn = "the 1 marked cells do not lead from S to G";
        assert_eq!(judge("So   #  G   "), Verdict::Broken(torn.into()));
    }
}
