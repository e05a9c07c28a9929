//! PyTorch's files that hold more than a model, are broken, or would have code run.

use std::fs;
use std::io::Write;
use std::path::Path;

use libtest_mimic::Trial;
use trm::checkpoint::{self, PREFIXES};
use trm::model::PosEncodings;
use zip::write::SimpleFileOptions;

use crate::checkpoint_torch::{attention, fixture, import, metadata, mixer};
use crate::data::{folder, refused, trials};

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 3] = [
        ("code_is_refused_by_name", code_is_refused_by_name),
        ("broken_archives_are_named", broken_archives_are_named),
        ("state_dicts_beside_other_values_are_read", state_dicts_beside_other_values_are_read),
    ];
    trials("checkpoint_foreign", &tests)
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
