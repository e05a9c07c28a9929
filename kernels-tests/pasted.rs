//! Puzzles in text, whichever way people lay them out.

use libtest_mimic::Trial;
use trm::data::inspect::Kind;
use trm::data::pasted::{Puzzle, Reader, kind_of};
use trm::data::sudoku::Grid;

use crate::data::trials;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 13] = [
        ("the_column_with_blanks_is_the_puzzle", the_column_with_blanks_is_the_puzzle),
        ("words_between_puzzles_are_passed_over", words_between_puzzles_are_passed_over),
        ("sudokus_are_read_in_any_layout", sudokus_are_read_in_any_layout),
        ("a_wrong_answer_beside_a_sudoku_is_named", a_wrong_answer_beside_a_sudoku_is_named),
        ("a_bad_sudoku_spoils_no_other", a_bad_sudoku_spoils_no_other),
        ("mazes_are_read_as_they_are_drawn", mazes_are_read_as_they_are_drawn),
        ("a_bad_maze_spoils_no_other", a_bad_maze_spoils_no_other),
        ("spaces_are_blanks_without_a_frame", spaces_are_blanks_without_a_frame),
        ("empty_lines_of_tables_part_puzzles", empty_lines_of_tables_part_puzzles),
        ("what_stands_above_a_markdown_rule_is_a_header", what_stands_above_a_markdown_rule_is_a_header),
        ("numbers_and_names_stand_beside_puzzles", numbers_and_names_stand_beside_puzzles),
        ("json_holds_puzzles", json_holds_puzzles),
        ("small_mazes_and_sudokus_are_told_apart", small_mazes_and_sudokus_are_told_apart),
    ];
    trials("pasted", &tests)
}

/// Line and text of a puzzle, or what is wrong with it.
type Read = (usize, Result<String, String>);

fn read((seq_len, vocab_size): (usize, usize), text: &str) -> Vec<Read> {
    let mut reader = Reader::of_sizes(seq_len, vocab_size).unwrap();
    let mut found: Vec<_> =
        (1..).zip(text.split('\n')).flat_map(|(at, line)| reader.line(at, line)).collect();
    found.extend(reader.end());
    let text = |puzzle: Puzzle| puzzle.text(&puzzle.tokens());
    found.into_iter().map(|found| (found.line, found.puzzle.map(text))).collect()
}

const NINE: (usize, usize) = (81, 11);
const Q: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const A: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

fn sudokus_are_read_in_any_layout() {
    let rows: Vec<&str> = (0..9).map(|row| &Q[9 * row..9 * row + 9]).collect();
    let drawn = Grid::parse(Q).unwrap().draw();
    let bands: Vec<String> = rows.chunks(3).map(|band| band.join("\n")).collect();
    let spaced = |row: &&str| row.chars().map(String::from).collect::<Vec<_>>().join(" ");
    let boxed = |row: &&str| format!("| {} |", row.chars().map(String::from).collect::<Vec<_>>().join(" "));
    let boxed: Vec<String> = rows.iter().map(boxed).collect();
    // As trm prints an answer: what has changed beside it.
    let marked = |row: &str| format!("{row}    {}", row.replace(|sign: char| sign.is_ascii_digit(), "*"));
    let marked = drawn.lines().map(marked).collect::<Vec<_>>().join("\n");
    let rule = "+-------------------+";
    let forms = [
        Q.to_owned(),
        Q.replace('.', "0") + "\r",
        format!("\u{feff}{Q}"),
        rows.join("\n"),
        rows.join("\n").replace('.', "_"),
        rows.join("\n").replace('.', "-"),
        rows.join("\n").replace('.', "*"),
        rows.join("\n").replace('.', "x"),
        rows.join("\n").replace('.', "X"),
        rows.join(" "),
        rows.iter().map(spaced).collect::<Vec<_>>().join("\n\n"),
        drawn.clone(),
        marked,
        format!("puzzle, 30 clues\n{drawn}"),
        drawn.replace('-', "\u{2500}").replace('|', "\u{2502}").replace('+', "\u{253c}"),
        bands.join("\n\n"),
        bands.join("\n---------------------\n"),
        bands.join("\n---------\n"),
        format!("{rule}\n{}\n{rule}", boxed.join("\n")),
        rows.iter().map(spaced).collect::<Vec<_>>().join("\n").replace(' ', ",").replace('.', "0"),
        rows.iter().map(spaced).collect::<Vec<_>>().join("\n").replace(' ', ";").replace('.', "x"),
        format!("[[{}]]", rows.join("],\n[").replace('.', "0,")),
        format!("Grid 01\n{}\n", rows.join("\n")),
        format!("{Q}  # the first of many"),
        format!("quizzes,solutions\n{},{A}", Q.replace('.', "0")),
        format!("source;question;answer;rating\nme;\"{Q}\";\"{A}\";1.5"),
        format!("{}\n{}\n{}", &Q[..27], &Q[27..54], &Q[54..]),
    ];
    for form in forms.into_iter().chain(with_empty_cells()) {
        let found = read(NINE, &form);
        assert!(matches!(&found[..], [(_, Ok(text))] if text == Q), "{form}\n{found:?}");
    }
    // A row without clues where dashes are blanks.
    let sparse = format!("{}{}{}", &Q[..27], ".........", &Q[36..]);
    let rows: Vec<&str> = (0..9).map(|row| &sparse[9 * row..9 * row + 9]).collect();
    let found = read(NINE, &rows.join("\n").replace('.', "-"));
    assert!(matches!(&found[..], [(1, Ok(text))] if *text == sparse), "{found:?}");
}

