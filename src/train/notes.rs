//! What was found out about a checkpoint after it was written, in `step-000000123.json` beside it.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::METRICS_FILE;
use crate::model::Metrics;
use crate::{Error, Result, files};

/// What is known of a checkpoint beside itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Of its weights, on the test split: share of samples that are right in every cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_accuracy: Option<f64>,
    /// Of its weights, on the test split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Of how many examples of the test split; unknown in notes from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Whether samples stopped then when their halt head said so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub halt: bool,
    /// What happened when training went on from it, where no finite loss has followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
    /// How many times the learning rates are halved for going on from it, where that is not what it was saved with:
    /// training diverged later and went back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_halvings: Option<u32>,
    /// A learning rate was given since: halvings that it was saved with do not count any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lr_given: bool,
    /// The run went on without it: the last step in whose metrics it had a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<u64>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What is read of a line of the metrics.
#[derive(Deserialize)]
struct Logged {
    split: String,
    step: u64,
    exact_accuracy: Option<f64>,
    loss: Option<f64>,
    examples: Option<usize>,
    lr_halvings: Option<u32>,
}

impl Note {
    /// That of the `checkpoint` of `step` in the folder `run`. For one that is damaged, what the metrics of the run say, and
    /// what is wrong with it.
    pub(super) fn read(run: &Path, checkpoint: &Path, step: u64) -> (Note, Option<String>) {
        let path = checkpoint.with_extension("json");
        let problem = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return (Note::default(), None),
            Err(error) => error.to_string(),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(note) => return (note, None),
                Err(error) => format!("is damaged: {error}"),
            },
        };
        let note = Note::logged(run, step);
        let instead = match note.exact_accuracy {
            Some(_) => "its evaluation is taken from metrics.jsonl",
            None => "metrics.jsonl has no evaluation of it",
        };
        (note, Some(format!("{}: {problem}; {instead}", path.display())))
    }

    /// What the metrics of the run tell, too.
    fn logged(run: &Path, step: u64) -> Note {
        let bytes = std::fs::read(run.join(METRICS_FILE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Logged>(line).ok());
        let of_step = lines.filter(|line| line.step == step);
        of_step.fold(Note::default(), |note, line| match line.split.as_str() {
            "test" => {
                let Logged { exact_accuracy, loss, examples, .. } = line;
                Note { exact_accuracy, loss, examples, ..note }
            }
            "back-off" => Note { lr_halvings: line.lr_halvings, ..note },
            _ => note,
        })
    }

    /// The same with an evaluation of so many `examples`, with or without halting.
    pub(super) fn evaluated(self, (examples, halt): (usize, bool), metrics: &Metrics) -> Note {
        let (exact_accuracy, loss) = (Some(metrics.exact_accuracy), Some(metrics.loss()));
        Note { exact_accuracy, loss, examples: Some(examples), halt, ..self }
    }

    /// How many times the learning rates were halved when it was saved, as far as that still counts; `saved` as its file
    /// says.
    pub(super) fn own_halvings(&self, saved: u32) -> u32 {
        if self.lr_given { 0 } else { saved }
    }

    /// Writes it down beside `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn keep(&self, checkpoint: &Path) -> Result<()> {
        let json = serde_json::to_string(self).map_err(|error| Error::io(checkpoint)(error.into()))?;
        files::write_atomic(&checkpoint.with_extension("json"), json.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_note_is_made_up_for_from_the_metrics() {
        let run = tempfile::tempdir().unwrap();
        let checkpoint = run.path().join("step-000000012.safetensors");
        let read = || Note::read(run.path(), &checkpoint, 12);
        assert_eq!(read(), (Note::default(), None));
        std::fs::write(checkpoint.with_extension("json"), "\0garbage").unwrap();
        let (note, fault) = read();
        assert_eq!(note, Note::default());
        assert!(fault.unwrap().ends_with("metrics.jsonl has no evaluation of it"));
        let lines = [
            r#"{"split":"test","step":6,"exact_accuracy":0.5,"loss":2.0}"#,
            r#"{"split":"test","step":12,"exact_accuracy":0.25,"loss":1.5,"examples":7}"#,
            r#"{"split":"back-off","step":12,"lr_halvings":2}"#,
            "torn",
        ];
        std::fs::write(run.path().join(METRICS_FILE), lines.join("\n")).unwrap();
        let (note, fault) = read();
        let expected = Note {
            exact_accuracy: Some(0.25),
            loss: Some(1.5),
            examples: Some(7),
            lr_halvings: Some(2),
            ..Note::default()
        };
        assert_eq!(note, expected);
        assert!(fault.unwrap().contains("step-000000012.json: is damaged: "));
        note.keep(&checkpoint).unwrap();
        assert_eq!(read(), (expected, None));
    }
}
