//! What several commands share: their arguments.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::Subject;
use crate::checkpoint::{self, Shipped};
use crate::engine::{Device, devices, select};
use crate::eval::probe::settle;
use crate::model::init::Weights;
use crate::model::step::check_precision;
use crate::model::{Arch, ModelConfig};
use crate::plan::{Element, Precision};
use crate::recipe::{Recipe, TrainSettings};
use crate::report::say;
use crate::train::{At, Checkpoint};
use crate::tune::{Cache, Cached, Choice, Key};
use crate::{Error, Result};

use super::ranks::Local;

/// Threads beyond so many for each processor only cost time: a pool of 5,000 takes ten seconds to start.
const MOST_THREADS_EACH: usize = 64;

/// Has the thread pool take `chosen` threads, or, without a choice, refuses a number that nobody can want in the variable
/// that the pool reads. To be called before anything uses the pool.
///
/// # Errors
/// [`Error::Usage`] that names the option or the variable.
pub fn set_threads(chosen: Option<usize>) -> Result<()> {
    const OPTION: &str = "--threads";
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    let most = MOST_THREADS_EACH * std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(threads) = chosen {
        if threads > most {
            return Err(Error::usage(OPTION, format!("is {threads}"), format!("give a number up to {most}")));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        return pool.map_err(|error| {
            Error::usage(OPTION, format!("{threads} threads cannot be had: {error}"), "give a smaller number")
        });
    }
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    match text.to_str().and_then(|text| text.trim().parse::<usize>().ok()) {
        Some(threads) if threads <= most => Ok(()),
        _ => {
            let fix = format!("give a number up to {most}, or 0 for one for each processor");
            Err(Error::usage(VARIABLE, format!("is {}", text.display()), fix))
        }
    }
}

/// Where to compute.
#[derive(Args)]
pub struct DeviceArgs {
    /// Where to compute: auto, cpu, gpu, an index or part of a name
    ///
    /// "auto" takes a discrete GPU, else an integrated one, else the CPU engine. "gpu" takes the best adapter, even
    /// one in software. An index or a part of a name, in any case, chooses one that "trm devices" lists.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,

    /// How activations are stored: auto, f32, bf16 or f16 [default: what the recipe says, else auto]
    ///
    /// "auto" is f16 where the device has matrix units that pass a trial, and f32 elsewhere; it says which. Products of
    /// f16 operands run on such units, with sums in f32. With --run, the recipe is that of the run. "trm bench card"
    /// measures f32 and f16 both unless one is named.
    /// Activations in halves take half the memory. On the CPU engine bf16 takes less time for models of full size where
    /// the processor has AVX-512 BF16; llvmpipe is slower in halves. Weights, their moments and all sums stay f32.
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precision>,

    /// Do without what "trm tune" chose for this device
    ///
    /// Plans then take the table of defaults, as on a device that was never tuned. Results differ by roundings only.
    #[arg(long)]
    no_tune_cache: bool,
}

impl DeviceArgs {
    /// Opens the device and says which one it is and why.
    pub fn open(&self) -> Result<Device> {
        self.open_for(Precision::Auto)
    }

    /// The same for a recipe that asks for `precision`; the command line comes first.
    pub fn open_for(&self, precision: Precision) -> Result<Device> {
        self.open_as(Local::ALONE, precision)
    }

    /// The same for one of several processes on this machine: where the choice is left to trm, each takes another GPU,
    /// while there are enough of them; and where they share one, each takes its part of the memory.
    pub fn open_as(&self, local: Local, precision: Precision) -> Result<Device> {
        let gpus = if local.size > 1 { gpus_alike() } else { Vec::new() };
        let (wanted, sharing) = match (self.device.as_str(), gpus.get(local.rank % gpus.len().max(1))) {
            ("auto" | "gpu", Some(index)) => (index.to_string(), local.size.div_ceil(gpus.len())),
            (named, _) => (named.to_owned(), local.size),
        };
        let (device, reason) = select(&wanted)?;
        let device = settle(device, self.precision.unwrap_or(precision)).shared_by(sharing);
        let tuned = if self.no_tune_cache { None } else { adopt_choice(&device) };
        let tuned = tuned.map_or_else(String::new, |choice| format!(", tuned at {}", choice.measured()));
        say(format!("device: {}, {}{tuned} ({reason})", device.info().name, device.storage()));
        Ok(device)
    }

    /// Opens the device with the table of defaults, for `precision` where the command line says no other.
    pub fn open_untuned(&self, precision: Precision) -> Result<Device> {
        let (device, reason) = select(&self.device)?;
        let device = settle(device, self.precision.unwrap_or(precision));
        say(format!("device: {}, {} ({reason})", device.info().name, device.storage()));
        Ok(device)
    }

    /// Whether choices are neither taken nor kept.
    pub fn no_tune_cache(&self) -> bool {
        self.no_tune_cache
    }

    /// The precision that was asked for.
    pub fn precision(&self) -> Option<Precision> {
        self.precision
    }
}

/// Has plans for `device` take what "trm tune" chose, if it has chosen.
pub fn adopt_choice(device: &Device) -> Option<Choice> {
    let precision = device.target().precision;
    match Cache::of_user().map(|cache| cache.load(&Key::of(&device.info(), precision))) {
        Some(Cached::Tuned(choice)) => {
            device.adopt(choice.tiles);
            Some(*choice)
        }
        Some(Cached::Unusable(problem)) => {
            say(super::with_options(&format!(
                "device: {problem}; the table of defaults is taken until then"
            )));
            None
        }
        Some(Cached::Nothing) | None => None,
    }
}

/// The precision that is wanted of a model: f32, which is said, where none is and halves do not fit it.
pub fn fitting(wanted: Precision, arch: &Arch) -> Precision {
    match check_precision(Element::F16, arch) {
        Err(error) if wanted == Precision::Auto => {
            say(format!("precision: auto is f32 here, as {error}"));
            Precision::F32
        }
        _ => wanted,
    }
}

/// How much memory may be taken.
#[derive(Args)]
pub struct MemoryArgs {
    /// Take no more device memory than this, as in 6GiB or 500MB
    ///
    /// Fewer samples are then computed at once, or inner activations again. Without it, training takes what it can use
    /// of the device's memory.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
}

impl MemoryArgs {
    /// Bytes, where they are limited.
    pub fn most(&self) -> Option<u64> {
        self.memory
    }

    /// The same device, of which no more is taken.
    pub fn limit(&self, device: Device) -> Device {
        match self.memory {
            Some(bytes) => device.holding_at_most(bytes),
            None => device,
        }
    }
}

/// A size as people write it.
pub fn bytes(text: &str) -> std::result::Result<u64, String> {
    let binary =
        [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)].map(|(unit, bits)| (unit, 2f64.powi(bits)));
    let decimal = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1.0), ("", 1.0)];
    let known = |(unit, factor): (&str, f64)| Some((text.trim().strip_suffix(unit)?, factor));
    let parsed = binary.into_iter().chain(decimal).find_map(known).and_then(|(number, factor)| {
        let number: f64 = number.trim().parse().ok()?;
        (number * factor >= 1.0 && number * factor < 1e18).then_some((number * factor) as u64)
    });
    parsed.ok_or_else(|| {
        "give bytes, or a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB, as in 6GiB".to_owned()
    })
}

