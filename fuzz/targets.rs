//! What reads files that nobody has checked. A target takes any bytes and must neither panic nor hang; what it accepts
//! must hold what trm relies on, and what it refuses must be said in one line that steers no terminal.

use std::cell::OnceCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trm::checkpoint;
use trm::data::inspect::inspect;
use trm::data::pasted::Reader;
use trm::data::sudoku::{self, Grid, Shape, is_valid_solution};
use trm::data::{Dataset, Split, TestBatches, Vocabulary, Writer, arc, maze, own, write_identifiers};
use trm::engine::{Device, DeviceInfo};
use trm::model::ModelConfig;
use trm::model::init::Weights;
use trm::plan::Element;
use trm::recipe::Recipe;
use trm::tune::{Cache, Cached, Key};
use zip::write::SimpleFileOptions;

/// A reader under test.
pub struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Words of its format.
    pub tokens: &'static [&'static str],
    /// Reads an input.
    pub read: fn(&[u8]),
}

const JSON: [&str; 12] =
    ["{", "}", "[", "]", "\"", ":", ",", "null", "true", "\\u001b", "\\ud800", "[[[[[[[[[[[[[[[["];
const CSV: [&str; 12] = [",", "\n", "\r\n", "\"", ".", "question", "answer", "S", "G", "o", "#", "\u{1b}[2J"];
const ROWS: [&str; 12] =
    [",", ";", "\n", "\r", "\"", " ", "_", "null", "inputs", "labels", "{\"inputs\":[", "\u{1b}[2J"];
const PUZZLE: [&str; 14] =
    [".", "0", "9", "\u{ff11}", "\u{661}", "\n", " ", "-", "S", "G", "#", "\n\n", "-+-", "Grid 1\n"];
const TOML: [&str; 10] = ["=", "\n", "[arch]", "[train]", "\"", "\"\"\"", "#", "nan", "-inf", "1979-05-27"];
const YAML: [&str; 12] =
    [":", "\n", "  ", "- ", "&a ", "*a", "<<: ", "!!python/object ", "{", "}", "|\n", "arch"];
const NPY: [&str; 10] =
    ["'descr'", "'<i8'", "'|u1'", "'<i4'", "'>i4'", "'<f4'", "True", "(", ", )", "\u{93}NUMPY"];
const PICKLE: [&str; 12] = [
    "c__builtin__\neval\n",
    "R",
    "Q",
    "(",
    "t",
    ".",
    "}",
    "q\0",
    "X\u{1}\0\0\0",
    "torch\nFloatStorage\n",
    "h\0",
    "0",
];

/// All of them.
pub static TARGETS: [Target; 18] = [
    Target { name: "npy", tokens: &NPY, read: npy },
    Target { name: "npy_indices", tokens: &NPY, read: npy_indices },
    Target { name: "dataset_json", tokens: &JSON, read: dataset_json },
    Target { name: "safetensors", tokens: &JSON, read: safetensors },
    Target { name: "state", tokens: &JSON, read: state },
    Target { name: "identifiers_json", tokens: &JSON, read: identifiers_json },
    Target { name: "lists_json", tokens: &JSON, read: lists_json },
    Target { name: "config_json", tokens: &JSON, read: config_json },
    Target { name: "all_config", tokens: &YAML, read: all_config },
    Target { name: "torch", tokens: &PICKLE, read: torch },
    Target { name: "pickle", tokens: &PICKLE, read: pickle },
    Target { name: "arc_json", tokens: &JSON, read: arc_json },
    Target { name: "sudoku_csv", tokens: &CSV, read: sudoku_csv },
    Target { name: "maze_csv", tokens: &CSV, read: maze_csv },
    Target { name: "own_rows", tokens: &ROWS, read: own_rows },
    Target { name: "recipe", tokens: &TOML, read: recipe },
    Target { name: "tune_cache", tokens: &TOML, read: tune_cache },
    Target { name: "puzzle", tokens: &PUZZLE, read: puzzle },
];

