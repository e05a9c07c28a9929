//! PyTorch's files: what torch wrote is read exactly, and what is no such model is named.
//! `fixtures/make_torch_fixtures.py` made the files with PyTorch.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use trm::checkpoint::{self, Card, Imported, PREFIXES};
use trm::data::Metadata;
use trm::engine::Element;
use trm::model::{Arch, ArchName, ModelConfig, Params, PosEncodings};
use trm::recipe::read_release_arch;

use crate::checkpoint::config;
use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 6] = [
        ("files_of_torch_are_read_exactly", files_of_torch_are_read_exactly),
        ("foreign_models_are_named", foreign_models_are_named),
        ("data_sets_must_fit", data_sets_must_fit),
        ("puzzle_embeddings_reset_to_their_mean", puzzle_embeddings_reset_to_their_mean),
        ("any_prefix_is_found", any_prefix_is_found),
        ("folders_of_others_are_read", folders_of_others_are_read),
    ];
    trials("checkpoint_torch", &tests)
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels-tests/fixtures").join(name)
}

/// The formula of `make_torch_fixtures.py`.
fn value(tensor: usize, element: usize) -> f32 {
    let word = (element as i64 * 40503 + (tensor as i64 + 1) * 30011) % 65536;
    (word - 32768) as f32 / 32768.0
}

pub fn mixer() -> Arch {
    config(ArchName::Trm, true, PosEncodings::None).arch
}

pub fn attention(pos_encodings: PosEncodings) -> Arch {
    config(ArchName::Trm, false, pos_encodings).arch
}

/// What a data set that fits the fixtures says.
pub fn metadata() -> Metadata {
    let text = r#"{"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 11, "seq_len": 9,
        "num_puzzle_identifiers": 5, "total_groups": 1, "mean_puzzle_examples": 1.0, "total_puzzles": 1,
        "sets": ["all"]}"#;
    serde_json::from_str(text).unwrap()
}

pub fn import(name: &str, arch: &Arch) -> trm::Result<Imported> {
    checkpoint::import_pytorch(&fixture(name), arch, Some(&metadata()), false)
}

