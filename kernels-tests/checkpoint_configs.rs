//! The configs beside PyTorch's files: read as the release reads them, and broken ones named.

use std::fs;

use libtest_mimic::Trial;
use trm::checkpoint::{self};
use trm::model::{Arch, ArchName, ModelConfig, PosEncodings};
use trm::recipe::{Recipe, read_release_arch};

use crate::checkpoint::config;
use crate::checkpoint_torch::{fixture, mixer};
use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 4] = [
        ("release_configs_are_read", release_configs_are_read),
        ("broken_release_configs_are_named", broken_release_configs_are_named),
        ("configs_are_read_as_hydra_resolves_them", configs_are_read_as_hydra_resolves_them),
        ("a_config_of_the_release_is_a_recipe", a_config_of_the_release_is_a_recipe),
    ];
    trials("checkpoint_configs", &tests)
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
