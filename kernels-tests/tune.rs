//! Tuning: candidates that disagree or do not fit are dropped, choices keep, and foreign or broken ones do no harm.

use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use trm::bench::Subject;
use trm::engine::{Device, DeviceInfo, select};
use trm::plan::{Element, Matrices, MatrixTile, PerPurpose, Purpose, Target, Tile, Tiles};
use trm::recipe::Recipe;
use trm::tune::{Cache, Cached, Candidate, Choice, Key, Outcome, Trial as Work, measure, plain, tune};

use crate::harness::{Needs, on_each, on_gpu};
use crate::models::{small, small_mixer};

type Verdict = Result<(), Failed>;
type DeviceTest = (&'static str, fn(&Device) -> Verdict);
type HostTest = (&'static str, fn() -> Verdict);

/// All tests of this file.
pub fn tests() -> Vec<Trial> {
    let both: [DeviceTest; 3] = [
        ("tune::what_was_measured_in_time_counts", out_of_time),
        ("tune::all_variants_agree", all_variants_agree),
        ("tune::what_disagrees_is_dropped", wrong_is_dropped),
    ];
    let host: [HostTest; 6] = [
        ("tune::choices_keep", choices_keep),
        ("tune::broken_files_do_no_harm", broken_files),
        ("tune::foreign_files_do_no_harm", foreign_files),
        ("tune::units_are_asked_for", units_are_asked_for),
        ("tune::tiles_have_names", tiles_have_names),
        ("tune::tiles_that_fit_stay", tiles_fit),
    ];
    let both = both.into_iter().flat_map(|(name, test)| on_each(name, Needs::Adapter, test));
    let host = host.into_iter().map(|(name, test)| Trial::test(name, test));
    let limits = on_gpu("tune::what_does_not_fit_is_dropped".into(), Needs::Adapter, unfitting_is_dropped);
    let names = on_gpu("tune::ways_are_named_by_what_they_do".into(), Needs::Adapter, |_| named_by_tiles());
    both.chain(host).chain([limits, names]).collect()
}

fn check(ok: bool, message: impl FnOnce() -> String) -> Verdict {
    if ok { Ok(()) } else { Err(message().into()) }
}

fn subject(config: trm::model::ModelConfig) -> Result<Subject, Failed> {
    let settings = Recipe::load("tiny-sudoku4", &[])?.train;
    Ok(Subject { name: "small".into(), config, settings, batch: 3 })
}

/// Every question is asked, every candidate that fits agrees, and one answer each is chosen.
fn all_variants_agree(device: &Device) -> Verdict {
    for config in [small(trm::model::ArchName::Trm), small_mixer()] {
        let mut trials = Vec::new();
        let tuned = tune(device, &subject(config)?, 1, LONG, |trial| trials.push(trial.to_owned()))?;
        let asked = |trial: &str| trials.iter().any(|asked| asked == trial);
        check(asked("products, reverse") && asked("products, weight gradients"), || format!("{trials:?}"))?;
        for one in &tuned.outcomes {
            let fits = one.dropped.as_ref().is_none_or(|reason| reason.contains("shared memory"));
            check(fits, || format!("{one:?}"))?;
        }
        for trial in trials {
            let of: Vec<&Outcome> = tuned.outcomes.iter().filter(|one| one.trial == trial).collect();
            let chosen = of.iter().filter(|one| one.chosen).count();
            check(chosen == 1, || format!("{trial}: {of:?}"))?;
        }
    }
    Ok(())
}

/// Time for all candidates.
const LONG: Duration = Duration::from_secs(600);

/// Without time, the defaults are measured and stay.
fn out_of_time(device: &Device) -> Verdict {
    let tuned = tune(device, &subject(small_mixer())?, 1, Duration::ZERO, |_| {})?;
    check(tuned.tiles == device.target().tiles, || format!("{tuned:?}"))?;
    let (timed, dropped): (Vec<_>, Vec<_>) = tuned.outcomes.iter().partition(|one| one.seconds.is_some());
    let honest =
        dropped.iter().all(|one| one.dropped.as_ref().is_some_and(|why| why.contains("more seconds")));
    check(timed.len() == 3 && honest, || format!("{tuned:?}"))
}

/// Halves round: an error of 1e-6, ten thousand times the bound of a device in f32.
fn wrong_is_dropped(device: &Device) -> Verdict {
    let subject = subject(small_mixer())?;
    let own = device.target();
    let wrong = Candidate { name: "rounded".into(), target: Target { precision: Element::Bf16, ..own } };
    let right = Candidate { name: "own".into(), target: own };
    let outcomes = measure(device, &Work::products(&subject, Purpose::Forward), &[right, wrong], 1, LONG)?;
    let [right, wrong] = &outcomes[..] else { return Err(format!("{outcomes:?}").into()) };
    check(right.dropped.is_none() && right.ratio == Some(1.0), || format!("{right:?}"))?;
    let reason = wrong.dropped.as_deref().unwrap_or("kept");
    check(reason.contains("disagrees"), || reason.to_owned())?;
    check(wrong.seconds.is_none() && !wrong.chosen, || format!("{wrong:?}"))
}

fn unfitting_is_dropped(device: &Device) -> Verdict {
    let subject = subject(small_mixer())?;
    let target = Target { tiles: Tiles::all(Tile::LARGE, 0), shared_bytes: 16_384, ..device.target() };
    let large = Candidate { name: "large".into(), target };
    let outcomes = measure(device, &Work::products(&subject, Purpose::Forward), &[large], 1, LONG)?;
    let reason = outcomes[0].dropped.as_deref().unwrap_or("kept");
    check(reason == "needs 16896 bytes of shared memory, the limit is 16384", || reason.to_owned())
}

/// Where products of few workgroups take the small tile, small products are called by the tile that would be kept and
/// by the one that they take, others that come to the same are skipped, and the choice of the default stays.
fn named_by_tiles() -> Verdict {
    let subject = subject(small_mixer())?;
    let few = Tiles::all(Tile::LARGE, 128);
    for (tiles, expected) in [(few, ["tiled 64x64"]), (Tiles::all(Tile::LARGE, 0), ["tiled 128x128"])] {
        for precision in [Element::F32, Element::Bf16] {
            let target = Target { tiles, precision, shared_bytes: 32_768, ..Target::default() };
            let taken = Work::kernels_of_products(&subject, Purpose::Reverse, target)?;
            check(taken == expected, || format!("{tiles:?}, {precision}: {taken:?}"))?;
        }
    }
    let (device, _) = select("gpu")?;
    device.adopt(few);
    if device.target().tiles != few {
        return Ok(());
    }
    let tuned = tune(&device, &subject, 1, LONG, |_| {})?;
    let mut products = tuned.outcomes.iter().filter(|one| one.trial.starts_with("products"));
    let honest = products.all(|one| one.variant == "tiled 128x128 (here tiled 64x64)");
    let same =
        "products, forward, tiled 64x128: at these shapes the same as tiled 128x128 (here tiled 64x64)";
    check(tuned.skipped.iter().any(|one| one == same), || format!("{tuned:?}"))?;
    let kept = tuned.tiles.tiled;
    let same = [kept.forward, kept.reverse, kept.weight_gradient] == [Tile::LARGE; 3];
    check(honest && same, || format!("{tuned:?}"))
}

fn info(driver: &str) -> DeviceInfo {
    DeviceInfo {
        index: Some(0),
        name: "Some GPU (1)".into(),
        vendor: 1,
        kind: "discrete".into(),
        backend: "vulkan".into(),
        driver: driver.into(),
        memory_bytes: None,
        max_binding_bytes: None,
        max_buffer_bytes: None,
        max_shared_bytes: None,
        features: Vec::new(),
    }
}

fn choice(key: Key) -> Choice {
    let tiles = Tiles::all(Tile::LARGE, 128);
    Choice { key, recipe: "sudoku-mlp".into(), batch: 8, seq_len: 81, vocab_size: 11, tiles }
}

/// A choice comes back as it was, for its adapter, driver and precision only.
fn choices_keep() -> Verdict {
    let folder = tempfile::tempdir()?;
    let cache = Cache::at(&folder.path().join("not yet there"));
    let key = Key::of(&info("driver 1"), Element::F32);
    check(cache.load(&key) == Cached::Nothing, || "something before tuning".into())?;
    let path = cache.store(&choice(key.clone()))?;
    let text = fs::read_to_string(&path)?;
    check(text.contains("adapter = \"Some GPU (1)\"") && text.contains("forward = \"128x128\""), || {
        text.clone()
    })?;
    check(cache.load(&key) == Cached::Tuned(Box::new(choice(key.clone()))), || text.clone())?;
    for other in [Key::of(&info("driver 2"), Element::F32), Key::of(&info("driver 1"), Element::Bf16)] {
        check(cache.load(&other) == Cached::Nothing, || format!("{other:?} was never tuned"))?;
    }
    Ok(())
}

fn unusable(cache: &Cache, key: &Key, path: &Path, expected: &str) -> Verdict {
    match cache.load(key) {
        Cached::Unusable(problem) => {
            let file = path.display().to_string();
            let named =
                [expected, &file, "trm tune", "`no_tune_cache`"].iter().all(|part| problem.contains(part));
            check(named && problem.lines().count() == 1, || format!("\"{expected}\" is not in: {problem}"))
        }
        other => Err(format!("{expected}: {other:?}").into()),
    }
}

fn broken_files() -> Verdict {
    let folder = tempfile::tempdir()?;
    let cache = Cache::at(folder.path());
    let key = Key::of(&info("driver"), Element::F32);
    let path = cache.store(&choice(key.clone()))?;
    let text = fs::read_to_string(&path)?;
    for (broken, expected) in [
        (String::new(), "missing field"),
        ("\u{0}garbage".into(), "is no tune file"),
        (text[..text.len() / 2].to_owned(), "is no tune file"),
        (text.replace("128x128", "96x96"), "96x96 is none of the tiles"),
        (text.replace("small_below =", "attention ="), "unknown field"),
        (text.replace("small_below = 128", "small_below = true"), "invalid type"),
    ] {
        fs::write(&path, broken)?;
        unusable(&cache, &key, &path, expected)?;
    }
    fs::write(&path, [0xff, 0xfe])?;
    unusable(&cache, &key, &path, "UTF-8")
}

fn foreign_files() -> Verdict {
    let folder = tempfile::tempdir()?;
    let cache = Cache::at(folder.path());
    let key = Key::of(&info("driver 2"), Element::F32);
    let foreign = [
        (
            Key { driver: "driver 1".into(), ..key.clone() },
            "for the driver \"driver 1\", not for \"driver 2\"",
        ),
        (Key { adapter: "Another".into(), ..key.clone() }, "for the adapter \"Another\""),
        (Key { kernels: "00000000".into(), ..key.clone() }, "for the kernels with checksum \"00000000\""),
        (Key { precision: Element::F16, ..key.clone() }, "for the precision \"f16\", not for \"f32\""),
    ];
    for (other, expected) in foreign {
        let written = cache.store(&choice(other))?;
        let path = cache.path(&key);
        if written != path {
            fs::rename(written, &path)?;
        }
        unusable(&cache, &key, &path, expected)?;
    }
    Ok(())
}

fn tiles_have_names() -> Verdict {
    for tile in Tile::ALL {
        let name = format!("{}x{}", tile.height(), tile.width());
        check(tile.name() == name && name.parse() == Ok(tile), || name.clone())?;
    }
    check("64x96".parse::<Tile>().is_err(), || "64x96 is no tile".into())
}

/// On matrix units, tiles of these are a question of their own, and the choice is of both kinds.
fn units_are_asked_for() -> Verdict {
    let mut subject = subject(small_mixer())?;
    subject.config.arch.hidden_size = 64;
    let own = Target { precision: Element::F16, matrices: Some(Matrices::default()), ..Target::default() };
    for (tile, expected) in [(MatrixTile::Large, "units 4x4"), (MatrixTile::Small, "units 2x2")] {
        let tiles = Tiles { matrices: PerPurpose::all(tile, 0), ..Tiles::default() };
        let target = Target { tiles, shared_bytes: 48 << 10, ..own };
        let taken = Work::kernels_of_products(&subject, Purpose::Forward, target)?;
        check(taken.contains(&expected.to_owned()), || format!("{tile:?}: {taken:?}"))?;
        // They are held against other kernels than themselves.
        for purpose in Purpose::ALL {
            let plain = Work::kernels_of_products(&subject, purpose, plain(target))?;
            check(plain == ["tiled 64x64"], || format!("{purpose:?}: {plain:?}"))?;
        }
    }
    let device = Device::cpu().in_precision(Element::F16).on_matrices(Matrices::default());
    let tuned = tune(&device, &subject, 1, LONG, |_| {})?;
    // Of so few workgroups, all come to the small one.
    let named = |name: &str| tuned.skipped.iter().any(|one| one.contains(name));
    check(named("units 4x4: at these shapes the same as") && named("units 2x2"), || format!("{tuned:?}"))
}

/// Where shared memory is short, the tiles that fit stay.
fn tiles_fit() -> Verdict {
    let with_one = |others| {
        let tiles = Tiles::all(others, 128);
        Tiles { tiled: tiles.tiled.with(Purpose::Forward, Tile::ALL[1]), ..tiles }
    };
    let tiles = with_one(Tile::LARGE);
    let fitting = tiles.fitting(16_384);
    check(fitting == with_one(Tile::SMALL), || format!("{fitting:?}"))?;
    check(tiles.fitting(32_768) == tiles, || "all of them fit".into())
}
