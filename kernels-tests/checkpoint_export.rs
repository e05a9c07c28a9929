//! What trm writes for PyTorch's world: it reads back exactly, here and by torch.

use std::fs;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use trm::checkpoint::{self, Card, PREFIXES};
use trm::data::Metadata;
use trm::engine::Element;
use trm::model::{ArchName, PosEncodings};
use trm::recipe::read_release_arch;

use crate::checkpoint::{config, configs, weights};
use crate::checkpoint_torch::{fixture, import, metadata, mixer};
use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 2] = [
        ("exports_read_back_exactly", exports_read_back_exactly),
        ("an_exported_folder_is_whole", an_exported_folder_is_whole),
    ];
    let python = std::env::var("TRM_TORCH_PYTHON").unwrap_or("python3".into());
    let looks = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)";
    let found = Command::new(&python).args(["-c", looks]).status().is_ok_and(|status| status.success());
    let round_trip =
        Trial::test("checkpoint_export::torch_reads_exports", move || torch_reads_exports(&python));
    let mut all = trials("checkpoint_export", &tests);
    all.push(round_trip.with_ignored_flag(!found));
    all
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