/// The indices of this machine's GPUs that processes of one job take: integrated ones only where there are no others.
fn gpus_alike() -> Vec<usize> {
    let gpus: Vec<_> = devices().into_iter().filter(|info| info.is_hardware()).collect();
    let discrete = gpus.iter().any(|info| info.kind == "discrete");
    let alike = gpus.iter().filter(|info| !discrete || info.kind == "discrete");
    alike.filter_map(|info| info.index).collect()
}

/// What `work` does on a device, or, where that fails under it, on the same one opened anew.
pub fn retry_once<T>(device: &Device, mut work: impl FnMut(&Device) -> Result<T>) -> Result<T> {
    match work(device) {
        Err(fault) if fault.is_device_fault() => {
            say(format!("{fault}; trying once more on the device opened anew"));
            work(&device.reopened()?)
        }
        outcome => outcome,
    }
}

/// What is kept for the reverse pass.
#[derive(Args)]
pub struct RecomputeArgs {
    /// Compute the inner activations of MLPs again in the reverse pass instead of keeping them
    ///
    /// Less memory for more time: SwiGLU's halves and their product, of mixers too, are dropped after use. The same as
    /// --set train.recompute=true.
    #[arg(long)]
    recompute: bool,
}

impl RecomputeArgs {
    /// Tells the settings.
    pub fn apply(&self, settings: &mut TrainSettings) {
        settings.recompute |= self.recompute;
    }

