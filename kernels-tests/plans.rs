//! Plans: what must hold for every one of them, without computing anything.
//!
//! Plans are loaded on wgpu's noop device, whose validation sees every buffer, binding and pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use trm::engine::gpu::Gpu;
use trm::engine::{Device, Run};
use trm::model::params::Home;
use trm::model::step::{eval_plan, train_plan};
use trm::model::{ArchName, ModelConfig, Params};
use trm::ops::column_sums::column_sums;
use trm::ops::gemm::{Gemm, Operand};
use trm::ops::product::{Epilogue, Product};
use trm::ops::sum;
use trm::plan::{
    ALIGN_WORDS, AttentionVariant, Axis, Dispatch, Element, Pass, Plan, Purpose, Role, SHARED_BYTES, Tape,
    Target, Tile, Tiles,
};
use trm::recipe::Recipe;
use trm::train::{Layout, Room};
use trm::{Error, Result};

use crate::data::trials;
use crate::harness::{Needs, on_gpu};
use crate::models::{architectures, optimiser, small};

/// A test that needs an adapter.
type DeviceTest = fn(&Device) -> std::result::Result<(), Failed>;

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 13] = [
        ("small_models_load", small_models_load),
        ("recipes_load", recipes_load),
        ("recipes_at_their_own_batch", recipes_at_their_own_batch),
        ("bindings_are_aligned_and_apart", bindings_are_aligned_and_apart),
        ("one_product_per_weight", one_product_per_weight),
        ("every_dispatch_is_accounted_for", every_dispatch_is_accounted_for),
        ("halves_without_a_variant_are_refused", halves_without_a_variant_are_refused),
        ("a_layer_takes_few_dispatches", a_layer_takes_few_dispatches),
        ("wrong_names_are_refused", wrong_names_are_refused),
        ("tensors_settle_where_they_fit", tensors_settle_where_they_fit),
        ("unwritten_tensors_are_refused", unwritten_tensors_are_refused),
        ("kernels_past_the_device_are_refused", kernels_past_the_device_are_refused),
        ("counts_past_a_word_are_refused", counts_past_a_word_are_refused),
    ];
    let limits: [(&str, DeviceTest); 2] = [
        ("binding_limits_are_named", binding_limits_are_named),
        ("long_sums_are_named", long_sums_are_named),
    ];
    let limits = limits.map(|(name, test)| on_gpu(format!("plans::{name}"), Needs::Adapter, test));
    trials("plans", &tests).into_iter().chain(limits).collect()
}

/// Every variant that a plan can be laid out for.
const TARGETS: [Target; 3] = [
    Target {
        matrices: None,
        attention: AttentionVariant::Tiled,
        split_below: 0,
        precision: Element::F32,
        recompute: false,
        binding_bytes: u64::MAX,
        shared_bytes: SHARED_BYTES,
        tiles: Tiles::all(Tile::SMALL, 0),
    },
    Target {
        matrices: None,
        attention: AttentionVariant::Tiled,
        split_below: 256,
        precision: Element::F32,
        recompute: true,
        binding_bytes: u64::MAX,
        shared_bytes: SHARED_BYTES,
        tiles: Tiles::all(Tile::SMALL, 0),
    },
    Target {
        matrices: None,
        attention: AttentionVariant::Tiled,
        split_below: 0,
        precision: Element::F32,
        recompute: false,
        binding_bytes: u64::MAX,
        shared_bytes: 2 * SHARED_BYTES,
        tiles: Tiles::all(Tile::LARGE, 0),
    },
];

fn noop() -> Device {
    Device::gpu(Arc::new(Gpu::noop(SHARED_BYTES, 1 << 27, 1 << 28).unwrap()))
}

fn training(config: &ModelConfig, batch: usize, target: Target) -> Plan {
    train_plan(config, &optimiser(batch), batch, target).unwrap()
}

/// The models of the built-in recipes, over 9x9 Sudokus.
fn recipes() -> impl Iterator<Item = (&'static str, ModelConfig)> {
    Recipe::names().map(|name| {
        let arch = Recipe::load(name, &[]).unwrap().arch;
        (
            name,
            ModelConfig { arch, vocab_size: 11, seq_len: 81, num_puzzle_identifiers: 1, identifiers: None },
        )
    })
}