/// Nothing is written in blank cells: spreadsheets, tables of Markdown, grids drawn with lines.
fn with_empty_cells() -> Vec<String> {
    let rows: Vec<Vec<&str>> =
        (0..9).map(|row| (0..9).map(|col| &Q[9 * row + col..9 * row + col + 1]).collect()).collect();
    let cells = |blank: &str, between: &str| -> Vec<String> {
        let cell = |cell: &&str| if *cell == "." { blank.to_owned() } else { (*cell).to_owned() };
        rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(between)).collect()
    };
    let bands = |between: &str, bar: &str| -> Vec<String> {
        let of = |row: &Vec<&str>| {
            let bands = row.chunks(3).map(|band| band.join(between).replace('.', " "));
            bands.collect::<Vec<_>>().join(bar)
        };
        rows.iter().map(of).collect()
    };
    let framed = |rows: Vec<String>, before: &str, after: &str| {
        rows.into_iter().map(|row| format!("{before}{row}{after}")).collect::<Vec<_>>()
    };
    let trimmed = |rows: Vec<String>| rows.iter().map(|row| row.trim_end().to_owned()).collect::<Vec<_>>();
    let mut table = framed(cells(" ", " | "), "| ", " |");
    table.insert(1, format!("|{}", ":-:|".repeat(9)));
    let thick = |row: String| {
        let cells: Vec<&str> = row.split('|').collect();
        cells.chunks(3).map(|band| band.join("\u{2502}")).collect::<Vec<_>>().join("\u{2551}")
    };
    let boxes = framed(cells("   ", "|").into_iter().map(thick).collect(), "\u{2551}", "\u{2551}");
    let rule = format!("\n\u{255f}{}\u{2562}\n", "\u{2500}".repeat(17));
    vec![
        cells("", ",").join("\n"),
        cells("", ";").join("\r\n"),
        cells("", "\t").join("\n"),
        cells("", "\",\"").iter().map(|row| format!("\"{row}\"")).collect::<Vec<_>>().join("\n"),
        cells("", ",").join(","),
        cells("", "|").join("\n"),
        table.join("\n"),
        boxes.join(&rule),
        bands("", "|").join("\n"),
        trimmed(bands("", "|")).join("\n"),
        framed(bands("", "|"), "|", "|").join("\n"),
        trimmed(bands(" ", " | ")).join("\n"),
        framed(bands(" ", " | "), "| ", " |").join("\n"),
        framed(bands(" ", "|"), "|", "|").join("\n"),
        format!("\"puzzle\",\"solution\"\n\"{Q}\",\"{A}\"\n"),
    ]
}

