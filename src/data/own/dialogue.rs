//! Questions about an own task in its words, and what of an answer was asked for.

use std::sync::Arc;

use super::read::Cell;
use super::vocabulary::Words;
use crate::Result;
use crate::data::{Batch, Dataset, IGNORE_LABEL, TestBatches};
use crate::text::counted;

/// The words of a task, and how long its answers are.
#[derive(Clone, Debug)]
pub struct Dialogue {
    words: Words,
    /// By how many words a question has: up to which position samples have labels; 0 where there is no such sample.
    answered: Vec<usize>,
}

impl Dialogue {
    /// As the samples of a data set show it.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a data set that cannot be read.
    pub fn of(words: Words, dataset: &Arc<Dataset>) -> Result<Dialogue> {
        let seq_len = dataset.metadata().seq_len;
        let mut answered = vec![0; seq_len + 1];
        let (mut one, mut samples) = (Batch::new(1, seq_len), TestBatches::new(dataset.clone(), 1));
        while samples.next_batch(&mut one)? > 0 {
            let end = end(&one.labels, IGNORE_LABEL);
            let longest = &mut answered[self::end(&one.inputs, 0)];
            *longest = end.max(*longest);
        }
        Ok(Dialogue { words, answered })
    }

    /// The words.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// S, words of a question at the most.
    pub fn seq_len(&self) -> usize {
        self.answered.len() - 1
    }

    /// (S) tokens of a question.
    ///
    /// # Errors
    /// Which word is unknown, or how many there are too many.
    pub fn question(&self, text: &str) -> std::result::Result<Vec<i32>, String> {
        self.tokens(Cell::Text(text.to_owned()))
    }

    pub(super) fn tokens(&self, cell: Cell) -> std::result::Result<Vec<i32>, String> {
        let (mut tokens, most) = (self.words.tokens_of(cell)?, self.seq_len());
        if tokens.len() > most {
            return Err(format!("{} words, the model takes at most {most}", tokens.len()));
        }
        tokens.resize(most, 0);
        self.check(&tokens)?;
        Ok(tokens)
    }

    /// Refuses (S) tokens that are no question: padding stands behind the last word alone, and there is one.
    pub fn check(&self, question: &[i32]) -> std::result::Result<(), String> {
        let words = &question[..end(question, 0)];
        match words.iter().position(|token| *token == 0) {
            _ if words.is_empty() => Err("holds no word".to_owned()),
            Some(at) => Err(format!("token {} is 0, which is padding, and words follow", at + 1)),
            None => Ok(()),
        }
    }

    /// Why the answer to a question of (S) tokens may be worth nothing: no sample has as many words.
    pub fn unseen(&self, question: &[i32]) -> Option<String> {
        let words = end(question, 0);
        (self.answered.get(words) == Some(&0))
            .then(|| format!("no test sample has {}", counted(words, "word")))
    }

    /// Makes padding of those (S) tokens of an answer that nobody asked for: beyond the labels of samples whose questions have
    /// as many words as the one of (S) tokens.
    pub fn shorten(&self, question: &[i32], answer: &mut [i32]) {
        let known = self.answered.get(end(question, 0)).copied().unwrap_or(0);
        if known > 0 {
            answer.iter_mut().skip(known).for_each(|token| *token = 0);
        }
    }
}

/// Positions up to the last that is not `nothing`.
fn end(tokens: &[i32], nothing: i32) -> usize {
    tokens.iter().rposition(|token| *token != nothing).map_or(0, |last| last + 1)
}