/// The committed inputs of a target, in order.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

/// What was accepted; of what was refused the message is judged.
fn judged<T>(result: trm::Result<T>) -> Option<T> {
    result.map_err(|error| assert_fit_to_say(&error.to_string())).ok()
}

fn assert_fit_to_say(message: &str) {
    assert!(!message.chars().any(char::is_control), "steers the terminal: {message:?}");
}

/// Files that are in order, for inputs to take the place of one of them.
struct Bench {
    folder: tempfile::TempDir,
    config: ModelConfig,
}

impl Bench {
    fn new() -> trm::Result<Bench> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        for split in [Split::Train, Split::Test] {
            let mut writer = Writer::create(&data, split, "all", 4)?;
            for puzzle in 0..3 {
                writer.example(&[1, 2, 3, puzzle], &[0, 2, 3, 4])?;
                writer.end_puzzle(i32::from(puzzle))?;
            }
            writer.finish(VOCABULARY)?;
        }
        write_identifiers(&data, ["<blank>", "one", "two"])?;
        let sets = ["hidden_size=2", "num_heads=1", "puzzle_emb_ndim=2", "mlp_t=false", "L_layers=1"];
        let recipe = Recipe::load("tiny-sudoku4", &sets.map(|set| format!("arch.{set}")))?;
        let config = recipe.model(&Dataset::open(&data, Split::Train)?)?;
        checkpoint::save(&folder.path().join("run"), &config, &Weights::fresh(&config, 0))?;
        Ok(Bench { folder, config })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads with `input` in place of the file called `name`.
    fn with<T>(&self, name: &str, input: &[u8], read: impl FnOnce(&Path) -> T) -> T {
        let path = self.path(name);
        let whole = fs::read(&path).ok();
        fs::write(&path, input).expect("room for an input");
        let outcome = read(&path);
        if let Some(whole) = whole {
            fs::write(&path, whole).expect("room for a file");
        }
        outcome
    }
}

const VOCABULARY: Vocabulary = Vocabulary {
    pad_id: 0,
    ignore_label_id: Some(0),
    blank_identifier_id: 0,
    vocab_size: 6,
    num_puzzle_identifiers: 3,
};

thread_local! {
    static BENCH: OnceCell<Bench> = const { OnceCell::new() };
    static DEVICE: DeviceInfo = Device::cpu().info();
}

fn on_bench<T>(work: impl FnOnce(&Bench) -> T) -> T {
    BENCH.with(|bench| work(bench.get_or_init(|| Bench::new().expect("files in order"))))
}

/// Reads a data set to the end by every way there is.
fn read_data(bench: &Bench) {
    let data = bench.path("data");
    if let Some(report) = judged(inspect(&data)) {
        report.violations.iter().for_each(|violation| assert!(!violation.first.is_empty()));
    }
    let Some(dataset) = judged(Dataset::open(&data, Split::Train)) else { return };
    let sound = judged(dataset.check_tokens()).is_some();
    judged(dataset.identity());
    let dataset = Arc::new(dataset);
    let read = TestBatches::new(dataset.clone(), 2).try_for_each(|batch| judged(batch).map(drop));
    assert_eq!(read.is_some(), sound, "tokens are sound or they are not");
}

fn npy(input: &[u8]) {
    on_bench(|bench| bench.with("data/train/all__inputs.npy", input, |_| read_data(bench)));
}

fn npy_indices(input: &[u8]) {
    for field in ["puzzle_identifiers", "puzzle_indices", "group_indices"] {
        on_bench(|bench| bench.with(&format!("data/train/all__{field}.npy"), input, |_| read_data(bench)));
    }
}

fn dataset_json(input: &[u8]) {
    on_bench(|bench| bench.with("data/train/dataset.json", input, |_| read_data(bench)));
}

