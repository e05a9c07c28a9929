//! A run as written: a TOML file or a built-in recipe, changed by `--set`, checked and resolved.
//!
//! The built-in recipe `sudoku-mlp` declares every key and, by its value, the key's type; nothing repeats them
//! here. All keys are required, so that a recipe in a run folder says everything about its run; keys that came later
//! mean in older recipes what those runs did.

mod changes;
mod effect;
mod keys;
mod purpose;
#[cfg(feature = "torch")]
mod references;
#[cfg(feature = "torch")]
mod release;

use std::path::Path;

#[cfg(feature = "torch")]
pub use release::read_release_arch;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use self::keys::leaves;
use self::keys::{check_choice, check_keys, complete, declared};
use crate::data::Dataset;
use crate::data::symmetry::Symmetries;
use crate::model::step::{Algorithm, Optimiser};
use crate::model::{Arch, ArchName, ModelConfig, PosEncodings};
use crate::plan::Precision;
use crate::text::one_line;
use crate::{Error, Result, files};

/// The recipes that come with trm; the first one declares the keys.
const BUILT_IN: [(&str, &str); 10] = [
    ("sudoku-mlp", include_str!("../assets/recipes/sudoku-mlp.toml")),
    ("sudoku-att", include_str!("../assets/recipes/sudoku-att.toml")),
    ("maze-hard", include_str!("../assets/recipes/maze-hard.toml")),
    ("arc1", include_str!("../assets/recipes/arc1.toml")),
    ("arc2", include_str!("../assets/recipes/arc2.toml")),
    ("tiny-sudoku4", include_str!("../assets/recipes/tiny-sudoku4.toml")),
    ("tiny-sudoku6", include_str!("../assets/recipes/tiny-sudoku6.toml")),
    ("tiny-sudoku9", include_str!("../assets/recipes/tiny-sudoku9.toml")),
    ("sudoku-fast", include_str!("../assets/recipes/sudoku-fast.toml")),
    ("tiny-maze", include_str!("../assets/recipes/tiny-maze.toml")),
];

/// Largest batch: every adapter takes grids of so many workgroups.
const LARGEST_BATCH: usize = 65_535;

/// Everything about a run but its data and device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The model.
    pub arch: Arch,
    /// How it is trained.
    pub train: TrainSettings,
}

/// The `train` table of a recipe, with the authors' names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Samples of one training step.
    pub global_batch_size: usize,
    /// Whether each sample is a symmetry of its example, drawn anew every time: of Sudokus and mazes.
    pub augment: bool,
    /// Passes over the groups of the training split.
    pub epochs: usize,
    /// Epochs between two evaluations; divides `epochs`.
    pub eval_interval: usize,
    /// Examples of an evaluation but the last, whole groups drawn by `seed`; 0 for all.
    pub eval_examples: usize,
    /// Whether samples stop in these evaluations when their halt head says so.
    pub eval_halt: bool,
    /// What moves the weights of the blocks.
    pub optimizer: Algorithm,
    /// Learning rate of the weights.
    pub lr: f64,
    /// The last learning rate as a share of `lr`.
    pub lr_min_ratio: f64,
    /// Steps of linear warm-up.
    pub lr_warmup_steps: u64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay of the weights.
    pub weight_decay: f64,
    /// Learning rate of the puzzle embeddings.
    pub puzzle_emb_lr: f64,
    /// Decoupled weight decay of the puzzle embeddings.
    pub puzzle_emb_weight_decay: f64,
    /// Whether evaluation takes a moving average of the weights.
    pub ema: bool,
    /// Decay of the moving average.
    pub ema_rate: f64,
    /// The share of a label's weight that the loss spreads evenly over the vocabulary.
    pub label_smoothing: f64,
    /// The share of the steps over which samples' supervision steps grow from 1 to `halt_max_steps`; 0 for none.
    pub curriculum: f64,
    /// Whether only the puzzle embeddings learn, as for new tasks.
    pub freeze_weights: bool,
    /// Storage of activations and of the copies of weights that products read; the weights themselves are f32.
    pub precision: Precision,
    /// Whether the reverse pass computes the inner activations of MLPs again instead of keeping them.
    pub recompute: bool,
    /// Samples computed at once, a divisor of `global_batch_size`; 0 for what the device has room for.
    pub micro_batch: usize,
    /// About the longest time that work handed to a GPU at once takes, in ms; 0 for whole steps.
    pub max_submission_ms: u64,
    /// Seed of all randomness.
    pub seed: u64,
    /// Steps between two checkpoints, 0 for none by steps; there is one at every evaluation.
    pub checkpoint_every: u64,
    /// Minutes between two checkpoints, 0 for none by time.
    pub checkpoint_minutes: f64,
    /// The last checkpoints that are kept, beside the best.
    pub keep: usize,
    /// What happens when losses or gradients stay infinite or NaN.
    pub on_divergence: OnDivergence,
}

