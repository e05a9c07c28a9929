//! The gradients of a whole training step against differences of its loss, which is computed here, in f64, from
//! the step's logits: embedding, recursion, heads, loss and reverse pass at once.
//!
//! One full recursion of one latent update per step, so that gradients flow through every update and curvature
//! stays small. The continue head's target depends
//! on the weights without carrying a gradient; golden vectors cover it.

use libtest_mimic::{Failed, Trial};
use trm::Result;
use trm::engine::{Device, Run};
use trm::model::init::Weights;
use trm::model::params::{Home, Param};
use trm::model::step::{Optimiser, train_plan};
use trm::model::{ArchName, ModelConfig, Params};
use trm::ops::metrics;
use trm::plan::{Element, Target};
use trm::rng::Rng;

use crate::check;
use crate::gradients::{along, five_point};
use crate::harness::{Needs, on_each};
use crate::loss_reference::{binary_cross_entropy, cross_entropy};
use crate::models::{Session, architectures, optimiser, small, small_mixer, weights};

/// One test per architecture, and one of what must not be hidden.
pub fn tests() -> Vec<Trial> {
    let seen = on_each("step_gradients::a_nan_reaches_the_loss", Needs::Adapter, nan_reaches_the_loss);
    let scaled =
        on_each("step_gradients::the_global_batch_is_a_factor", Needs::Adapter, global_batch_is_a_factor);
    let whole = architectures().into_iter().filter(|(_, config)| !config.arch.trains_continue());
    whole
        .map(|(name, mut config)| {
            (config.arch.H_cycles, config.arch.L_cycles, config.arch.L_layers) = (1, 1, 1);
            if config.arch.damps() {
                // What stays of a state carries gradients from the second update on.
                config.arch.L_cycles = 2;
            }
            let name = format!("step_gradients::{}", name.replace(' ', "_"));
            Trial::test(name, move || check_gradients(&config))
        })
        .chain(seen)
        .chain(scaled)
        .collect()
}

const BATCH: usize = 3;

/// First step of a difference, of a tensor's size: small, because stablemax has a kink wherever a logit is 0.
const STEP: f64 = 1.0 / 256.0;

/// NMSE of directional derivatives, 2e-3 relative. The whole loss rounds at 1e-7 of itself, a small step makes that
/// 256 times as much of a derivative, and the loss hardly moves along some tensors.
const BOUND: f64 = 4e-6;

/// Directions that are tried for each tensor.
const DIRECTIONS: usize = 5;

/// A device in every precision, with matrix units too where there are some, and for each two models that halves and
/// those units allow.
fn in_every_way(device: &Device) -> impl Iterator<Item = (Device, ModelConfig)> {
    let units = device.cooperative().unwrap_or_default();
    let half = |precision| device.clone().in_precision(precision);
    let mut ways = vec![device.clone(), half(Element::Bf16), half(Element::F16)];
    if device.info().kind == "cpu" || device.cooperative().is_some() {
        ways.push(half(Element::F16).on_matrices(units));
    }
    let models = [small(ArchName::Trm), small_mixer()].map(|mut config| {
        (config.arch.hidden_size, config.arch.num_heads) = (16, 2);
        config
    });
    ways.into_iter().flat_map(move |way| models.clone().map(|config| (way.clone(), config)))
}

/// Gradients are inversely proportional to the batch that they are divided by, bit for bit where that grows by a power of
/// two: nothing underflows on the way, in whatever precision they are stored. On matrix units f16 holds them too.
fn global_batch_is_a_factor(device: &Device) -> std::result::Result<(), Failed> {
    const FACTOR: usize = 1 << 14;
    for (device, config) in in_every_way(device) {
        let [first, second] = [BATCH, FACTOR * BATCH].map(|global_batch| {
            let optimiser = Optimiser { global_batch, ..optimiser(BATCH) };
            let plan = train_plan(&config, &optimiser, BATCH, device.target())?;
            let mut session = Session::of(Run::new(&device, plan)?, &config, BATCH)?;
            session.step(1)?;
            Ok([session.run.read_floats("gradients")?, session.run.read_floats("puzzle_rows")?].concat())
        });
        let (first, second): (Vec<f32>, Result<Vec<f32>>) = (first?, second);
        let scaled: Vec<f32> = second?.iter().map(|gradient| gradient * FACTOR as f32).collect();
        if first != scaled || first.iter().all(|gradient| *gradient == 0.0) {
            let differ = first.iter().zip(&scaled).filter(|(first, scaled)| first != scaled).count();
            let target = device.target();
            return Err(format!(
                "{}, {:?}: {differ} of {} differ",
                target.precision,
                target.matrices,
                first.len()
            )
            .into());
        }
    }
    Ok(())
}

