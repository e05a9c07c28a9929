//! The native store and the state of a run: exact round trips, and every bad file by its message.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use trm::checkpoint::{self, STATE_FILE, State, WEIGHTS_FILE};
use trm::data::SamplerState;
use trm::model::init::Weights;
use trm::model::params::Home;
use trm::model::{Arch, ArchName, ModelConfig, Params, PosEncodings};

use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 8] = [
        ("weights_read_back_exactly", weights_read_back_exactly),
        ("the_same_weights_give_the_same_file", the_same_weights_give_the_same_file),
        ("half_precision_weights_become_f32", half_precision_weights_become_f32),
        ("broken_weights_are_named", broken_weights_are_named),
        ("broken_configs_are_named", broken_configs_are_named),
        ("a_state_reads_back_bit_for_bit", a_state_reads_back_bit_for_bit),
        ("foreign_states_are_refused", foreign_states_are_refused),
        ("a_flipped_bit_is_noticed", a_flipped_bit_is_noticed),
    ];
    trials("checkpoint", &tests)
}

/// A small model of the given kind; D 16, S 9, V 11, 5 identifiers of width 8.
pub fn config(name: ArchName, mlp_t: bool, pos_encodings: PosEncodings) -> ModelConfig {
    let arch = Arch {
        name,
        hidden_size: 16,
        num_heads: 2,
        expansion: 4.0,
        H_layers: 1,
        L_layers: 1,
        H_cycles: 2,
        L_cycles: 2,
        mlp_t,
        pos_encodings,
        puzzle_emb_ndim: 8,
        puzzle_emb_len: 2,
        rms_norm_eps: 1e-5,
        rope_theta: 10000.0,
        halt_max_steps: 4,
        halt_exploration_prob: 0.1,
        no_ACT_continue: true,
        random_init: 0.0,
        damping: 0.0,
        noise: 0.0,
    };
    ModelConfig { arch, vocab_size: 11, seq_len: 9, num_puzzle_identifiers: 5, identifiers: None }
}

/// Models that between them have every kind of tensor.
pub fn configs() -> [ModelConfig; 5] {
    let mut no_embedding = config(ArchName::TrmSinglez, false, PosEncodings::Rope);
    (no_embedding.arch.puzzle_emb_ndim, no_embedding.arch.puzzle_emb_len) = (0, 0);
    [
        config(ArchName::Trm, true, PosEncodings::None),
        config(ArchName::Trm, false, PosEncodings::Learned),
        config(ArchName::Hrm, false, PosEncodings::Rope),
        config(ArchName::TrmHier6, false, PosEncodings::Rope),
        no_embedding,
    ]
}

/// Fresh weights whose puzzle embeddings are not all zero.
pub fn weights(config: &ModelConfig) -> Weights {
    let mut weights = Weights::fresh(config, 7);
    for param in Params::of(config).table.iter().filter(|param| param.home == Home::PuzzleEmb) {
        let values = weights.get_mut(param).iter_mut().enumerate();
        values.for_each(|(at, value)| *value = 0.1 + at as f32 / 3.0);
    }
    weights
}

fn weights_read_back_exactly() {
    for config in configs() {
        let (dir, saved) = (folder(), weights(&config));
        let out = dir.path().join("runs/first");
        checkpoint::save(&out, &config, &saved).unwrap();
        assert_eq!(checkpoint::load(&out).unwrap(), (config.clone(), saved.clone()));
        assert_eq!(checkpoint::load(&out.join(WEIGHTS_FILE)).unwrap(), (config, saved));
    }
}