/// A type's name and how it rounds.
type Rounding = (&'static str, fn(f32) -> f32);

fn files_of_torch_are_read_exactly() {
    let bf16: Rounding = ("BF16", |value| half::bf16::from_f32(value).to_f32());
    let f16: Rounding = ("F16", |value| half::f16::from_f32(value).to_f32());
    let cases: [(&str, Arch, &str, Rounding, &[&str]); 4] = [
        ("mixer_f32.pt", mixer(), PREFIXES[0], ("F32", |value| value), &[]),
        ("attention_bf16.pt", attention(PosEncodings::Rope), PREFIXES[1], bf16, &[]),
        ("attention_protocol_5.pt", attention(PosEncodings::Rope), "model.model.inner.", bf16, &[]),
        ("learned_f16_views.pt", attention(PosEncodings::Learned), "", f16, &["embed_pos.embedding_weight"]),
    ];
    for (file, arch, prefix, rounding, extra) in cases {
        let imported = import(file, &arch).unwrap();
        assert_eq!((imported.prefix.as_str(), imported.reset_from), (prefix, None), "{file}");
        let expected =
            ModelConfig { arch, vocab_size: 11, seq_len: 9, num_puzzle_identifiers: 5, identifiers: None };
        assert_eq!(imported.config, expected, "{file}");
        let params = Params::of(&imported.config);
        let fixed = ["H_init", "L_init", "embed_tokens.embedding_weight", "lm_head.weight", "q_head.weight"];
        let mut order: Vec<&str> = [&fixed[..], &["q_head.bias", "puzzle_emb.weights"], extra].concat();
        let block = params.table.iter().map(|param| param.name.as_str());
        order.extend(block.filter(|name| name.contains(".layers.")));
        assert_eq!((order.len(), imported.tensors.len()), (params.table.len(), params.table.len()), "{file}");
        for (tensor, name) in order.into_iter().enumerate() {
            let (dtype, round) = if name.ends_with("_init") { bf16 } else { rounding };
            let values = imported.weights.get(params.get(name).unwrap());
            let wrong = values.iter().enumerate().find(|&(at, found)| *found != round(value(tensor, at)));
            assert_eq!(wrong, None, "{file}: {name}");
            assert_eq!(imported.tensors[name].dtype, dtype, "{file}: {name}");
        }
    }
}

fn foreign_models_are_named() {
    let broken = |name: &str, arch: &Arch, parts: &[&str]| {
        refused(import(name, arch), &[&[name, ": tensor "], parts].concat());
    };
    broken("attention_bf16.pt", &mixer(), &["L_level.layers.0.mlp_t.down_proj.weight is missing"]);
    let qkv = "L_level.layers.0.self_attn.qkv_proj.weight is missing (2 of 11";
    broken("mixer_f32.pt", &attention(PosEncodings::Rope), &[qkv, "use the config"]);
    let deeper = Arch { L_layers: 2, ..mixer() };
    broken("mixer_f32.pt", &deeper, &["L_level.layers.1.mlp_t.gate_up_proj.weight is missing (4 of 15"]);
    let single = Arch { name: ArchName::TrmSinglez, ..mixer() };
    broken("mixer_f32.pt", &single, &["H_init is none of this model's"]);
    let wider = Arch { hidden_size: 32, ..mixer() };
    broken("mixer_f32.pt", &wider, &["embedding_weight has shape [11, 16], expected [11, 32]"]);
    let longer = Arch { puzzle_emb_len: 40, ..mixer() };
    broken("mixer_f32.pt", &longer, &["down_proj.weight has 11 rows, expected more than puzzle_emb_len 40"]);
    refused(
        import("other_model.pt", &mixer()),
        &["tensor weight, ..., expected embed_tokens.embedding_weight"],
    );
    let impossible = Arch { num_heads: 3000, ..mixer() };
    refused(import("mixer_f32.pt", &impossible), &["arch.num_heads: ", "are more than"]);
}

fn data_sets_must_fit() {
    let broken = |change: fn(&mut Metadata), parts: &[&str]| {
        let mut metadata = metadata();
        change(&mut metadata);
        let result = checkpoint::import_pytorch(&fixture("mixer_f32.pt"), &mixer(), Some(&metadata), false);
        refused(result, &[&["mixer_f32.pt: "], parts].concat());
    };
    broken(
        |metadata| metadata.vocab_size = 12,
        &["vocab_size 11, the data set 12", "use the config and data"],
    );
    broken(|metadata| metadata.seq_len = 81, &["seq_len 9, the data set 81"]);
    broken(
        |metadata| metadata.num_puzzle_identifiers = 7,
        &["5 rows", "7 identifiers; have the puzzle embeddings reset"],
    );
    let arch = attention(PosEncodings::Rope);
    let unknown = checkpoint::import_pytorch(&fixture("attention_bf16.pt"), &arch, None, false);
    refused(unknown, &["data: ", "is not given", "name the data set"]);
}

fn puzzle_embeddings_reset_to_their_mean() {
    let mut metadata = metadata();
    metadata.num_puzzle_identifiers = 7;
    let import = |metadata: &Metadata| {
        checkpoint::import_pytorch(&fixture("mixer_f32.pt"), &mixer(), Some(metadata), true).unwrap()
    };
    let reset = import(&metadata);
    assert_eq!((reset.reset_from, reset.config.num_puzzle_identifiers), (Some(5), 7));
    let rows = reset.weights.get(Params::of(&reset.config).get("puzzle_emb.weights").unwrap());
    for (at, found) in rows.iter().enumerate() {
        let column = (0..5).map(|row| f64::from(value(6, row * 8 + at % 8)));
        assert_eq!(*found, (column.sum::<f64>() / 5.0) as f32);
    }
    metadata.num_puzzle_identifiers = 5;
    let same = import(&metadata);
    assert_eq!(same.reset_from, None);
    assert_eq!(
        (&same.weights.trained, &same.weights.initial_states),
        (&reset.weights.trained, &reset.weights.initial_states)
    );
}

fn any_prefix_is_found() {
    let dir = folder();
    let path = dir.path().join("model.pt");
    let original = import("mixer_f32.pt", &mixer()).unwrap();
    for prefix in ["module.model.inner.", "inner.", "ema.model.inner.", "model.", "a.b.c."] {
        checkpoint::export_pytorch(&path, &original.config, &original.weights, prefix).unwrap();
        let imported = checkpoint::import_pytorch(&path, &mixer(), None, false).unwrap();
        assert_eq!((imported.prefix.as_str(), &imported.weights), (prefix, &original.weights));
        assert_eq!(imported.notes, [""; 0], "{prefix}");
    }
}

fn folders_of_others_are_read() {
    let dir = folder();
    let original = import("mixer_f32.pt", &mixer()).unwrap();
    let exported = dir.path().join("own");
    checkpoint::export_folder(&exported, &original.config, &original.weights, Element::F32, &Card::default())
        .unwrap();
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let bytes = fs::read(exported.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.tensors().into_iter().map(|(name, view)| (format!("model.inner.{name}"), view));
    safetensors::serialize_to_file(renamed, None, &theirs.join("model.safetensors")).unwrap();
    let hub = serde_json::json!({
        "model_type": "trm", "architectures": ["TRM"], "torch_dtype": "float32", "name": "my model",
        "hidden_size": 16, "num_heads": 2, "expansion": 4, "H_cycles": 2, "L_cycles": 2, "L_layers": 1, "mlp_t": true,
        "pos_encodings": null, "puzzle_emb_ndim": 8, "puzzle_emb_len": 2, "halt_max_steps": 4,
        "halt_exploration_prob": 0.1,
    });
    fs::write(theirs.join("config.json"), hub.to_string()).unwrap();
    let config = checkpoint::find_release_config(&theirs).unwrap();
    assert!(config.ends_with("config.json"));
    let arch = read_release_arch(&config).unwrap();
    let imported = checkpoint::import_pytorch(&theirs, &arch, None, false).unwrap();
    assert_eq!((imported.prefix.as_str(), imported.weights), ("model.inner.", original.weights));
    fs::copy(fixture("all_config.yaml"), theirs.join("all_config.yaml")).unwrap();
    let config = checkpoint::find_release_config(&theirs.join("model.safetensors")).unwrap();
    assert_eq!(read_release_arch(&config).unwrap(), arch);
    fs::write(&config, "{\"a\": 1}").unwrap();
    refused(read_release_arch(&config), &["has neither arch nor its keys"]);
}