    /// Whether it was asked for.
    pub fn wanted(&self) -> bool {
        self.recompute
    }
}

/// What to run.
#[derive(Args)]
pub struct RecipeArgs {
    /// Recipe: a built-in name or a TOML file
    ///
    /// Built in are tiny-sudoku4, tiny-sudoku6 and tiny-maze, which train in minutes on a CPU, tiny-sudoku9, which takes an hour
    /// or two there, sudoku-fast for minutes on a GPU, and the official sudoku-mlp, sudoku-att, maze-hard, arc1 and arc2. A file needs every key; start from a copy in
    /// assets/recipes.
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,

    /// Change one key of the recipe, for example train.lr=1e-4
    ///
    /// The key is written with dots as arch.hidden_size, the value as in TOML; words need no quotes. Can be given
    /// several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl RecipeArgs {
    /// The keys that --set changes.
    pub fn keys_set(&self) -> impl Iterator<Item = &str> {
        self.set.iter().filter_map(|set| set.split_once('=')).map(|(key, _)| key.trim())
    }

    /// The recipe with its changes, and its name.
    pub fn load(&self) -> Result<(&str, Recipe)> {
        self.load_or(None)
    }

    /// The same; the recipe `otherwise` where none is named.
    pub fn load_or<'a>(&'a self, otherwise: Option<&'a str>) -> Result<(&'a str, Recipe)> {
        let names = || Recipe::names().collect::<Vec<_>>().join(", ");
        let missing = || Error::usage("--recipe", "is missing", format!("give a file or one of {}", names()));
        let name = self.recipe.as_deref().or(otherwise).ok_or_else(missing)?;
        Ok((name, self.settled(Recipe::load(name, &self.set)?)))
    }

    /// Says what has no effect, and what the recipe leaves open and its model does not.
    fn settled(&self, mut recipe: Recipe) -> Recipe {
        recipe.without_effect(&self.set).iter().for_each(say);
        recipe.train.precision = fitting(recipe.train.precision, &recipe.arch);
        recipe
    }

    /// The recipe of the run in `folder` with the changes of `--set`.
    pub fn load_from_run(&self, folder: &Path) -> Result<Recipe> {
        let path = folder.join(crate::train::RECIPE_FILE);
        if !path.is_file() {
            let fix = "name the folder of a run that was started with \"trm train\"";
            return Err(Error::missing(path, fix));
        }
        let path = path.to_string_lossy();
        let (own, changed) = (Recipe::load(&path, &[])?, Recipe::load(&path, &self.set)?);
        if own.train.seed != changed.train.seed {
            let problem = format!("is {} since the run began", own.train.seed);
            return Err(Error::recipe("train.seed", problem, "leave it as it is, or begin a new run"));
        }
        Ok(self.settled(changed))
    }
}

