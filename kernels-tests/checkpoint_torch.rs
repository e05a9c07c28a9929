//! PyTorch's files: what torch wrote is read exactly, what trm writes is read by torch, and everything else is
//! refused by name. `fixtures/make_torch_fixtures.py` made the files with PyTorch.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use trm::checkpoint::{self, Card, Imported, PREFIXES};
use trm::data::Metadata;
use trm::engine::Element;
use trm::model::{Arch, ArchName, ModelConfig, Params, PosEncodings};
use trm::recipe::{Recipe, read_release_arch};
use zip::write::SimpleFileOptions;

use crate::checkpoint::{config, configs, weights};
use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 15] = [
        ("files_of_torch_are_read_exactly", files_of_torch_are_read_exactly),
        ("release_configs_are_read", release_configs_are_read),
        ("broken_release_configs_are_named", broken_release_configs_are_named),
        ("foreign_models_are_named", foreign_models_are_named),
        ("data_sets_must_fit", data_sets_must_fit),
        ("puzzle_embeddings_reset_to_their_mean", puzzle_embeddings_reset_to_their_mean),
        ("code_is_refused_by_name", code_is_refused_by_name),
        ("broken_archives_are_named", broken_archives_are_named),
        ("any_prefix_is_found", any_prefix_is_found),
        ("state_dicts_beside_other_values_are_read", state_dicts_beside_other_values_are_read),
        ("folders_of_others_are_read", folders_of_others_are_read),
        ("configs_are_read_as_hydra_resolves_them", configs_are_read_as_hydra_resolves_them),
        ("a_config_of_the_release_is_a_recipe", a_config_of_the_release_is_a_recipe),
        ("exports_read_back_exactly", exports_read_back_exactly),
        ("an_exported_folder_is_whole", an_exported_folder_is_whole),
    ];
    let python = std::env::var("TRM_TORCH_PYTHON").unwrap_or("python3".into());
    let looks = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)";
    let found = Command::new(&python).args(["-c", looks]).status().is_ok_and(|status| status.success());
    let round_trip =
        Trial::test("checkpoint_torch::torch_reads_exports", move || torch_reads_exports(&python));
    let mut all = trials("checkpoint_torch", &tests);
    all.push(round_trip.with_ignored_flag(!found));
    all
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels-tests/fixtures").join(name)
}

/// The formula of `make_torch_fixtures.py`.
fn value(tensor: usize, element: usize) -> f32 {
    let word = (element as i64 * 40503 + (tensor as i64 + 1) * 30011) % 65536;
    (word - 32768) as f32 / 32768.0
}

fn mixer() -> Arch {
    config(ArchName::Trm, true, PosEncodings::None).arch
}

fn attention(pos_encodings: PosEncodings) -> Arch {
    config(ArchName::Trm, false, pos_encodings).arch
}

/// What a data set that fits the fixtures says.
fn metadata() -> Metadata {
    let text = r#"{"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 11, "seq_len": 9,
        "num_puzzle_identifiers": 5, "total_groups": 1, "mean_puzzle_examples": 1.0, "total_puzzles": 1,
        "sets": ["all"]}"#;
    serde_json::from_str(text).unwrap()
}