/// What a run does when its losses or gradients stay infinite or NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDivergence {
    /// It ends, and can be resumed from its last good checkpoint.
    Stop,
    /// It goes on from its last good checkpoint with half the learning rates, a few times at the most.
    BackOff,
}

impl Recipe {
    /// The built-in recipe called `name_or_path`, or the TOML file there, or the `all_config.yaml` of a run of the authors'
    /// release, changed by `sets` (`arch.L_cycles=4`). What the release does not know is as in the first built-in recipe.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such recipe or a set is malformed, [`Error::Io`] for an unreadable file,
    /// [`Error::Recipe`] with the dotted key for anything wrong inside.
    pub fn load(name_or_path: &str, sets: &[String]) -> Result<Recipe> {
        let written = table_of(name_or_path)?;
        let mut table = written.clone();
        for set in sets {
            apply(&mut table, set)?;
        }
        Recipe::from_table(table).map_err(|error| match error {
            // What was typed needs no place, nor what is wrong since then.
            Error::Recipe { key, problem, fix } if is_wrong(written, &key) => {
                Error::recipe(format!("{name_or_path}: {key}"), problem, fix)
            }
            other => other,
        })
    }

    /// Names of the built-in recipes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The recipe as a TOML file that [`Recipe::load`] reads.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a number that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        let refused = |error: toml::ser::Error| {
            Error::recipe("recipe", one_line(&error.to_string()), "choose values that TOML can hold")
        };
        toml::to_string(self).map_err(refused)
    }

    /// The model of this recipe over a data set.
    ///
    /// # Errors
    /// [`Error::Recipe`] for impossible sizes.
    pub fn model(&self, dataset: &Dataset) -> Result<ModelConfig> {
        let metadata = dataset.metadata();
        let config = ModelConfig {
            arch: self.arch.clone(),
            vocab_size: metadata.vocab_size,
            seq_len: metadata.seq_len,
            num_puzzle_identifiers: metadata.num_puzzle_identifiers,
            identifiers: dataset.identifiers().map(str::to_owned),
        };
        config.validate()?;
        Ok(config)
    }

    /// Lets only the puzzle embeddings learn if `freeze_weights`; otherwise leaves that as it is.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a model without puzzle embeddings.
    pub fn freeze(&mut self, freeze_weights: bool) -> Result<()> {
        self.train.freeze_weights |= freeze_weights;
        self.check_learns()
    }

    fn check_learns(&self) -> Result<()> {
        if self.train.freeze_weights && self.arch.puzzle_emb_ndim == 0 {
            let fix = "give the model puzzle embeddings (arch.puzzle_emb_ndim), or let its weights learn";
            return Err(Error::recipe("train.freeze_weights", "leaves nothing to learn", fix));
        }
        Ok(())
    }

    fn from_table(mut table: Table) -> Result<Recipe> {
        complete(&mut table);
        check_keys(&leaves(&table), &declared()?)?;
        check_choice::<ArchName>(&table, "arch", "name")?;
        check_choice::<PosEncodings>(&table, "arch", "pos_encodings")?;
        check_choice::<Algorithm>(&table, "train", "optimizer")?;
        check_choice::<Precision>(&table, "train", "precision")?;
        check_choice::<OnDivergence>(&table, "train", "on_divergence")?;
        let recipe: Recipe = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| Error::recipe("recipe", one_line(error.message()), SEE))?;
        recipe.arch.validate()?;
        recipe.train.validate()?;
        recipe.check_learns()?;
        Ok(recipe)
    }
}

impl TrainSettings {
    /// What the optimisers and the loss keep constant; without a moving average its decay is 0, so that it is the weights.
    pub fn optimiser(&self) -> Optimiser {
        Optimiser {
            algorithm: self.optimizer,
            betas: (self.beta1, self.beta2),
            weight_decay: self.weight_decay,
            puzzle_emb_weight_decay: self.puzzle_emb_weight_decay,
            ema_rate: if self.ema { self.ema_rate } else { 0.0 },
            freeze_weights: self.freeze_weights,
            label_smoothing: self.label_smoothing,
            global_batch: self.global_batch_size,
        }
    }