/// What a model is measured at.
#[derive(Args)]
pub struct ModelArgs {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// B, samples at once
    ///
    /// Measurements of different sizes do not pair.
    #[arg(long, value_name = "B", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// S, tokens of a puzzle
    ///
    /// 81 for 9x9 Sudoku, 900 for mazes and ARC.
    #[arg(long, value_name = "S", default_value_t = 81)]
    seq_len: usize,

    /// V, tokens in the vocabulary
    ///
    /// 11 for 9x9 Sudoku, 6 for mazes.
    #[arg(long, value_name = "V", default_value_t = 11)]
    vocab_size: usize,
}

impl ModelArgs {
    /// Whether a recipe is named.
    pub fn names_recipe(&self) -> bool {
        self.recipe.recipe.is_some()
    }

    /// The model; that of the recipe `otherwise` where none is named.
    pub fn subject(&self, otherwise: Option<&str>) -> Result<Subject> {
        let (name, recipe) = self.recipe.load_or(otherwise)?;
        Subject::of(name, recipe, self.batch.into(), self.seq_len, self.vocab_size)
    }
}

/// A trained model.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("model").required(true).multiple(true).args(["run", "weights"]))]
pub struct WeightsArgs {
    /// Run folder whose weights to use
    ///
    /// The moving average of the weights, where the recipe keeps one; those of the newest checkpoint, unless --at says
    /// otherwise.
    #[arg(long, value_name = "DIR", conflicts_with = "weights")]
    run: Option<PathBuf>,

    /// Which checkpoint of --run: best, latest or a step [default: latest]
    ///
    /// "best" has the highest exact accuracy of those that "trm runs" lists. Damaged ones are passed over.
    #[arg(long, value_name = "STEP", requires = "run", conflicts_with = "weights")]
    at: Option<At>,

    /// Weights: a .safetensors file, the folder of a model.safetensors, or shipped:NAME
    ///
    /// With config.json beside it. NAME is that of a model that comes with trm, as shipped:sudoku4. On ARC, "trm eval" takes it several times, and all of these models vote.
    #[arg(long, value_name = "FILE|DIR")]
    weights: Vec<PathBuf>,
}

impl WeightsArgs {
    /// Whether a model is named.
    pub fn are_given(&self) -> bool {
        self.run.is_some() || !self.weights.is_empty()
    }

    /// Whether the model is one of those that come with trm.
    pub fn are_shipped(&self) -> Result<bool> {
        match &self.weights[..] {
            [path] => Ok(Shipped::at(path)?.is_some()),
            _ => Ok(false),
        }
    }

    /// The folder that the weights lie in.
    pub fn folder(&self) -> PathBuf {
        let path = self.run.as_ref().or(self.weights.first()).cloned().unwrap_or_default();
        if path.is_dir() { path } else { path.parent().map(Path::to_path_buf).unwrap_or_default() }
    }

    /// How the run stored its activations; open where there is none, unless `arch` leaves no choice.
    pub fn precision(&self, arch: &Arch) -> Result<Precision> {
        let recipe = self.run.as_ref().map(|run| run.join(crate::train::RECIPE_FILE));
        let wanted = match recipe.filter(|path| path.is_file()) {
            Some(path) => Recipe::load(&path.to_string_lossy(), &[])?.train.precision,
            None => Precision::Auto,
        };
        Ok(fitting(wanted, arch))
    }

    /// Reads the model.
    pub fn load(&self) -> Result<(ModelConfig, Weights)> {
        match (&self.run, &self.weights[..]) {
            (Some(run), _) => of_run(run, self.at),
            (None, [path]) => checkpoint::load(path),
            (None, []) => Err(Error::usage("--weights", "is missing", "give --weights or --run")),
            (None, paths) => {
                let problem = format!("{} models are given", paths.len());
                Err(Error::usage("--weights", problem, "give one; several vote in \"trm eval\" on ARC"))
            }
        }
    }