fn lists_json(input: &[u8]) {
    on_bench(|bench| {
        bench.with("data/test/lists.json", input, |_| {
            let lists = judged(trm::data::read_origins(&bench.path("data"), Split::Test, 3));
            let examples =
                |lists: Vec<trm::data::Origin>| lists.iter().map(|list| list.examples).sum::<usize>();
            assert!(lists.is_none_or(|lists| lists.is_empty() || examples(lists) == 3));
        });
    });
}

fn identifiers_json(input: &[u8]) {
    on_bench(|bench| bench.with("data/identifiers.json", input, |_| read_data(bench)));
}

fn all_config(input: &[u8]) {
    on_bench(|bench| {
        bench.with("all_config.yaml", input, |path| judged(trm::recipe::read_release_arch(path)));
    });
}

fn safetensors(input: &[u8]) {
    on_bench(|bench| {
        let loaded = bench.with("run/model.safetensors", input, |path| judged(checkpoint::load(path)));
        if let Some((config, weights)) = loaded {
            assert_eq!(config, bench.config);
            assert!(weights.trained.iter().all(|weight| weight.is_finite()));
        }
    });
}

fn state(input: &[u8]) {
    on_bench(|bench| {
        let folder = bench.path("run");
        bench.with("run/state.safetensors", input, |_| judged(checkpoint::load_state(&folder)));
    });
}

fn config_json(input: &[u8]) {
    on_bench(|bench| {
        let config = bench.with("run/config.json", input, |path| judged(checkpoint::load_config(path)));
        if config.is_some_and(|config| config == bench.config) {
            judged(checkpoint::load(&bench.path("run")));
        }
    });
}

fn torch(input: &[u8]) {
    on_bench(|bench| {
        let data = judged(Dataset::open(&bench.path("data"), Split::Train)).expect("a data set");
        let import =
            |path: &Path| checkpoint::import_pytorch(path, &bench.config.arch, Some(data.metadata()), false);
        bench.with("weights.pt", input, |path| judged(import(path)));
    });
}

/// The pickle of a state dict, in an archive that is in order.
fn pickle(input: &[u8]) {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut entry = |name: &str, bytes: &[u8]| {
        archive.start_file(name, options).and_then(|()| Ok(archive.write_all(bytes)?)).expect("an entry");
    };
    entry("archive/data.pkl", input);
    entry("archive/byteorder", b"little");
    (0..4).for_each(|key| entry(&format!("archive/data/{key}"), &[0; 64]));
    entry("archive/version", b"3\n");
    torch(&archive.finish().expect("an archive").into_inner());
}

fn arc_json(input: &[u8]) {
    on_bench(|bench| {
        let path = bench.path("arc_x_challenges.json");
        fs::write(&path, input).expect("room for an input");
        let prefix = bench.path("arc").to_string_lossy().into_owned();
        let Some(tasks) = judged(arc::read_subset(&prefix, "x")) else { return };
        let again = bench.path("again.json");
        judged(arc::write_tasks(&again, &tasks.iter().collect::<Vec<_>>()));
        assert_eq!(judged(arc::read_tasks(&again)), Some(tasks.clone()));
        let folder = bench.path("arc/y");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("task.json"), input).expect("room for an input");
        judged(arc::read_subset(&prefix, "y"));
    });
    if let Some(name) = std::str::from_utf8(input).ok().and_then(|text| text.lines().next()) {
        arc::Augmentation::parse(name);
    }
}

fn sudoku_csv(input: &[u8]) {
    on_bench(|bench| {
        bench.with("sudoku.csv", input, |path| {
            let Some(mut table) = judged(sudoku::Table::open(path, None, false)) else { return };
            while let Some(row) = table.next().and_then(judged) {
                assert!(is_valid_solution(&row.puzzle.question, &row.puzzle.answer));
            }
        });
    });
}