fn import(name: &str, arch: &Arch) -> trm::Result<Imported> {
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

fn release_configs_are_read() {
    let path = fixture("all_config.yaml");
    let arch = read_release_arch(&path).unwrap();
    assert_eq!(arch, Arch { H_layers: 0, ..mixer() });
    // The mixer's tensors tell all sizes: no data set is needed.
    let imported = checkpoint::import_pytorch(&fixture("mixer_f32.pt"), &arch, None, false).unwrap();
    assert_eq!(imported.config, ModelConfig { arch, ..config(ArchName::Trm, true, PosEncodings::None) });

    let dir = folder();
    let path = dir.path().join("all_config.yaml");
    let transformer = "arch:\n  name: recursive_reasoning.transformers_baseline@Model_ACTV2\n  H_cycles: 1\n  \
        H_layers: 8\n  hidden_size: 512\n  num_heads: 8\n  expansion: 4.0\n  halt_max_steps: 16\n  \
        halt_exploration_prob: 0.1\n  pos_encodings: rope\n  puzzle_emb_ndim: 512\n";
    fs::write(&path, transformer).unwrap();
    let arch = read_release_arch(&path).unwrap();
    assert_eq!((arch.name, arch.H_layers, arch.puzzle_emb_len), (ArchName::Transformer, 8, 0));
    assert_eq!((arch.rms_norm_eps, arch.rope_theta, arch.mlp_t), (1e-5, 10000.0, false));
}

fn broken_release_configs_are_named() {
    let dir = folder();
    let path = dir.path().join("all_config.yaml");
    let text = fs::read_to_string(fixture("all_config.yaml")).unwrap();
    let broken = |from: &str, to: &str, parts: &[&str]| {
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
        refused(read_release_arch(&path), &[&["all_config.yaml: "], parts].concat());
    };
    broken("mlp_t: true", "mlp_t: true\n  adaptive_depth: true", &["unknown field", "adaptive_depth"]);
    broken("  L_cycles: 2\n", "", &["arch.L_cycles is missing"]);
    broken("  num_heads: 2\n", "", &["missing field", "num_heads"]);
    broken("num_heads: 2", "num_heads: two", &["line 17", "or a recipe"]);
    broken("num_heads: 2", "num_heads: 3000", &["arch.num_heads", "are more than"]);
    broken("recursive_reasoning.trm@", "recursive_reasoning.srm@", &["srm", "is no model trm knows"]);
    broken("arch:\n", "arch: [\n", &["all_config.yaml of the authors' release"]);
    refused(read_release_arch(&dir.path().join("absent")), &["absent: "]);
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

/// An archive like torch.save's around `pickle`.
fn archive(path: &Path, pickle: &[u8]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in [("archive/data.pkl", pickle), ("archive/version", b"3\n")] {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

fn code_is_refused_by_name() {
    let refused_call =
        |name: &str| refused(import(name, &mixer()), &["asks to run posix.system", "nothing was run"]);
    refused_call("attack.pt");
    refused_call("attack_protocol_4.pt");

    let dir = folder();
    let path = dir.path().join("model.pt");
    let pickles: [(&[u8], &str); 12] = [
        (b"cos\nsystem\n(S'true'\ntR.", "asks to run os.system"),
        // The call's result is dropped and an innocent dict returned.
        (b"\x80\x02cbuiltins\nexec\nX\x01\0\0\0x\x85R0}.", "asks to run builtins.exec"),
        (b"(S'true'\nios\nsystem\n.", "instruction 0x53"),
        (b"(ios\nsystem\n.", "asks to run os.system"),
        // The module and the name come from the memo, in the other order, or from no string at all.
        (b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94h\x01h\0\x93.", "asks to run os.system"),
        (b"\x80\x04\x8c\x02osq\x07\x8c\x06systemq\x09h\x07h\x09\x93.", "asks to run os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x01s\x8c\x05ystem\x86\x93.", "computes the name of a function"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06systemq\x05\x93.", "in two ways"),
        (b"\x80\x04\x8c\x05torchq\0Nq\0h\0\x8c\x0cFloatStorage\x93.", "computes the name"),
        (b"\x80\x02ctorch.hub\nload\n.", "asks to run torch.hub.load"),
        (b"\x80\x02co\x1b[2Js\nsystem\n.", "asks to run o\\u{1b}[2Js.system"),
        (b"\x80\x02X\xff\xff\xff\x7fabc", "is cut short"),
    ];
    for (pickle, part) in pickles {
        archive(&path, pickle);
        let result = checkpoint::import_pytorch(&path, &mixer(), None, false);
        refused(result, &["model.pt: archive/data.pkl ", part, "do not trust this file"]);
    }
    archive(&path, b"\x80\x02}.");
    refused(
        checkpoint::import_pytorch(&path, &mixer(), None, false),
        &["model.pt: no tensor at all, expected"],
    );
    archive(&path, b"\x80\x02N.");
    refused(checkpoint::import_pytorch(&path, &mixer(), None, false), &["model.pt: ", "dictionary"]);
}

fn broken_archives_are_named() {
    refused(import("compressed.pt", &mixer()), &["compressed.pt: entry ", "torch.save compresses nothing"]);
    refused(
        import("not_zip.pt", &mixer()),
        &["not_zip.pt: is of the format that torch.save wrote before PyTorch 1.6", "save it again"],
    );
    refused(import("absent.pt", &mixer()), &["absent.pt: "]);

    let dir = folder();
    let path = dir.path().join("model.pt");
    let import = || checkpoint::import_pytorch(&path, &mixer(), None, false);
    let bytes = fs::read(fixture("mixer_f32.pt")).unwrap();
    for length in [0, 3, 1000, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        refused(import(), &["model.pt: is cut short or no zip archive"]);
    }
    // One bit of a tensor: every storage has its checksum.
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&path, &flipped).unwrap();
    refused(import(), &["model.pt: tensor", "fetch the file again"]);
    // Whatever byte is wrong, of the names and sizes at both ends above all: weights or one line come out.
    let bytes = fs::read(fixture("attention_bf16.pt")).unwrap();
    let ends = (0..1300).step_by(3).chain((bytes.len() - 1800..bytes.len()).step_by(3));
    for at in (0..bytes.len()).step_by(997).chain(ends) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0xFF;
        fs::write(&path, &flipped).unwrap();
        let arch = attention(PosEncodings::Rope);
        if let Err(error) = checkpoint::import_pytorch(&path, &arch, Some(&metadata()), false) {
            assert!(!error.to_string().contains('\n'), "byte {at}: {error}");
        }
    }
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

/// The file `name` with other pickle code before and after that of its state dict.
fn rewrap(name: &str, path: &Path, before: &[u8], after: &[u8]) {
    let mut source = zip::ZipArchive::new(fs::File::open(fixture(name)).unwrap()).unwrap();
    let mut target = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for index in 0..source.len() {
        let mut entry = source.by_index(index).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        let entry_name = entry.name().unwrap().into_owned();
        if entry_name.ends_with("data.pkl") {
            let body = bytes.strip_prefix(b"\x80\x02").unwrap().strip_suffix(b".").unwrap();
            bytes = [b"\x80\x02", before, body, after, b"."].concat();
        }
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        target.start_file(entry_name, options).unwrap();
        target.write_all(&bytes).unwrap();
    }
    target.finish().unwrap();
}

/// Pickle code of a text.
fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn state_dicts_beside_other_values_are_read() {
    let dir = folder();
    let path = dir.path().join("model.pt");
    let original = import("mixer_f32.pt", &mixer()).unwrap();
    // {"step": 5, "model_state_dict": {...}, "optimizer_states": [{}], "rng_state": <numpy>, "config": <object>}
    let before = [b"}(", &text("step")[..], b"K\x05", &text("model_state_dict")].concat();
    let state = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85X\x01\0\0\0b\x87R";
    let config = b"c__main__\nTrainConfig\n)\x81}X\x02\0\0\0lrK\x01sb";
    let parts: [&[u8]; 7] =
        [&text("optimizer_states"), b"]}a", &text("rng_state"), state, &text("config"), config, b"u"];
    rewrap("mixer_f32.pt", &path, &before, &parts.concat());
    let imported = checkpoint::import_pytorch(&path, &mixer(), None, false).unwrap();
    assert_eq!(imported.weights, original.weights);
    assert_eq!(imported.prefix, format!("model_state_dict.{}", PREFIXES[0]));
    let notes = imported.notes.join("\n");
    assert!(notes.contains("beside the weights: config, optimizer_states, rng_state, step"), "{notes}");
    let foreign =
        "neither run nor read: __main__.TrainConfig, numpy.core.multiarray._reconstruct, numpy.ndarray";
    assert!(notes.contains(foreign), "{notes}");
    // What runs programs is refused as before, wherever it stands.
    let attack = [&text("x")[..], b"cos\nsystem\nX\x04\0\0\0true\x85Ru"].concat();
    rewrap("mixer_f32.pt", &path, &before, &attack);
    refused(checkpoint::import_pytorch(&path, &mixer(), None, false), &["asks to run os.system"]);
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

fn configs_are_read_as_hydra_resolves_them() {
    let dir = folder();
    let path = dir.path().join("all_config.yaml");
    let whole = fs::read_to_string(fixture("all_config.yaml")).unwrap();
    let read = |change: &[(&str, &str)]| {
        let text = change.iter().fold(whole.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        fs::write(&path, text).unwrap();
        read_release_arch(&path)
    };
    let original = read(&[]).unwrap();
    assert_eq!(read(&[("pos_encodings: none", "pos_encodings: null")]).unwrap(), original);
    assert_eq!(
        read(&[("hidden_size: 16", "hidden_size: 16\n  batch_size: 768\n  seq_len: 81")]).unwrap(),
        original
    );
    assert_eq!(read(&[("  mlp_t: true\n", "")]).unwrap(), Arch { mlp_t: false, ..original.clone() });
    let wide = Arch { puzzle_emb_ndim: 16, ..original };
    for reference in ["${.hidden_size}", "${arch.hidden_size}", "${..arch.hidden_size}", "'${.hidden_size}'"]
    {
        let ndim = format!("puzzle_emb_ndim: {reference}");
        assert_eq!(read(&[("puzzle_emb_ndim: 8", &ndim)]).unwrap(), wide, "{reference}");
    }
    for reference in ["${.width}", "${oc.env:HOME}", "${.puzzle_emb_ndim}", "${....x}", "${arch}"] {
        let ndim = format!("puzzle_emb_ndim: {reference}");
        refused(
            read(&[("puzzle_emb_ndim: 8", &ndim)]),
            &["arch.puzzle_emb_ndim: ", reference, "leads to no value"],
        );
    }
    // A file of the keys of arch alone, as Hydra's groups are.
    let arch = whole
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| format!("{}\n", &line[2..]));
    let group: String =
        arch.collect::<String>().replace("puzzle_emb_ndim: 8", "puzzle_emb_ndim: ${.hidden_size}");
    fs::write(&path, group).unwrap();
    assert_eq!(read_release_arch(&path).unwrap(), wide);
}

fn a_config_of_the_release_is_a_recipe() {
    let recipe =
        Recipe::load(&fixture("all_config.yaml").display().to_string(), &["train.lr=2e-4".into()]).unwrap();
    assert_eq!(recipe.arch, read_release_arch(&fixture("all_config.yaml")).unwrap());
    let train = &recipe.train;
    assert_eq!((train.global_batch_size, train.epochs, train.eval_interval), (768, 50000, 5000));
    assert_eq!((train.lr, train.puzzle_emb_lr, train.weight_decay, train.beta2), (2e-4, 1e-4, 1.0, 0.95));
    assert_eq!((train.ema, train.ema_rate, train.lr_warmup_steps, train.seed), (true, 0.999, 2000, 0));
    let dir = folder();
    let path = dir.path().join("my.yaml");
    let broken = |from: &str, to: &str, parts: &[&str]| {
        let text = fs::read_to_string(fixture("all_config.yaml")).unwrap().replace(from, to);
        fs::write(&path, text).unwrap();
        refused(Recipe::load(&path.display().to_string(), &[]), parts);
    };
    broken("\nlr: 0.0001", "", &["my.yaml: lr is missing"]);
    broken("\nlr: 0.0001", "\nlr: fast", &["my.yaml: lr is \"fast\", expected a number"]);
    broken("stablemax_", "softmax_", &["my.yaml: arch.loss.loss_type is softmax_cross_entropy"]);
    broken("epochs: 50000", "epochs: 7", &["train.eval_interval: 5000 does not divide"]);
}

fn exports_read_back_exactly() {
    let dir = folder();
    let path = dir.path().join("model.pt");
    for (config, prefix) in configs().into_iter().zip(PREFIXES.into_iter().cycle()) {
        let saved = weights(&config);
        checkpoint::export_pytorch(&path, &config, &saved, prefix).unwrap();
        let first = fs::read(&path).unwrap();
        let mut metadata = metadata();
        metadata.num_puzzle_identifiers = config.num_puzzle_identifiers;
        let read = checkpoint::import_pytorch(&path, &config.arch, Some(&metadata), false).unwrap();
        assert_eq!((&read.config, &read.weights, read.prefix.as_str()), (&config, &saved, prefix));
        checkpoint::export_pytorch(&path, &config, &saved, prefix).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first, "the same weights give the same file");
    }
    // What was imported as bf16 goes out as bf16.
    let imported = import("mixer_f32.pt", &mixer()).unwrap();
    checkpoint::export_pytorch(&path, &imported.config, &imported.weights, PREFIXES[0]).unwrap();
    let again = checkpoint::import_pytorch(&path, &mixer(), None, false).unwrap();
    assert_eq!((&again.weights, again.tensors), (&imported.weights, imported.tensors));
    let absent = dir.path().join("absent/model.pt");
    let result = checkpoint::export_pytorch(&absent, &imported.config, &again.weights, "");
    refused(result, &["absent/model.pt: "]);
}

fn an_exported_folder_is_whole() {
    let dir = folder();
    let out = dir.path().join("hub/model");
    let config = config(ArchName::Trm, true, PosEncodings::None);
    let card = Card {
        name: "tiny: mixer".into(),
        dataset: "own \"4x4\" puzzles".into(),
        metrics: vec![("exact_accuracy".into(), 0.875), ("accuracy".into(), 0.96875)],
    };
    checkpoint::export_folder(&out, &config, &weights(&config), Element::F32, &card).unwrap();
    assert_eq!(checkpoint::load(&out).unwrap(), (config.clone(), weights(&config)));
    assert_eq!(read_release_arch(&out.join("config.json")).unwrap(), config.arch);
    let text = fs::read_to_string(out.join("README.md")).unwrap();
    for part in
        ["# tiny: mixer\n", "| exact_accuracy | 0.875 |", "5 x 8 puzzle embeddings", "model.safetensors"]
    {
        assert!(text.contains(part), "{text}");
    }
    #[derive(serde::Deserialize)]
    struct Front {
        #[serde(rename = "model-index")]
        models: Vec<std::collections::BTreeMap<String, serde::de::IgnoredAny>>,
    }
    let front: Front = serde_saphyr::from_str(text.split("---\n").nth(1).unwrap()).unwrap();
    assert_eq!(front.models.len(), 1);
    refused(
        checkpoint::export_folder(&out, &config, &weights(&config), Element::F32, &card),
        &["exists and is not empty"],
    );
    let bare = dir.path().join("bare");
    checkpoint::export_folder(&bare, &config, &weights(&config), Element::F32, &Card::default()).unwrap();
    assert!(!fs::read_to_string(bare.join("README.md")).unwrap().contains("model-index"));
}

/// Torch loads what trm exports, puts it into a module as the release does, and saves it; nothing has changed.
fn torch_reads_exports(python: &str) -> Result<(), Failed> {
    let dir = folder();
    let path = |name: &str, at: usize| dir.path().join(format!("{name}{at}.pt"));
    let cases: Vec<_> = configs().into_iter().zip(PREFIXES.into_iter().cycle()).enumerate().collect();
    let mut script = Command::new(python);
    script.arg(fixture("torch_round_trip.py"));
    for (at, (config, prefix)) in &cases {
        checkpoint::export_pytorch(&path("exported", *at), config, &weights(config), prefix)?;
        script.args([path("exported", *at), path("saved", *at)]).arg(prefix);
    }
    let run = script.output()?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned().into());
    }
    for (at, (config, prefix)) in cases {
        let metadata = Metadata { num_puzzle_identifiers: config.num_puzzle_identifiers, ..metadata() };
        let read = checkpoint::import_pytorch(&path("saved", at), &config.arch, Some(&metadata), false)?;
        assert_eq!((&read.config, &read.weights, read.prefix.as_str()), (&config, &weights(&config), prefix));
    }
    Ok(())
}