    /// Reads several models of the same sizes: the first, and the weights of the others.
    pub fn load_all(&self) -> Result<(ModelConfig, Weights, Vec<Weights>)> {
        let Some((first, others)) = self.weights.split_first().filter(|_| self.run.is_none()) else {
            return self.load().map(|(config, weights)| (config, weights, Vec::new()));
        };
        let (config, weights) = checkpoint::load(first)?;
        let other = |path: &PathBuf| match checkpoint::load(path)? {
            (own, weights) if own == config => Ok(weights),
            _ => {
                let problem = format!("is another model than {}", first.display());
                Err(Error::file(path, problem, "let checkpoints of one run vote"))
            }
        };
        let others = others.iter().map(other).collect::<Result<Vec<Weights>>>()?;
        Ok((config, weights, others))
    }
}

/// The model of the checkpoint `at`, or, where none was asked for, of the latest; if there is none that is whole, what the
/// run has for use.
fn of_run(run: &Path, at: Option<At>) -> Result<(ModelConfig, Weights)> {
    let all = Checkpoint::list(run)?;
    if all.is_empty() && at.is_none() {
        return checkpoint::load(run);
    }
    // To its end, as --resume and "trm runs" do, so that all take the same one.
    let read = |one: &Checkpoint| {
        checkpoint::check_state(&one.path)?;
        checkpoint::load_state_weights(&one.path)
    };
    match (Checkpoint::choose(run, &all, at.unwrap_or(At::Latest), read), at) {
        (Ok(found), _) => {
            found.passed_over.iter().for_each(say);
            say(format!("weights: {}", found.checkpoint.path.display()));
            Ok(found.content)
        }
        (Err(error), Some(_)) => Err(error),
        (Err(error), None) => {
            let model = checkpoint::load(run).map_err(|_| error)?;
            say(format!(
                "weights: {}, as no checkpoint is whole",
                run.join(checkpoint::WEIGHTS_FILE).display()
            ));
            Ok(model)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_f32_for_models_that_halves_do_not_fit() {
        let recipe = |sets: &[&str]| {
            let set = sets.iter().map(|set| (*set).to_owned()).collect();
            RecipeArgs { recipe: Some("tiny-sudoku6".into()), set }.load().unwrap().1.train.precision
        };
        let awkward =
            ["arch.mlp_t=false", "arch.hidden_size=66", "arch.num_heads=11", "arch.puzzle_emb_ndim=66"];
        assert_eq!(recipe(&[]), Precision::Auto);
        assert_eq!(recipe(&awkward), Precision::F32);
        assert_eq!(recipe(&[&awkward[..], &["train.precision=f16"]].concat()), Precision::F16);
    }

    #[test]
    fn sizes_are_read_in_all_units() {
        let sizes =
            [("6GiB", 6 << 30), ("1.5 TiB", 3 << 39), ("2TB", 2_000_000_000_000), ("400MB", 400_000_000)];
        let small = [("3MiB", 3 << 20), ("5kB", 5000), ("5KiB", 5120), ("7B", 7), (" 123456 ", 123_456)];
        sizes.into_iter().chain(small).for_each(|(text, size)| assert_eq!(bytes(text), Ok(size), "{text}"));
        ["", "GiB", "-1MB", "0", "6 Gib", "1e99TB", "nan", "infB"].iter().for_each(|text| {
            assert!(bytes(text).is_err(), "{text}");
        });
    }

    #[test]
    fn a_run_is_evaluated_as_it_was_trained() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe::load("tiny-sudoku4", &["train.precision=f16".into()]).unwrap();
        let weights = WeightsArgs { run: Some(folder.path().into()), weights: Vec::new(), at: None };
        assert_eq!(weights.precision(&recipe.arch).unwrap(), Precision::Auto);
        std::fs::write(folder.path().join(crate::train::RECIPE_FILE), recipe.to_toml().unwrap()).unwrap();
        assert_eq!(weights.precision(&recipe.arch).unwrap(), Precision::F16);
    }
}