/// Loads a plan and submits it once.
fn load(device: &Device, name: &str, plan: Result<Plan>) {
    let outcome = plan.and_then(|plan| Run::new(device, plan)).and_then(|mut run| run.submit());
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn small_models_load() {
    let device = noop();
    for (name, mut config) in architectures() {
        for (batch, target) in [(1, TARGETS[0]), (3, TARGETS[1])] {
            load(&device, name, train_plan(&config, &optimiser(batch), batch, target));
            load(&device, name, eval_plan(&config, batch, target));
        }
        // One puzzle position, one token, two features.
        let arch = &mut config.arch;
        (arch.hidden_size, arch.num_heads, arch.puzzle_emb_ndim) = (2, 1, arch.puzzle_emb_ndim.min(1));
        (config.vocab_size, config.seq_len) = (1, 1);
        load(&device, name, train_plan(&config, &optimiser(1), 1, TARGETS[0]));
    }
}

fn recipes_load() {
    let device = noop();
    for (name, config) in recipes() {
        load(&device, name, train_plan(&config, &optimiser(8), 8, TARGETS[0]));
        load(&device, name, eval_plan(&config, 8, TARGETS[0]));
    }
}

/// The official recipes, at their global batch and the sizes of their data, on an adapter of 8 GiB whose bindings and
/// buffers end at 2 GiB: samples computed at once, and whether inner activations are computed again, in f32 and in f16.
fn recipes_at_their_own_batch() {
    let limit = (1 << 31) - 4;
    let device = Device::gpu(Arc::new(Gpu::noop(48 << 10, limit, limit).unwrap())).holding_at_most(8 << 30);
    for (name, vocab_size, seq_len, num_puzzle_identifiers, expected) in [
        ("sudoku-mlp", 11, 81, 1, [(384, true), (768, true)]),
        ("sudoku-att", 11, 81, 1, [(256, true), (256, false)]),
        ("maze-hard", 6, 900, 1, [(32, true), (32, false)]),
        ("arc1", 12, 900, 876_406, [(8, true), (16, true)]),
        ("arc2", 12, 900, 1_191_406, [(3, true), (6, true)]),
    ] {
        let Recipe { arch, train, .. } = Recipe::load(name, &[]).unwrap();
        let config = ModelConfig { arch, vocab_size, seq_len, num_puzzle_identifiers, identifiers: None };
        let chosen = [Element::F32, Element::F16].map(|precision| {
            let target = Target { precision, ..device.target() };
            let holds = |plan: &Plan, others| device.check_beside(plan, others);
            let room = Room { holds: &holds, most_flops: 500_000_000_000 };
            let found = Layout::choose(&config, &train, None, target, 1, room);
            let (layout, _) = found.unwrap_or_else(|error| panic!("{name}: {error}"));
            (layout.micro_batch, layout.recompute)
        });
        assert_eq!(chosen, expected, "{name}");
    }
}

/// What a driver may rely on, for plans that are loaded and for larger ones.
fn bindings_are_aligned_and_apart() {
    let models = architectures().into_iter().chain(recipes());
    for (name, config) in models {
        for (batch, target) in [(1, TARGETS[0]), (7, TARGETS[1]), (64, TARGETS[1])] {
            let plan = training(&config, batch, target);
            plan.dispatches.iter().for_each(|dispatch| bindings_hold(name, &plan, dispatch));
            let evaluation = eval_plan(&config, batch, target).unwrap();
            evaluation.dispatches.iter().for_each(|dispatch| bindings_hold(name, &evaluation, dispatch));
        }
    }
}

fn bindings_hold(model: &str, plan: &Plan, dispatch: &Dispatch) {
    let name = format!("{model}: {} ({})", dispatch.name(), dispatch.label);
    assert_eq!(dispatch.slices.len(), dispatch.interface.bindings.len(), "{name}");
    assert_eq!(dispatch.params.len(), dispatch.interface.params_words, "{name}");
    assert!(
        dispatch.grid.iter().all(|&groups| (1..=65_535).contains(&groups)),
        "{name}: {:?}",
        dispatch.grid
    );
    for (binding, slice) in dispatch.interface.bindings.iter().zip(&dispatch.slices) {
        let name = format!("{name}: {}", binding.name);
        assert_eq!(slice.offset % ALIGN_WORDS, 0, "{name} starts at word {}", slice.offset);
        assert!(slice.words > 0, "{name} is empty");
        assert!(slice.offset + slice.words <= plan.buffers[slice.buffer].words, "{name} leaves its buffer");
        let uses = dispatch.slices.iter().filter(|other| other.buffer == slice.buffer).count();
        assert!(!binding.writable || uses == 1, "{name} is written while its buffer is bound again");
    }
}

/// Every word of every weight's gradient is written by one dispatch.
fn one_product_per_weight() {
    for ((name, config), target) in
        architectures().into_iter().flat_map(|one| TARGETS.map(|target| (one.clone(), target)))
    {
        let plan = training(&config, 3, target);
        let gradients = plan.view("gradients").unwrap().buffer;
        let mut writes = BTreeMap::new();
        for dispatch in &plan.dispatches {
            for (binding, slice) in dispatch.interface.bindings.iter().zip(&dispatch.slices) {
                if binding.writable && slice.buffer == gradients {
                    let kernels = writes.entry((slice.offset, slice.words)).or_insert_with(Vec::new);
                    kernels.push(dispatch.kernel.name);
                }
            }
        }
        for param in Params::of(&config).table.iter().filter(|param| param.home == Home::Trained) {
            let embedded = ["embed_tokens", "embed_pos"].iter().any(|table| param.name.starts_with(table));
            let sums = embedded || param.name == "q_head.bias";
            let kernels = writes.remove(&(param.offset, param.elements()));
            let kernel = if sums { "column_sums" } else { "product" };
            let once =
                kernels.is_some_and(|kernels| matches!(&kernels[..], [one] if one.starts_with(kernel)));
            assert!(once, "{name}: gradient of {}", param.name);
        }
        assert!(writes.is_empty(), "{name}: gradients of no weight at {writes:?}");
    }
}

/// Dispatches by `kernel.entry`.
fn census(plan: &Plan) -> BTreeMap<String, usize> {
    let mut census = BTreeMap::new();
    plan.dispatches.iter().for_each(|dispatch| *census.entry(dispatch.name()).or_default() += 1);
    census
}

/// Per block: four products, which add the residuals, open the gates and turn q and k, two norms, of which those between
/// two nets add what the next one starts from, and attention; in reverse the same as forward and a product for each use
/// of a weight, attention in two dispatches; nothing for residuals, which alias.
fn every_dispatch_is_accounted_for() {
    let config = small(ArchName::Trm);
    let census = census(&training(&config, 3, Target::default()));
    let arch = &config.arch;
    let passes = arch.H_cycles * (arch.L_cycles + 1);
    let (all, recorded) = (passes * arch.L_layers, (arch.L_cycles + 1) * arch.L_layers);
    let found = |name: &str| census.get(name).copied().unwrap_or(0);
    for (name, count) in [
        ("product.turn", all),
        ("product.gate", all - recorded),
        ("product.gate_kept", recorded),
        ("product.ungate", recorded),
        // Forward, one of the logits; in reverse the input of o, and the first use of each weight.
        ("product.store", 1 + recorded + 1 + 4 * arch.L_layers + 2),
        // Forward, and one of q; in reverse the other inputs, and the further uses of weights.
        ("product.add", 2 * all + 1 + 2 * recorded + 1 + 4 * (recorded - arch.L_layers)),
        ("rms_norm.rows", 2 * all - (passes - 1)),
        ("rms_norm.rows_add", passes - 1),
        ("rms_norm.rows_reverse", 2 * recorded),
        // What the first net starts from, and the gradients that the question gets.
        ("sum.sum", 1 + usize::div_ceil(arch.L_cycles - 1, 3)),
        ("attention.forward", all),
        ("attention.reverse_queries", recorded),
        ("attention.reverse_keys", recorded),
        // The metric block, the weights' gradients and those of puzzle rows.
        ("finite.look", 3),
        ("finite.decide", 3),
        ("adam_atan2.update", 1),
        ("sign_sgd.update", 1),
        ("loss.train", 1),
        ("metrics.total", 1),
    ] {
        assert_eq!(found(name), count, "{name} in {census:?}");
    }
}

/// The error of laying one dispatch down.
fn refusal(lay: impl FnOnce(&mut Tape) -> Result<()>) -> String {
    let error = lay(&mut Tape::new(Target::default())).expect_err("a wrong dispatch is laid down");
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
    error.to_string()
}

/// A kernel whose shader has no constant for the elements of a binding is refused halves there, by name.
fn halves_without_a_variant_are_refused() {
    let mut tape = Tape::new(Target { precision: Element::Bf16, ..Target::default() });
    let (gradient, total) =
        (tape.buffer_of("g", Role::Gradient, 8, Element::Bf16), tape.tensor(Role::Gradient, 2));
    let error = column_sums(&mut tape, gradient, 4, 2, 1.0, total).expect_err("sums of halves are laid down");
    assert!(error.to_string().contains("has no variant for"), "{error}");
    assert!(error.to_string().contains("bf16"), "{error}");
}

/// Forward a mixer layer takes six dispatches and an attention layer seven, recorded or not; one sum stands before the
/// first.
fn a_layer_takes_few_dispatches() {
    for (recipe, each) in [("sudoku-mlp", 6), ("sudoku-att", 7), ("maze-hard", 7), ("arc1", 7)] {
        let arch = Recipe::load(recipe, &[]).unwrap().arch;
        let layers = arch.H_cycles * (arch.L_cycles + 1) * arch.L_layers;
        let config =
            ModelConfig { arch, vocab_size: 11, seq_len: 81, num_puzzle_identifiers: 1, identifiers: None };
        let target = TARGETS[0];
        for plan in [eval_plan(&config, 8, target).unwrap(), training(&config, 8, target)] {
            let forward = plan.dispatches.iter().filter(|one| one.pass != Pass::Reverse);
            let labelled = |part: &str| forward.clone().filter(|one| one.label.contains(part)).count();
            assert_eq!(labelled(".layers."), each * layers, "{recipe}");
            assert_eq!(labelled(" inputs"), 1, "{recipe}");
        }
    }
}

fn wrong_names_are_refused() {
    type Builder<'t> = trm::plan::DispatchBuilder<'t>;
    /// A call of `sum` with everything right but what `change` does to it.
    fn laid(tape: &mut Tape, skip: &str, change: fn(Builder<'_>) -> Builder<'_>) -> Result<()> {
        let (a, total) = (tape.buffer("a", Role::Activation, 8), tape.buffer("total", Role::Activation, 8));
        let mut call = tape.call(&sum::KERNEL, "sum");
        for name in ["a", "b", "c", "d"].into_iter().filter(|&name| name != skip) {
            call = call.bind(name, a);
        }
        let call = call.bind("total", total).count("count", 2);
        let call = if skip == "terms" { call } else { call.count("terms", 1) };
        change(call).threads(2).push()
    }
    let expect = |message: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    };
    laid(&mut Tape::new(Target::default()), "", |call| call).unwrap();
    expect(refusal(|tape| laid(tape, "c", |call| call)), &["kernel sum.sum", "binding c was not given"]);
    expect(
        refusal(|tape| laid(tape, "terms", |call| call)),
        &["kernel sum.sum", "parameter terms was not given"],
    );
    let extra = |tape: &mut Tape| laid(tape, "", |call| call.count("width", 3));
    expect(refusal(extra), &["kernel sum.sum", "no parameter width"]);
    let typed = |tape: &mut Tape| laid(tape, "terms", |call| call.float("terms", 1.0));
    expect(refusal(typed), &["kernel sum.sum", "parameter terms has the wrong type"]);
    let constant = |tape: &mut Tape| laid(tape, "", |call| call.constant("TILE", 3));
    expect(refusal(constant), &["kernel sum", "no constant TILE"]);
    let bound = |tape: &mut Tape| {
        let x = tape.buffer("x", Role::Activation, 8);
        tape.call(&sum::KERNEL, "sum").bind("e", x).push()
    };
    expect(refusal(bound), &["kernel sum.sum", "no binding e"]);
    expect(
        refusal(|tape| tape.call(&sum::KERNEL, "product").push()),
        &["kernel sum.product", "no such entry point"],
    );
}

fn unwritten_tensors_are_refused() {
    let mut tape = Tape::new(Target::default());
    let (known, unwritten) = (tape.buffer("known", Role::Activation, 8), tape.tensor(Role::Activation, 8));
    sum::sum(&mut tape, &[known, unwritten]).unwrap();
    let error = tape.finish().expect_err("a plan reads what nobody wrote");
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
    assert!(error.to_string().contains("sum.sum: reads b before anything wrote it"), "{error}");
}

/// Only a tensor that has no place yet moves into a part of a buffer, and only into one of its own size.
fn tensors_settle_where_they_fit() {
    let mut tape = Tape::new(Target::default());
    let (buffer, other) = (tape.buffer("b", Role::Gradient, 8), tape.tensor(Role::Gradient, 4));
    let total = sum::sum(&mut tape, &[buffer, buffer]).unwrap();
    tape.settle(total, other).expect_err("a tensor moves into another");
    tape.settle(other, buffer).expect_err("a tensor moves into a larger buffer");
    tape.settle(buffer, buffer).expect_err("a buffer moves");
    let out = tape.buffer("out", Role::Gradient, 8);
    tape.settle(total, out).unwrap();
    let plan = tape.finish().unwrap();
    assert_eq!(plan.dispatches[0].slices.last(), Some(&plan.view("out").unwrap()));
}

/// Shared memory that the device has not; what it has enough of is loaded.
fn kernels_past_the_device_are_refused() {
    let loaded = |shared_bytes| {
        let gpu = Gpu::noop(shared_bytes, 1 << 27, 1 << 28).unwrap();
        let plan = training(&small(ArchName::Trm), 1, TARGETS[2]);
        Run::new(&Device::gpu(Arc::new(gpu)), plan).map(drop)
    };
    loaded(2 * SHARED_BYTES).unwrap();
    match loaded(SHARED_BYTES) {
        Err(Error::Limit { what, needed, limit: 16_384, unit: "bytes", .. }) => {
            assert!(
                what.starts_with("shared memory of ") && needed >= Tile::LARGE.shared_bytes().into(),
                "{what}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Parameters are 32-bit words: what does not fit is refused, not cut.
fn counts_past_a_word_are_refused() {
    let mut tape = Tape::new(Target::default());
    let a = tape.buffer("a", Role::Activation, 8);
    let total = tape.buffer("total", Role::Activation, 8);
    let call = ["a", "b", "c", "d"]
        .into_iter()
        .fold(tape.call(&sum::KERNEL, "sum"), |call, name| call.bind(name, a));
    let laid = call.bind("total", total).count("terms", 1).count("count", 1 << 32).threads(2).push();
    let error = laid.expect_err("a count of 2^32 is laid down");
    assert!(matches!(error, Error::Limit { needed: 4_294_967_296, limit: 4_294_967_295, .. }), "{error}");
    assert!(error.to_string().contains("parameter count of sum.sum"), "{error}");
    // The batch that is too large, and the largest that is not, are named all the same.
    let plan_of = |batch: usize| train_plan(&small(ArchName::Trm), &optimiser(batch), batch, TARGETS[0]);
    let Err(error) = Run::of_batch(&noop(), 1 << 32, plan_of) else { panic!("2^32 samples fit") };
    assert!(error.to_string().contains("the largest batch that fits is "), "{error}");
}

/// A batch past the adapter's largest binding: the limit and the largest batch that fits are named.
fn binding_limits_are_named(device: &Device) -> std::result::Result<(), Failed> {
    let (info, target) = (device.info(), device.target());
    let (_, config) = recipes().find(|(name, _)| *name == "sudoku-att").ok_or("no recipe sudoku-att")?;
    let plan_of = |batch| train_plan(&config, &optimiser(batch), batch, target);
    let batch = 4096;
    let Err(error) = Run::of_batch(device, batch, plan_of) else { return Err("4,096 samples fit".into()) };
    let message = error.to_string();
    let Error::Limit { what, needed, limit, fix, .. } = error else { return Err(message.into()) };
    let named =
        what.contains(&info.name) && what.contains("binding") && Some(limit) == info.max_binding_bytes;
    let fits = fix.split_whitespace().find_map(|word| word.trim_end_matches(':').parse::<usize>().ok());
    let bytes = |batch| plan_of(batch).map(|plan| plan.largest_binding().0);
    let fits = fits.ok_or_else(|| format!("no batch is named in {message:?}"))?;
    let right = bytes(batch)? == needed && bytes(fits)? <= limit && bytes(fits + 1)? > limit;
    if named && right { Ok(()) } else { Err(format!("{message:?} for {info:?}").into()) }
}

/// A software adapter ends long loops silently: a product with a longer sum is refused there, and nowhere else.
fn long_sums_are_named(device: &Device) -> std::result::Result<(), Failed> {
    let (info, mut tape, k) = (device.info(), Tape::new(device.target()), 2_000_000);
    let [a, b] = ["a", "b"].map(|name| tape.buffer(name, Role::Activation, k));
    let c = tape.buffer("c", Role::Activation, 1);
    let (rows, column) = (Operand::rows_of(k), Operand::rows_of(1));
    let gemm = Gemm { m: 1, n: 1, k, batch: 1, reductions: 1, a: rows, b: column, purpose: Purpose::Forward };
    Product { gemm, over: Axis::Width, epilogue: Epilogue::Store }.push(&mut tape, a, b, c)?;
    match Run::new(device, tape.finish()?) {
        Err(Error::Limit { what, unit: "products", limit: 174_000, .. })
            if info.kind == "software" && what.contains("product") && what.contains(&info.name) =>
        {
            Ok(())
        }
        Ok(_) if info.kind != "software" => Ok(()),
        Ok(_) => Err("a product over 2,000,000 is loaded".into()),
        Err(error) => Err(error.into()),
    }
}