/// The rows of a puzzle whose blanks are spaces, `between` the cells of each.
fn spaced(puzzle: &str, between: &str) -> Vec<String> {
    let size = puzzle.len().isqrt();
    let row = |row: usize| {
        let cells = puzzle[size * row..size * (row + 1)].replace('.', " ");
        cells.chars().map(String::from).collect::<Vec<_>>().join(between)
    };
    (0..size).map(row).collect()
}

fn spaces_are_blanks_without_a_frame() {
    // The fifth row has no clue.
    let sparse = format!("{}.........{}", &Q[..36], &Q[45..]);
    for puzzle in [Q, &sparse] {
        for between in ["", " "] {
            let rows = spaced(puzzle, between);
            let trimmed: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
            let bands: Vec<String> = rows.chunks(3).map(|band| band.join("\n")).collect();
            for text in [rows.join("\n"), trimmed.join("\n"), bands.join("\n\n")] {
                // Twice, and with others around it.
                let lines = text.lines().count();
                let text = format!("{Q}\nEasy\n{text}\n\n{text}\n\n{Q}");
                let ok = |line: usize, puzzle: &str| (line, Ok(puzzle.to_owned()));
                let last = ok(5 + 2 * lines, Q);
                let expected = [ok(1, Q), ok(3, puzzle), ok(4 + lines, puzzle), last];
                assert_eq!(read(NINE, &text), expected, "{text}");
            }
        }
    }
    let small = "1..2 .... .3.. 2..1".replace(' ', "");
    assert_eq!(read((16, 6), &spaced(&small, "").join("\n")), [(1, Ok(small))]);
    // Rows that are short by a cell are no grid of this kind, and neither is one row too few.
    let rows = spaced(Q, "");
    for text in [rows[1..].join("\n"), rows.join("\n").replace("53  7", "53  77777 7")] {
        assert!(read(NINE, &text).iter().all(|(_, puzzle)| puzzle.is_err()), "{text}");
    }
}

fn empty_lines_of_tables_part_puzzles() {
    let blank_first = format!(".........{}", &Q[9..]);
    let table = |puzzle: &str, separator: &str| {
        let rows = spaced(puzzle, separator).into_iter().map(|row| row.replace(' ', "") + "\n");
        rows.collect::<String>()
    };
    for separator in [",", ";", "\t"] {
        let parting = separator.repeat(8) + "\n";
        let text = |puzzles: &[&str]| {
            puzzles.iter().map(|puzzle| table(puzzle, separator)).collect::<Vec<_>>().join(&parting)
        };
        let ok = |line: usize, puzzle: &str| (line, Ok(puzzle.to_owned()));
        let read = |text: &str| read(NINE, text);
        let both = [ok(1, Q), ok(11, Q)];
        assert_eq!(read(&text(&[Q, Q])), both);
        assert_eq!(read(&(text(&[Q, Q]) + &parting)), both);
        assert_eq!(read(&text(&[&blank_first, Q])), [ok(1, &blank_first), ok(11, Q)]);
        assert_eq!(read(&text(&[Q, &blank_first, Q])), [ok(1, Q), ok(11, &blank_first), ok(21, Q)]);
        assert_eq!(read(&(parting.repeat(2) + &text(&[Q, Q]))), [ok(3, Q), ok(13, Q)]);
    }
}

fn what_stands_above_a_markdown_rule_is_a_header() {
    let line = |row: String| format!("| {} |", row.chars().map(String::from).collect::<Vec<_>>().join(" | "));
    let rows: Vec<String> = spaced(Q, "").into_iter().map(line).collect();
    let rule = "|---".repeat(9) + "|";
    let header = line("123456789".to_owned());
    let table = format!("{header}\n{rule}\n{}\n", rows.join("\n"));
    assert_eq!(read(NINE, &table), [(3, Ok(Q.to_owned()))]);
    let ok = |line: usize| (line, Ok(Q.to_owned()));
    assert_eq!(read(NINE, &format!("{table}\n{table}")), [ok(3), ok(15)]);
    // A rule after each row is none of a header.
    let drawn = rows.join(&format!("\n{rule}\n"));
    assert_eq!(read(NINE, &format!("{drawn}\n{rule}\n{drawn}")), [ok(1), ok(19)]);
}