    /// What samples are drawn in, where only the sizes of the puzzles are known and not the data set.
    pub(crate) fn symmetries_of(&self, config: &ModelConfig) -> Option<Symmetries> {
        let known = Symmetries::of_sizes(config.seq_len, config.vocab_size);
        known.filter(|_| self.augment)
    }

    /// Steps that `epochs` take: epochs * groups * mean examples per puzzle / batch, as in the release.
    pub fn steps_of(&self, epochs: usize, dataset: &Dataset) -> u64 {
        let metadata = dataset.metadata();
        let examples = epochs as f64 * metadata.total_groups as f64 * metadata.mean_puzzle_examples;
        (examples / self.global_batch_size as f64) as u64
    }

    fn validate(&self) -> Result<()> {
        let counts = [
            ("global_batch_size", self.global_batch_size),
            ("epochs", self.epochs),
            ("eval_interval", self.eval_interval),
            ("keep", self.keep),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(out_of_range(key, 0, "an integer of at least 1"));
        }
        if self.global_batch_size > LARGEST_BATCH {
            let expected = format!("at most {LARGEST_BATCH}");
            return Err(out_of_range("global_batch_size", self.global_batch_size, &expected));
        }
        if self.micro_batch > 0 && !self.global_batch_size.is_multiple_of(self.micro_batch) {
            let problem = format!(
                "{} does not divide train.global_batch_size {}",
                self.micro_batch, self.global_batch_size
            );
            return Err(Error::recipe("train.micro_batch", problem, "choose a divisor, or 0"));
        }
        if !self.epochs.is_multiple_of(self.eval_interval) {
            let problem = format!("{} does not divide train.epochs {}", self.eval_interval, self.epochs);
            return Err(Error::recipe("train.eval_interval", problem, "choose a divisor"));
        }
        let not_negative = (
            "a finite number of at least 0",
            (|value| (0.0..f64::INFINITY).contains(&value)) as fn(f64) -> bool,
        );
        let share = ("a number from 0 to 1", (|value| (0.0..=1.0).contains(&value)) as fn(f64) -> bool);
        let decay = ("a number from 0 to less than 1", (|value| (0.0..1.0).contains(&value)) as _);
        let numbers = [
            ("lr", self.lr, not_negative),
            ("lr_min_ratio", self.lr_min_ratio, share),
            ("beta1", self.beta1, decay),
            ("beta2", self.beta2, decay),
            ("weight_decay", self.weight_decay, not_negative),
            ("puzzle_emb_lr", self.puzzle_emb_lr, not_negative),
            ("puzzle_emb_weight_decay", self.puzzle_emb_weight_decay, not_negative),
            ("ema_rate", self.ema_rate, decay),
            ("label_smoothing", self.label_smoothing, decay),
            ("curriculum", self.curriculum, share),
            ("checkpoint_minutes", self.checkpoint_minutes, not_negative),
        ];
        // Devices compute in f32, where a large number is infinite.
        let accepted = |value: f64, accepts: fn(f64) -> bool| accepts(value) && (value as f32).is_finite();
        match numbers.into_iter().find(|(_, value, (_, accepts))| !accepted(*value, *accepts)) {
            Some((key, value, (expected, _))) if value.is_finite() && value > f64::from(f32::MAX) => {
                Err(out_of_range(key, format!("{value:e}, infinite in f32"), expected))
            }
            Some((key, value, (expected, _))) => Err(out_of_range(key, value, expected)),
            None => Ok(()),
        }
    }
}

const SEE: &str = "compare with assets/recipes/sudoku-mlp.toml";

fn out_of_range(key: &str, value: impl std::fmt::Display, expected: &str) -> Error {
    Error::recipe(format!("train.{key}"), format!("is {value}"), format!("give {expected}"))
}

/// Whether one of `sets` changes `key`.
fn sets_key(sets: &[String], key: &str) -> bool {
    sets.iter().filter_map(|set| set.split_once('=')).any(|(changed, _)| changed.trim() == key)
}

/// Whether the recipe in `table` is refused for this key.
fn is_wrong(table: Table, key: &str) -> bool {
    matches!(Recipe::from_table(table), Err(Error::Recipe { key: own, .. }) if own == key)
}