fn maze_csv(input: &[u8]) {
    on_bench(|bench| {
        bench.with("maze.csv", input, |path| {
            let out = bench.path("mazes");
            // That of an input that panicked.
            let _ = fs::remove_dir_all(&out);
            let (train_csv, test_csv) = (path.to_path_buf(), path.to_path_buf());
            let (size, subsample, aug, on_invalid, seed) = (None, None, true, None, 0);
            let options = maze::CsvOptions {
                out: out.clone(),
                train_csv,
                test_csv,
                size,
                subsample,
                aug,
                on_invalid,
                seed,
            };
            if judged(maze::build_from_csv(&options)).is_none() {
                return;
            }
            let report = judged(inspect(&out)).expect("a data set that was just built");
            assert_eq!(report.violations, []);
        });
    });
}

fn own_rows(input: &[u8]) {
    on_bench(|bench| {
        bench.with("rows", input, |path| {
            let out = bench.path("own");
            // That of an input that panicked.
            let _ = fs::remove_dir_all(&out);
            let (train, test) = (path.to_path_buf(), path.to_path_buf());
            let options = own::Options { out: out.clone(), train, test, vocab: None, seq_len: None };
            if let Some(summary) = judged(own::build(&options)) {
                let report = judged(inspect(&out)).expect("a data set that was just built");
                assert_eq!(report.violations, []);
                assert_eq!(
                    judged(own::Words::load(&out)).flatten().map(|words| words.words().to_vec()),
                    Some(summary.words)
                );
            }
        });
    });
}

fn recipe(input: &[u8]) {
    on_bench(|bench| {
        bench.with("recipe.yaml", input, |path| judged(Recipe::load(&path.to_string_lossy(), &[])));
        bench.with("recipe.toml", input, |path| {
            let name = path.to_string_lossy();
            let Some(recipe) = judged(Recipe::load(&name, &[])) else { return };
            recipe.without_effect(&[]);
            let text = judged(recipe.to_toml()).expect("a recipe that was read");
            fs::write(path, text).expect("room for a recipe");
            assert_eq!(judged(Recipe::load(&name, &[])), Some(recipe));
        });
    });
    if let Ok(set) = std::str::from_utf8(input) {
        judged(Recipe::load("tiny-sudoku4", &[set.to_owned()]));
    }
}

fn tune_cache(input: &[u8]) {
    on_bench(|bench| {
        let (cache, key) =
            (Cache::at(bench.folder.path()), DEVICE.with(|device| Key::of(device, Element::F32)));
        fs::write(cache.path(&key), input).expect("room for an input");
        if let Cached::Tuned(choice) = cache.load(&key) {
            assert_eq!(choice.key, key);
        }
    });
}

fn puzzle(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for (seq_len, vocab_size) in [(16, 6), (81, 11), (25, 6), (10, 6)] {
        let mut reader = Reader::of_sizes(seq_len, vocab_size).expect("Sudokus or mazes");
        let mut found: Vec<_> =
            (1..).zip(text.lines()).flat_map(|(at, line)| reader.line(at, line)).collect();
        found.extend(reader.end());
        for puzzle in found.into_iter().filter_map(|found| found.puzzle.ok()) {
            let tokens = puzzle.tokens();
            assert!(
                tokens.len() == seq_len && tokens.iter().all(|token| (1..vocab_size as i32).contains(token))
            );
            let shown = puzzle.text(&tokens);
            let mut again: Vec<_> =
                (1..).zip(shown.lines()).flat_map(|(at, line)| reader.line(at, line)).collect();
            again.extend(reader.end());
            assert!(matches!(&again[..], [found] if found.puzzle.as_ref() == Ok(&puzzle)), "{shown}");
        }
    }
    let Some(grid) = judged(Grid::parse(text)) else { return };
    assert_eq!(judged(Grid::parse(&grid.to_string())), Some(grid));
    assert!(!grid.draw().is_empty() && Shape::ALL.contains(&grid.shape()));
    if let Some(solution) = sudoku::unique_solution(&grid) {
        assert!(is_valid_solution(&grid, &solution));
    }
}