/// One NaN in any weight makes a loss of the same step NaN: no maximum, comparison or conversion on the way hides it.
fn nan_reaches_the_loss(device: &Device) -> std::result::Result<(), Failed> {
    for (device, config) in in_every_way(device) {
        let Target { precision, matrices, .. } = device.target();
        let mut session = Session::new(&device, &config, BATCH)?;
        let trained = Params::of(&config).table.into_iter().filter(|param| param.home == Home::Trained);
        for param in std::iter::once(None).chain(trained.map(Some)) {
            let mut weights = weights(&config);
            if let Some(param) = &param {
                weights.get_mut(param)[0] = f32::NAN;
            }
            session.run.load(&weights)?;
            session.run.write_ints("carry.halted", &[1; BATCH])?;
            session.step(1)?;
            let found = session.run.read_floats("metrics")?;
            let losses = metrics::NAMES.iter().zip(&found).filter(|(name, _)| name.ends_with("_loss"));
            if losses.clone().any(|(_, loss)| loss.is_nan()) != param.is_some() {
                let which = param.map_or("no weight".into(), |param| param.name);
                let losses: Vec<_> = losses.collect();
                return Err(format!("{precision}, {matrices:?}, NaN in {which}: {losses:?}").into());
            }
        }
    }
    Ok(())
}

fn check_gradients(config: &ModelConfig) -> std::result::Result<(), Failed> {
    let mut step = Step { session: Session::new(&Device::cpu(), config, BATCH)?, config };
    let (start, mut rng) = (weights(config), Rng::new(4, 0));
    step.loss(&start)?;
    let gradients = step.gradients(&start)?;
    for param in Params::of(config).table.iter().filter(|param| param.home != Home::InitialStates) {
        let values = start.get(param);
        let gradient = gradients.get(param);
        let size = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..DIRECTIONS {
            let direction: Vec<f64> = values.iter().map(|_| size.sqrt() * rng.normal()).collect();
            found.push(gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum::<f64>() as f32);
            expected.push(five_point(STEP, |length| step.loss(&moved(&start, param, &direction, length)))?);
        }
        check::close(&found, &expected, BOUND)
            .map_err(|failure| format!("along {}: {failure}", param.name))?;
    }
    Ok(())
}

fn moved(weights: &Weights, param: &Param, direction: &[f64], length: f64) -> Weights {
    let mut weights = weights.clone();
    let values = along(weights.get(param), direction, length);
    weights.get_mut(param).copy_from_slice(&values);
    weights
}

/// A supervision step from fresh carries, always on the same data.
struct Step<'a> {
    session: Session,
    config: &'a ModelConfig,
}

impl Step<'_> {
    /// Mean over samples of the stablemax cross-entropy + 0.5 of the halt head's.
    fn loss(&mut self, weights: &Weights) -> Result<f64> {
        self.session.run.load(weights)?;
        self.session.run.write_ints("carry.halted", &[1; BATCH])?;
        self.session.step(1)?;
        let (length, vocab) = (self.config.length(), self.config.vocab_size);
        let (seq_len, prefix) = (self.config.seq_len, length - self.config.seq_len);
        let logits = self.session.run.read_floats("logits")?;
        let q = self.session.run.read_floats("q_logits")?;
        let labels = self.session.run.read_ints("carry.data.labels")?;
        let sample = |b: usize| {
            let row = |s: usize| {
                let row = &logits[(b * length + prefix + s) * vocab..][..vocab];
                row.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>()
            };
            let labelled: Vec<usize> = (0..seq_len).filter(|s| labels[b * seq_len + s] >= 0).collect();
            let label = |s: usize| labels[b * seq_len + s] as usize;
            let nll: f64 = labelled.iter().map(|&s| cross_entropy(&row(s), label(s)).0).sum();
            let right = |&s: &usize| (0..vocab).all(|v| row(s)[v] <= row(s)[label(s)]);
            let exact = f64::from(u8::from(labelled.iter().all(right)));
            let halt = binary_cross_entropy(f64::from(q[b * length * 2]), exact).0;
            nll / labelled.len().max(1) as f64 + 0.5 * halt
        };
        Ok((0..BATCH).map(sample).sum::<f64>() / BATCH as f64)
    }

    /// The gradients of the last step; those of puzzle rows summed over the slots that used them.
    fn gradients(&mut self, like: &Weights) -> Result<Weights> {
        let mut gradients = like.clone();
        gradients.trained = self.session.run.read_floats("gradients")?;
        let width = self.config.arch.puzzle_emb_ndim;
        if width > 0 {
            gradients.puzzle_emb.fill(0.0);
            let rows = self.session.run.read_floats("puzzle_rows")?;
            let identifiers = self.session.run.read_ints("carry.data.puzzle_identifiers")?;
            for (row, identifier) in rows.chunks(width).zip(identifiers) {
                let sums = gradients.puzzle_emb[identifier as usize * width..].iter_mut();
                sums.zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(gradients)
    }
}