fn table_of(name_or_path: &str) -> Result<Table> {
    let path = Path::new(name_or_path);
    match path.extension() {
        Some(extension) if (extension == "yaml" || extension == "yml") && path.exists() => of_release(path),
        _ => parse(name_or_path, &text_of(name_or_path)?),
    }
}

#[cfg(feature = "torch")]
fn of_release(path: &Path) -> Result<Table> {
    let (name, text) = BUILT_IN[0];
    release::recipe_table(path, parse(name, text)?)
}

#[cfg(not(feature = "torch"))]
fn of_release(path: &Path) -> Result<Table> {
    Err(Error::file(path, "is YAML", "build trm with the feature torch to read recipes of the release"))
}

fn text_of(name_or_path: &str) -> Result<String> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
        return Ok((*text).to_owned());
    }
    let path = Path::new(name_or_path);
    if path.exists() {
        return files::read_to_string(path);
    }
    let names: Vec<&str> = Recipe::names().collect();
    let problem = format!("\"{name_or_path}\" is neither a built-in recipe nor a file");
    Err(Error::usage("recipe", problem, format!("built in are {}", names.join(", "))))
}

fn parse(place: &str, text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Error::recipe(format!("{place}, line {line}"), one_line(error.message()), SEE)
    })
}

/// Writes the value of one `key=value` into `table`; whether the key exists is seen later, with all others.
fn apply(table: &mut Table, set: &str) -> Result<()> {
    let malformed = || {
        let problem = format!("\"{set}\" is not of the form key=value");
        Error::usage("set", problem, "write for example train.lr=1e-4")
    };
    let (key, text) = set.split_once('=').ok_or_else(malformed)?;
    let (key, text) = (key.trim(), text.trim());
    // A word needs no quotes: names of architectures are no TOML values.
    let value = text.parse().unwrap_or_else(|_| Value::String(text.to_owned()));
    let mut place = table;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(malformed)?;
    for part in parts {
        let inner = place.entry(part).or_insert_with(|| Value::Table(Table::new()));
        place = inner.as_table_mut().ok_or_else(|| Error::recipe(key, format!("{part} is no table"), SEE))?;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message that `sets` on top of a good recipe give.
    fn refusal(sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        match Recipe::load("tiny-sudoku4", &sets) {
            Ok(recipe) => format!("accepted: {recipe:?}"),
            Err(error) => {
                assert_eq!(error.exit_code(), 2);
                error.to_string()
            }
        }
    }

    #[test]
    fn built_in_recipes_load_and_survive_toml() {
        for name in Recipe::names() {
            let recipe = Recipe::load(name, &[]).unwrap();
            let again = Recipe::from_table(parse(name, &recipe.to_toml().unwrap()).unwrap()).unwrap();
            assert_eq!(recipe, again);
        }
    }

    #[test]
    fn built_in_recipes_document_every_key() {
        for (name, text) in BUILT_IN {
            for line in text.lines().filter(|line| line.contains(" = ")) {
                assert!(line.contains(" # "), "{name}: {line}");
            }
        }
    }

    #[test]
    fn set_changes_one_key() {
        let sets = ["arch.hidden_size=32".to_owned(), "train.lr = 1".to_owned(), "arch.name=hrm".to_owned()];
        let sets = [sets.as_slice(), &["arch.H_layers=1".to_owned()]].concat();
        let recipe = Recipe::load("tiny-sudoku4", &[sets, vec!["arch.puzzle_emb_ndim=32".into()]].concat());
        let recipe = recipe.unwrap();
        assert_eq!((recipe.arch.hidden_size, recipe.train.lr), (32, 1.0));
        assert_eq!(recipe.arch.name, ArchName::Hrm);
    }

    #[test]
    fn a_file_is_named_for_its_own_faults_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let refusal = |text: &str, set: &str| {
            std::fs::write(path, text).unwrap();
            Recipe::load(path, &[set.to_owned()]).unwrap_err().to_string()
        };
        let (_, whole) = BUILT_IN[0];
        assert!(refusal(whole, "arch.num_heads=7").starts_with("arch.num_heads"));
        // The key that the set makes wrong is another one.
        assert!(refusal(whole, "train.epochs=7").starts_with("train.eval_interval"));
        let broken = whole.replace("L_cycles = ", "L_cycles = -");
        assert!(refusal(&broken, "train.lr=1").starts_with(&format!("{path}: arch.L_cycles")));
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        assert!(refusal(&["arch.hiden_size=8"]).contains("did you mean arch.hidden_size?"));
        assert!(refusal(&["lr=1"]).contains("did you mean train.lr?"));
        assert!(refusal(&["trian.lr=1"]).contains("did you mean train.lr?"));
        assert!(refusal(&["train.bogus=1"]).contains("is no key of a recipe; compare with"));
        assert!(refusal(&["foo=1"]).starts_with("foo: is no key of a recipe; compare with assets/recipes"));
        assert!(refusal(&["arch=1"]).starts_with("arch: is no key"));
        assert!(refusal(&["train.lr.x=1"]).starts_with("train.lr.x: lr is no table"));
    }

    #[test]
    fn wrong_values_name_key_found_and_expected() {
        let cases = [
            ("arch.hidden_size=\"big\"", "arch.hidden_size: is \"big\", expected an integer from 0 to 65536"),
            ("arch.L_cycles=-1", "arch.L_cycles: is -1, expected an integer"),
            ("train.seed=1.5", "train.seed: is 1.5, expected an integer from 0 to 9223372036854775807"),
            (
                "train.seed=18446744073709551615",
                "train.seed: is \"18446744073709551615\", expected an integer from 0",
            ),
            ("train.lr=1e39", "train.lr: is 1e39, infinite in f32; give a finite number of at least 0"),
            ("arch.rms_norm_eps=1e39", "arch.rms_norm_eps: is 1e39; give a number from 0 to 3.4e38"),
            ("train.lr=fast", "train.lr: is \"fast\", expected a number"),
            ("train.lr=nan", "train.lr: is NaN; give"),
            ("train.lr=-1", "train.lr: is -1; give a finite number of at least 0"),
            ("train.lr=inf", "train.lr: is inf; give a finite number"),
            ("train.beta2=1", "train.beta2: is 1; give a number from 0 to less than 1"),
            ("arch.damping=1", "arch.damping: is 1; give a number from 0 to less than 1"),
            ("arch.noise=-1", "arch.noise: is -1e0; give a number from 0 to 3.4e38"),
            ("train.curriculum=2", "train.curriculum: is 2; give a number from 0 to 1"),
            ("train.ema=1", "train.ema: is 1, expected true or false"),
            ("train.epochs=0", "train.epochs: is 0; give an integer of at least 1"),
            ("train.eval_interval=4", "train.eval_interval: 4 does not divide train.epochs 26"),
            ("arch.name=trn", "arch.name: unknown variant `trn`, expected one of `trm`"),
            ("arch.num_heads=65", "arch.num_heads: 65 heads are more than the 64 features of hidden_size"),
            ("train.lr", "set: \"train.lr\" is not of the form key=value"),
        ];
        for (set, expected) in cases {
            let message = refusal(&[set]);
            assert!(message.starts_with(expected), "{set}: {message}");
            assert_eq!(message.lines().count(), 1);
        }
    }

    #[test]
    fn files_may_lack_nothing() {
        let text = BUILT_IN[2].1.replace("lr_warmup_steps", "# lr_warmup_steps");
        let error = Recipe::from_table(parse("x", &text).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("train.lr_warmup_steps: is missing; add it"), "{error}");
        let text =
            BUILT_IN[2].1.replace("\nprecision", "\n# precision").replace("\nrecompute", "\n# recompute");
        let older = Recipe::from_table(parse("x", &text).unwrap()).unwrap();
        assert_eq!((older.train.precision, older.train.recompute), (Precision::F32, false));
        let text = BUILT_IN[2].1.replace("\noptimizer", "\n# optimizer");
        assert_eq!(
            Recipe::from_table(parse("x", &text).unwrap()).unwrap().train.optimizer,
            Algorithm::AdamAtan2
        );
        let options = ["random_init", "damping", "noise", "label_smoothing", "curriculum"];
        let without = options.iter().fold(BUILT_IN[2].1.to_owned(), |text, option| {
            assert!(text.contains(&format!("\n{option} = 0.0")), "{option}");
            text.replace(&format!("\n{option} = "), "\n# ")
        });
        let older = Recipe::from_table(parse("x", &without).unwrap()).unwrap();
        assert_eq!(older, Recipe::load(BUILT_IN[2].0, &[]).unwrap());
        let error = parse("my.toml", "[arch]\nname == 1").unwrap_err();
        assert!(error.to_string().starts_with("my.toml, line 2: "), "{error}");
        let error = Recipe::load("sudoku", &[]).unwrap_err();
        assert!(error.to_string().contains("built in are sudoku-mlp"), "{error}");
    }
}
