//! Own tasks: rows of words become data sets.

use std::fs;

use libtest_mimic::Trial;
use trm::data::inspect::inspect;
use trm::data::own::{self, Options, Summary, Words};
use trm::data::{Dataset, IGNORE_LABEL, Split};

use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 3] = [
        ("rows_become_data_sets", rows_become_data_sets),
        ("vocabularies_are_read_as_typed", vocabularies_are_read_as_typed),
        ("broken_rows_are_named", broken_rows_are_named),
    ];
    trials("own_data", &tests)
}

/// Inputs, labels and identifier of a row.
type Read = (Vec<i32>, Vec<i32>, i32);

fn build(train: &str, test: &str, vocab: Option<&str>) -> trm::Result<(Summary, Vec<Read>)> {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("train"), train).unwrap();
    fs::write(path("test"), test).unwrap();
    let vocab = vocab.map(Words::parse).transpose()?;
    let options =
        Options { out: path("out"), train: path("train"), test: path("test"), vocab, seq_len: None };
    let summary = own::build(&options)?;
    assert_eq!(inspect(&options.out).unwrap().violations, []);
    assert_eq!(Words::load(&options.out).unwrap().unwrap().words(), summary.words);
    let train = Dataset::open(&options.out, Split::Train).unwrap();
    train.check_tokens().unwrap();
    let set = &train.sets()[0];
    let mut rows = Vec::new();
    for puzzle in 0..set.puzzles() {
        for example in set.examples_of(puzzle) {
            let (mut inputs, mut labels) = (vec![0; summary.seq_len], vec![0; summary.seq_len]);
            train.read_example(set, example, &mut inputs, &mut labels).unwrap();
            rows.push((inputs, labels, set.identifier_of(puzzle)));
        }
    }
    Ok((summary, rows))
}

fn rows_become_data_sets() {
    let ignored = IGNORE_LABEL;
    let expected = vec![(vec![3, 1, 0], vec![1, 3, ignored], 0), (vec![2, 2, 1], vec![1, ignored, 2], 0)];
    let forms = [
        "inputs,labels\n3 1,1 3\n221,1 _ 2\n",
        "label;input\n1 3;3 1\n1 _ 2;2 2 1\n",
        "# no names\n31,13\n221,1_2\n",
        "{\"inputs\": [3, 1], \"labels\": [1, 3]}\n\n{\"inputs\": \"2 2 1\", \"labels\": [\"1\", null, 2]}\n",
        "\u{feff}{\"input\": [[3], [1]], \"output\": \"13\"}\r\n{\"input\": [2, 2, 1], \"output\": [1, null, 2]}\r\n",
    ];
    for form in forms {
        let (summary, rows) = build(form, "inputs,labels\n3,3\n", Some("1..3")).unwrap();
        assert_eq!(rows, expected, "{form}");
        assert_eq!(
            (summary.seq_len, summary.vocab_size, summary.num_puzzle_identifiers),
            (3, 4, 1),
            "{form}"
        );
    }
    // As many words as a maze has, and yet none.
    build("11345,54311\n", "2,2\n", Some("1..5")).unwrap();
    // Ids gather rows; words without a vocabulary are those of the training rows.
    let train = "inputs,labels,puzzle\nred 10,10 9,b\nred 9,9 9,a\n10 10,9 9,b\n";
    let (summary, rows) = build(train, "inputs,labels,puzzle\n9 9,9 9,c\nred 10,9 9,b\n", None).unwrap();
    assert_eq!(summary.words, ["9", "10", "red"]);
    let expected =
        vec![(vec![3, 2], vec![2, 1], 1), (vec![2, 2], vec![1, 1], 1), (vec![3, 1], vec![1, 1], 2)];
    assert_eq!(rows, expected);
    assert_eq!((summary.train.puzzles, summary.num_puzzle_identifiers), (2, 4));
    assert_eq!(summary.test.also_in_train, 1);
    assert_eq!(build("21,12\n", "21,12\n", None).unwrap().0.words, ["1", "2"]);
    let notes = summary.notes.join("\n");
    for part in
        ["test: 1 puzzle ids are not in the training rows", "test: line 3 has the puzzle of line 2 of the"]
    {
        assert!(notes.contains(part), "{notes}");
    }
}

fn vocabularies_are_read_as_typed() {
    let words = |text: &str| Words::parse(text).unwrap().words().join(" ");
    assert_eq!(words("0..3,+,="), "0 1 2 3 + =");
    assert_eq!(words("abc"), "a b c");
    assert_eq!(words("red, green"), "red green");
    let dir = folder();
    let path = dir.path().join("words");
    fs::write(&path, "red\n\nblue sky\n").unwrap();
    assert_eq!(Words::parse(&path.display().to_string()).unwrap().words(), ["red", "blue sky"]);
    refused(Words::parse(","), &["vocab: has no words"]);
    refused(Words::parse("a,b,a"), &["vocab: has \"a\" twice"]);
    refused(Words::parse("0..9223372036854775807"), &["vocab: has more than 255 words"]);
    let shown = Words::parse("0..9").unwrap().text(&[2, 0, 10, -7, 0]);
    assert_eq!(shown, "1 _ 9");
}

fn broken_rows_are_named() {
    let good = "inputs,labels\n1 2,2 1\n";
    let cases: [(&str, &[&str]); 7] = [
        ("", &["train: no rows", "JSONL"]),
        ("inputs,labels\n", &["train: no rows"]),
        ("inputs,labels\n1 2,2 1\n1 4,4 1\n", &["train: line 3: \"4\" is none of the 2 words"]),
        ("inputs,labels\n1 2,\n", &["train: line 2: has no labels"]),
        ("{\"inputs\": [1]}\n", &["train: line 1: missing field `labels`"]),
        ("{\"inputs\": [1], \"labels\": {}}\n", &["train: line 1: "]),
        ("inputs,labels\n1\n", &["train: "]),
    ];
    for (train, parts) in cases {
        refused(build(train, good, Some("1,2")), parts);
    }
    refused(build(good, "inputs,labels\n3,3\n", None), &["test: line 2: \"3\" is none of the 2 words"]);
}