fn the_same_weights_give_the_same_file() {
    let config = config(ArchName::Hrm, false, PosEncodings::Rope);
    let (first, second) = (folder(), folder());
    for dir in [&first, &second] {
        checkpoint::save(dir.path(), &config, &weights(&config)).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
    let read = |dir: &tempfile::TempDir| fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
    assert_eq!(read(&first), read(&second));
}

/// One tensor of a file as the safetensors library takes it.
struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Saves a model, lets `change` alter its tensors and writes them back with the library's own writer.
fn tampered(dir: &Path, change: impl FnOnce(&mut BTreeMap<String, Raw>)) {
    let config = config(ArchName::Trm, true, PosEncodings::None);
    checkpoint::save(dir, &config, &weights(&config)).unwrap();
    let path = dir.join(WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let raw = |(name, view): (String, TensorView<'_>)| {
        let raw = Raw { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
        (name, raw)
    };
    let mut tensors: BTreeMap<String, Raw> = tensors.tensors().into_iter().map(raw).collect();
    change(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, raw)| (name, TensorView::new(raw.dtype, raw.shape.clone(), &raw.bytes).unwrap()));
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn half_precision_weights_become_f32() {
    let dir = folder();
    tampered(dir.path(), |tensors| {
        let words = |values: &[f32], narrow: fn(f32) -> u16| -> Vec<u8> {
            values.iter().flat_map(|value| narrow(*value).to_le_bytes()).collect()
        };
        let init: Vec<f32> = (0..16).map(|at| at as f32 - 7.5).collect();
        for (name, dtype, narrow) in [
            ("H_init", Dtype::BF16, (|value| half::bf16::from_f32(value).to_bits()) as fn(f32) -> u16),
            ("L_init", Dtype::F16, |value| half::f16::from_f32(value).to_bits()),
        ] {
            tensors.insert(name.into(), Raw { dtype, shape: vec![16], bytes: words(&init, narrow) });
        }
    });
    let (config, weights) = checkpoint::load(dir.path()).unwrap();
    for name in ["H_init", "L_init"] {
        let values = weights.get(Params::of(&config).get(name).unwrap());
        assert!(values.iter().enumerate().all(|(at, value)| *value == at as f32 - 7.5), "{name} {values:?}");
    }
}

fn broken_weights_are_named() {
    let broken = |change: fn(&mut BTreeMap<String, Raw>), parts: &[&str]| {
        let dir = folder();
        tampered(dir.path(), change);
        refused(checkpoint::load(dir.path()), &[&["model.safetensors: tensor "], parts].concat());
    };
    broken(|tensors| drop(tensors.remove("lm_head.weight")), &["lm_head.weight", "missing (1 of 11"]);
    fn extra() -> Raw {
        Raw { dtype: Dtype::F32, shape: vec![1], bytes: vec![0; 4] }
    }
    broken(|tensors| drop(tensors.insert("z_H".into(), extra())), &["z_H", "none of this model's"]);
    broken(
        |tensors| tensors.get_mut("lm_head.weight").unwrap().shape.reverse(),
        &["lm_head.weight", "shape [16, 11], expected [11, 16]", "; use the config"],
    );
    broken(
        |tensors| tensors.get_mut("H_init").unwrap().dtype = Dtype::I32,
        &["H_init holds I32, expected F32, BF16 or F16"],
    );
    broken(
        |tensors| tensors.get_mut("q_head.bias").unwrap().bytes[4..].copy_from_slice(&[0, 0, 0x80, 0x7F]),
        &["q_head.bias", "element 1 is inf", "finite"],
    );

    let dir = folder();
    tampered(dir.path(), |_| {});
    let path = dir.path().join(WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        refused(checkpoint::load(dir.path()), &["model.safetensors: ", "cut short"]);
    }
    fs::remove_file(&path).unwrap();
    refused(checkpoint::load(dir.path()), &["model.safetensors: no such file", "config.json"]);
    refused(checkpoint::load(&dir.path().join("absent")), &["absent: no such file"]);
}

fn broken_configs_are_named() {
    let dir = folder();
    tampered(dir.path(), |_| {});
    let path = dir.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    let broken = |from: &str, to: &str, parts: &[&str]| {
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        refused(checkpoint::load(dir.path()), &[&["config.json: "], parts].concat());
    };
    broken("\"vocab_size\": 11", "\"vocab_size\": 0", &["vocab_size is 0"]);
    broken("\"num_heads\": 2", "\"num_heads\": 3000", &["arch.num_heads", "are more than"]);
    broken("\"hidden_size\": 16", "\"hidden_size\": 1000000000000", &["arch.hidden_size", "at most"]);
    broken("\"L_layers\": 1", "\"L_layers\": 1000000000000", &["arch.L_layers", "at most"]);
    broken("\"expansion\": 4.0", "\"expansion\": 1e300", &["arch.expansion", "at most"]);
    broken("\"mlp_t\"", "\"mlp\"", &["unknown field `mlp`"]);
    fs::write(&path, &text[..text.len() - 4]).unwrap();
    refused(checkpoint::load(dir.path()), &["config.json: ", "EOF", "config.json of these weights"]);
    fs::remove_file(&path).unwrap();
    refused(checkpoint::load(dir.path()), &["config.json: no such file", "beside them"]);
}

fn state() -> State {
    let buffer = |words: u32| (0..words).map(|word| word.wrapping_mul(0x9E37_79B9)).collect::<Vec<u32>>();
    // Bits that arithmetic would not keep: a signalling NaN and a negative zero.
    let odd = vec![0x7F80_0001, 0x8000_0000, 0xFFFF_FFFF];
    let buffers = [("weights", buffer(70)), ("ema", odd), ("carry.halted", buffer(3)), ("empty", vec![])];
    State {
        step: u64::MAX,
        sampler: SamplerState { iteration: 3, groups_taken: 5, choices: 1 << 60 },
        config: ModelConfig {
            arch: Arch { rms_norm_eps: 0.1 + 0.2, ..config(ArchName::Trm, false, PosEncodings::Rope).arch },
            ..config(ArchName::Trm, false, PosEncodings::Rope)
        },
        batch: 3,
        data: Some("5 groups, 5 examples, checksum 0a".into()),
        lr_halvings: 2,
        buffers: buffers.into_iter().map(|(name, words)| (name.to_owned(), words)).collect(),
    }
}

fn a_state_reads_back_bit_for_bit() {
    let (dir, saved) = (folder(), state());
    let out = dir.path().join(STATE_FILE);
    checkpoint::save_state(&out, &saved).unwrap();
    assert_eq!(checkpoint::load_state(&out).unwrap(), saved);
    let buffers = [("weights", 70), ("ema", 3), ("carry.halted", 3), ("empty", 0)];
    saved.check(&out, &saved.config, 3, "5 groups, 5 examples, checksum 0a", buffers).unwrap();
    let older = State { data: None, lr_halvings: 0, ..saved };
    checkpoint::save_state(&out, &older).unwrap();
    assert_eq!(checkpoint::load_state(&out).unwrap(), older);
    older.check(&out, &older.config, 3, "any", buffers).unwrap();
}

fn foreign_states_are_refused() {
    let (dir, state) = (folder(), state());
    let path = dir.path().join(STATE_FILE);
    checkpoint::save_state(&path, &state).unwrap();
    let buffers = [("weights", 70), ("ema", 3), ("carry.halted", 3), ("empty", 0)];
    let check = |config: &ModelConfig, batch, buffers: &[(&str, usize)], parts: &[&str]| {
        let data = "5 groups, 5 examples, checksum 0a";
        let result = state.check(&path, config, batch, data, buffers.iter().copied());
        refused(result, &[&["state.safetensors: "], parts].concat());
    };
    let mut other = state.config.clone();
    other.arch.H_cycles = 9;
    check(&other, 3, &buffers, &["saved with arch.H_cycles = 2, expected 9", "start a new run"]);
    check(&state.config, 4, &buffers, &["saved with a batch of 3, expected 4"]);
    let other = state.check(&path, &state.config, 3, "6 groups", buffers);
    refused(
        other,
        &["state.safetensors: saved with a data set of 5 groups", "has 6 groups", "from its weights"],
    );
    check(&state.config, 3, &buffers[1..], &["buffer weights is none of this run's"]);
    check(&state.config, 3, &[&buffers[..], &[("new", 1)]].concat(), &["buffer new is missing"]);
    check(&state.config, 3, &[("weights", 71)], &["buffer weights has 70 words, expected 71"]);

    let bytes = fs::read(&path).unwrap();
    fs::write(&path, of_format_2(&bytes)).unwrap();
    refused(checkpoint::load_state(&path), &["format 2, this trm reads format 1"]);
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    refused(checkpoint::load_state(&path), &["state.safetensors: ", "cut short"]);
    tampered(dir.path(), |_| {});
    fs::copy(dir.path().join(WEIGHTS_FILE), &path).unwrap();
    refused(checkpoint::load_state(&path), &["lacks trm_state"]);
    fs::remove_file(&path).unwrap();
    refused(checkpoint::load_state(&path), &["state.safetensors: no such file"]);
}

/// A state as another version would write it, whose header has no checksum.
fn of_format_2(bytes: &[u8]) -> Vec<u8> {
    let (length, metadata) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let text = &metadata.metadata().as_ref().unwrap()["trm_state"];
    let header =
        serde_json::json!({ "__metadata__": { "trm_state": text.replace("\"format\":1", "\"format\":2") } });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    assert!(length > header.len());
    [(header.len() as u64).to_le_bytes().to_vec(), header].concat()
}

/// A bit of each byte of a small state, and one of a model: what comes back is the same, or the file is named.
fn a_flipped_bit_is_noticed() {
    let (dir, saved) = (folder(), state());
    let path = dir.path().join(STATE_FILE);
    checkpoint::save_state(&path, &saved).unwrap();
    let bytes = fs::read(&path).unwrap();
    let data_at = bytes.len() - 4 * (70 + 3 + 3);
    let mut silent = 0;
    for bit in (0..bytes.len()).map(|at| 8 * at + at % 8) {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &changed).unwrap();
        match checkpoint::load_state(&path) {
            Ok(found) => {
                assert!(bit / 8 < data_at, "bit {bit} of the data");
                assert_eq!(found, saved, "bit {bit}");
                silent += 1;
            }
            Err(error) => assert!(error.to_string().contains("state.safetensors: "), "{error}"),
        }
    }
    // Of the header, names that nobody asks for and white space may change.
    assert!(silent < 200, "{silent} of {data_at} bytes");

    let config = config(ArchName::Trm, true, PosEncodings::None);
    checkpoint::save(dir.path(), &config, &weights(&config)).unwrap();
    let path = dir.path().join(WEIGHTS_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last - 2] ^= 1;
    fs::write(&path, &bytes).unwrap();
    refused(
        checkpoint::load(dir.path()),
        &["model.safetensors: tensor ", "is damaged", "; the disk or a copy"],
    );
}