fn numbers_and_names_stand_beside_puzzles() {
    let forms = ["1. ", "#1 ", "1) ", "#12: ", "Puzzle 1: ", "12 ", "Easy\t", "No. 3, easy, "];
    for before in forms {
        for after in ["", " # the first", " 1.5", " (easy)", &format!(" {A}")] {
            let text = format!("{before}{Q}{after}");
            assert_eq!(read(NINE, &text), [(1, Ok(Q.to_owned()))], "{text}");
        }
    }
    assert_eq!(read(NINE, &format!("# {Q}\n#{Q}")), []);
    for blank in "0_-*xX?\u{b7}\u{2022}\u{2219}\u{22c5}\u{25a1}".chars() {
        let puzzle = Q.replace('.', &blank.to_string());
        let rows: Vec<String> =
            spaced(Q, "").iter().map(|row| row.replace(' ', &blank.to_string())).collect();
        for text in [puzzle, rows.join("\n")] {
            assert_eq!(read(NINE, &text), [(1, Ok(Q.to_owned()))], "{text}");
        }
    }
}

fn json_holds_puzzles() {
    let nested = |blank: &str| {
        let cells =
            |row: String| row.chars().map(String::from).collect::<Vec<_>>().join(",").replace(' ', blank);
        let rows: Vec<String> = spaced(Q, "").into_iter().map(cells).collect();
        format!("[[{}]]", rows.join("],["))
    };
    let (zero, null) = (nested("0"), nested("null"));
    let one = [
        format!(r#"{{"puzzle": "{Q}", "solution": "{A}", "difficulty": 1.5}}"#),
        format!(r#"{{"id": 7, "Question": "{Q}"}}"#),
        format!(r#"{{"quiz": {zero}}}"#),
        format!(r#"{{"newboard": {{"grids": [{{"puzzle": {null}}}], "message": "All Ok"}}}}"#),
        format!(r#"["{Q}"]"#),
        zero.replace(['[', ']'], ""),
        zero.clone(),
        null.clone(),
        nested("\"\""),
        format!("[{}]", zero.replace(['[', ']'], "")),
    ];
    let all = |text: &str| -> Vec<Read> {
        let found = Reader::of_sizes(NINE.0, NINE.1).unwrap().all(text);
        let text = |puzzle: Puzzle| puzzle.text(&puzzle.tokens());
        found.into_iter().map(|found| (found.line, found.puzzle.map(text))).collect()
    };
    let ok = |line: usize| (line, Ok(Q.to_owned()));
    for text in &one {
        assert_eq!(read(NINE, text), [ok(1)], "{text}");
        assert_eq!(all(text), [ok(1)], "{text}");
        assert_eq!(all(&format!("{text}\n{text}\n")), [ok(1), ok(2)], "{text}");
    }
    assert_eq!(all(&format!("[\"{Q}\", \"{Q}\"]")), [ok(1), ok(1)]);
    assert_eq!(all(&format!("[\n  \"{Q}\",\n  \"{Q}\"\n]")), [ok(2), ok(3)]);
    assert_eq!(all(&format!("[{{\n\"puzzle\": {zero}}},\n{{\"puzzle\": {zero}}}]")).len(), 2);
    assert_eq!(kind_of(&format!("[{null}]")), Some(Kind::Sudoku { size: 9 }));
    // Grids of a task of ARC are no puzzles.
    assert_eq!(
        kind_of(r#"{"train": [{"input": [[1,0],[0,2]], "output": [[2,0],[0,1]]}], "test": []}"#),
        None
    );
    let note = |answer: &str| {
        let text = format!(r#"{{"puzzle": "{Q}", "solution": "{answer}"}}"#);
        Reader::of_sizes(NINE.0, NINE.1).unwrap().all(&text).remove(0).note
    };
    assert!(note(A).is_none() && note(&A.replacen("534", "535", 1)).is_some());
}

fn a_wrong_answer_beside_a_sudoku_is_named() {
    let notes = |answer: &str| {
        let mut reader = Reader::of_sizes(NINE.0, NINE.1).unwrap();
        let found = reader.line(1, &format!("{Q},{answer}"));
        assert!(found[0].puzzle.is_ok());
        found[0].note.clone()
    };
    assert_eq!(notes(A), None);
    let wrong = |what: &str| Some(format!("the answer that stands beside it is wrong: it {what}"));
    assert_eq!(notes(&A.replacen("534", "535", 1)), wrong("has two 5 in row 1"));
    assert_eq!(notes(&A[1..]), wrong("has 80 cells"));
}

fn the_column_with_blanks_is_the_puzzle() {
    for table in [format!("solution,puzzle\n{A},{Q}"), format!("{A};{Q}"), format!("{A}\t3\t{Q}\t1.5")] {
        let found = read(NINE, &table);
        assert!(matches!(&found[..], [(_, Ok(text))] if text == Q), "{table}\n{found:?}");
    }
    // Nobody wants its answer solved instead.
    let sized = |cells: usize| Err(format!("{cells} cells, the model solves puzzles of 81 (9x9)"));
    let table = format!("quizzes,solutions\n{},{A}\n{Q}x,{A}\n{Q},{A}\n", &Q[1..]);
    assert_eq!(read(NINE, &table), [(2, sized(80)), (3, sized(82)), (4, Ok(Q.to_owned()))]);
}

fn words_between_puzzles_are_passed_over() {
    let grid = "1...\n....\n....\n...4";
    let rows = "| 1 |   |   |   |\n|   |   |   |   |\n|   |   |   |   |\n|   |   |   | 4 |";
    let headings = ["Easy", "Easy 1:", "Monday", "No. 1", "1)", "// easy", "```", "board = [", "[code]"];
    for heading in headings {
        let found = read((16, 6), &format!("{heading}\n{grid}\n{heading}\n{grid}\n"));
        let texts: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, vec![Ok("1..............4".to_owned()); 2], "{heading}");
    }
    for header in ["|   |   |   |   |", "| A | B | C | D |"] {
        let table = format!("{header}\n|---|:-:|---|---|\n{rows}\n");
        let found = read((16, 6), &table);
        assert!(matches!(&found[..], [(_, Ok(text))] if text == "1..............4"), "{table}\n{found:?}");
    }
    let maze = "S  #\n## #\n#   \n#  G";
    let found = read((16, 6), &format!("Easy:\n{maze}\nHarder:\n{maze}\n"));
    assert_eq!(found, [(2, Ok(maze.to_owned())), (7, Ok(maze.to_owned()))]);
}

fn a_bad_sudoku_spoils_no_other() {
    let good = "1..............4";
    let lines = [
        good,
        "1..............",
        good,
        "1..............44",
        "",
        "1...",
        "....",
        "..%.",
        "...4",
        "12",
        "",
        "1 .|. .",
        ". .|. .",
        "",
        ". .|. .",
        ". .|. 4",
        "1..............1",
        "11..............",
        good,
        "1 2 3 4",
        "",
        "1...",
        "....",
        "....",
        "...4",
        "12",
    ];
    let found = read((16, 6), &lines.join("\n"));
    let ok = |line: usize| (line, Ok(good.to_owned()));
    let bad = |line: usize, problem: &str| (line, Err(problem.to_owned()));
    let sized = |count: usize| format!("{count} cells, the model solves puzzles of 16 (4x4)");
    let expected = [
        ok(1),
        bad(2, &sized(15)),
        ok(3),
        bad(4, &sized(17)),
        bad(6, "'%' in row 3, column 3, expected 1 to 4 or a blank, as ."),
        bad(10, &sized(2)),
        ok(12),
        (17, Ok("1..............1".to_owned())),
        bad(18, "contradicts itself: row 1, column 1 and row 1, column 2 both have 1, in one row"),
        ok(19),
        bad(20, &sized(4)),
        ok(22),
        bad(26, &sized(2)),
    ];
    assert_eq!(found, expected);
    let rows: Vec<&str> = (0..9).map(|row| &Q[9 * row..9 * row + 9]).collect();
    let other = "81 cells, the model solves puzzles of 16 (4x4)";
    let clues = rows.join("\n").replace(['5', '6', '7', '8', '9'], ".");
    assert_eq!(read((16, 6), &format!("{clues}\n\n{good}")), [bad(1, other), ok(11)]);
}

fn mazes_are_read_as_they_are_drawn() {
    let open = "S # G\n  #  \n     \n ### \n     ";
    let trimmed: Vec<&str> = open.lines().map(str::trim_end).collect();
    let forms = [
        open.to_owned(),
        open.replace('\n', ""),
        open.replace(' ', "."),
        open.replace('\n', "\r\n"),
        "S # G\no # o\noooo \n ### \n     ".to_owned(),
        // An editor has taken the ends of the lines; the last row says how many there are.
        trimmed[..4].join("\n") + "\n     ",
        format!("maze of 5 x 5, 8 moves from S to G\n{open}\nstep 1 of 2, halt 0.5"),
    ];
    for form in forms {
        let found = read((25, 6), &form);
        assert!(matches!(&found[..], [(_, Ok(text))] if text == open), "{form}\n{found:?}");
    }
    let open_row = "     \nS # G\n  #  \n     \n ### ";
    assert_eq!(read((25, 6), open_row), [(1, Ok(open_row.to_owned()))]);
    let wide = read((10, 6), "S    \n    G");
    assert_eq!(wide, [(1, Ok("S    \n    G".to_owned()))]);
}

fn a_bad_maze_spoils_no_other() {
    let open = "S # G\n  #  \n     \n ### \n     ";
    let closed = open.replace("  #  ", "###  ");
    let text = format!("{open}\n\nS # G\n  #  \n\n{open}\n\n{closed}\n{}\n{open}", open.replace('G', "S"));
    let found = read((25, 6), &text);
    let lines: Vec<(usize, bool)> = found.iter().map(|(line, puzzle)| (*line, puzzle.is_ok())).collect();
    assert_eq!(lines, [(1, true), (7, false), (10, true), (16, false), (21, false), (26, true)]);
    let problem = |at: usize| found[at].1.clone().unwrap_err();
    assert!(problem(1).starts_with("3 x 5 cells, the model solves mazes of 25, as 5 x 5"));
    assert_eq!(problem(3), "no way leads from S to G");
    assert_eq!(problem(4), "2 S and 0 G, expected one of each");
    let ragged = read((25, 6), "S.#..\n..#...\n.....\n.##..\n....G\nS.#..\n..#.\n.....\n.##..\n....G\n");
    let row = |cells: usize| Err(format!("row 2 has {cells} cells, others have 5"));
    assert_eq!(ragged, [(1, row(6)), (6, row(4))]);
    // One row with a space too many is named, and so is one at an end.
    for odd in 0..5 {
        let mut rows: Vec<String> = open.lines().map(str::to_owned).collect();
        rows[odd].insert(1, ' ');
        let long = Err(format!("row {} has 6 cells, others have 5", odd + 1));
        assert_eq!(read((25, 6), &rows.join("\n")), [(1, long)]);
        assert_eq!(kind_of(&rows.join("\n")), Some(Kind::Maze { rows: 5, cols: 5 }));
    }
    let strange = read((4, 6), "S!\n G");
    assert_eq!(strange, [(1, Err("'!' in row 1, column 2, expected one of \"# SGo\"".to_owned()))]);
}

/// Both have 16 cells and 6 tokens.
fn small_mazes_and_sudokus_are_told_apart() {
    let maze = "S  #\n## #\n#   \n#  G";
    let text = format!(
        "Grid 1\n1 2 | 3 .\n. . | . .\n----+----\n. . | . .\n. . | . 1\n\n{maze}\n1..............4\n{maze}\n"
    );
    let found = read((16, 6), &text);
    let (grid, line) = ("123............1".to_owned(), "1..............4".to_owned());
    assert_eq!(found, [(2, Ok(grid)), (8, Ok(maze.into())), (12, Ok(line)), (13, Ok(maze.into()))]);
}
