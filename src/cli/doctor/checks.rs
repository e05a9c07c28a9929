//! What `trm doctor` looks at, one thing each.

use std::path::{Path, PathBuf};

use super::super::solve::Solved;
use super::Finding;
use crate::checkpoint::Shipped;
use crate::cli::with_options;
use crate::data::pasted::{Reader, kind_of};
use crate::engine::{Device, DeviceInfo, free_memory};
use crate::eval::golden::Golden;
use crate::eval::verify::verify;
use crate::eval::{Question, Solver};
use crate::text::BinaryBytes;
use crate::tune::{Cache, Cached, Key};
use crate::version::COMMIT;
use crate::{Error, Result, files};

/// Memory with which even small models are short of room.
const LITTLE_MEMORY: u64 = 1 << 30;
/// Room on a disk below which a run, with its checkpoints, fills it soon; and what large runs need.
const LITTLE_DISK: u64 = 1 << 30;
const LARGE_RUNS: u64 = 20 << 30;
/// Models that are compared with the published one: one with a mixer, one with attention.
const COMPARED: [&str; 2] = ["trm_mlp", "trm_att"];
/// A puzzle that asks for some thought.
const PUZZLE: &str = "12....1.4......3";

/// Version and commit.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    if COMMIT.is_empty() { version.to_owned() } else { format!("{version} ({COMMIT})") }
}

/// An error where there should be none.
pub fn failed(what: &'static str, error: &Error) -> Finding {
    let fix = "update the driver, or give --device cpu; if it stays, it is a defect of trm";
    Finding::wrong(what, with_options(&error.to_string()), fix)
}

/// Which GPUs there are, with what bounds them.
pub fn gpus(devices: &[DeviceInfo]) -> Finding {
    const DRIVER: &str = "where there is a GPU, install its driver: on Linux that of NVIDIA, or mesa-vulkan-drivers; \
                          \"vulkaninfo --summary\" shows what programs see";
    let hardware: Vec<String> = devices.iter().filter(|info| info.is_hardware()).map(described).collect();
    let software = devices.iter().find(|info| info.kind == "software");
    match (hardware.is_empty(), software) {
        (false, _) => Finding::ok("GPU", hardware.join("; ")),
        (true, Some(info)) => {
            let found = format!("none but {} in software: the CPU engine is faster", info.name);
            Finding::note("GPU", found, DRIVER)
        }
        (true, None) => Finding::note("GPU", "none was found: the CPU engine computes", DRIVER),
    }
}

fn described(info: &DeviceInfo) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), |bytes| BinaryBytes(bytes).to_string());
    let DeviceInfo { name, backend, driver, .. } = info;
    let (memory, binding) = (bytes(info.memory_bytes), bytes(info.max_binding_bytes));
    format!("{name} ({backend}, {driver}), memory {memory}, largest binding {binding}")
}

/// Whether the CPU engine has a thread for each processor, and all of it.
pub fn threads() -> Finding {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = rayon::current_num_threads();
    let found = format!("{threads} for {processors} processors");
    if threads != processors {
        return Finding::note("threads", found, "leave out --threads, and unset RAYON_NUM_THREADS");
    }
    match busy() {
        Some(others) if others > processors as f64 / 2.0 => {
            let fix = "times below are longer for it: look again when they have ended";
            Finding::note("threads", format!("{found}, where {others:.1} others are at work"), fix)
        }
        _ => Finding::ok("threads", found),
    }
}

/// Threads of all programs that worked or waited in the last minute, on average, where the system tells.
fn busy() -> Option<f64> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    load.split_whitespace().next()?.parse().ok()
}

/// What the machine, a container and the shell leave.
pub fn memory() -> Finding {
    match free_memory() {
        None => Finding::ok("memory", "the system does not tell how much is free"),
        Some(bytes) if bytes < LITTLE_MEMORY => {
            let fix = "end other programs, or raise the container's or the shell's limit";
            Finding::wrong("memory", format!("{} free", BinaryBytes(bytes)), fix)
        }
        Some(bytes) => Finding::ok("memory", format!("{} free", BinaryBytes(bytes))),
    }
}

/// The folder where runs are written unless named otherwise, and that of "trm tune".
pub fn disks() -> Vec<Finding> {
    let cache = Cache::of_user().map(|cache| cache.folder().to_path_buf());
    let places = [("disk", Some(PathBuf::from("."))), ("cache", cache)];
    places.into_iter().filter_map(|(what, place)| Some(disk(what, &place?))).collect()
}

fn disk(what: &'static str, folder: &Path) -> Finding {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let name = folder.display();
    if files::obstacle(&there.join("trm-doctor")).is_some() {
        return Finding::wrong(
            what,
            format!("{name} takes no files"),
            "give it rights to write, or another folder",
        );
    }
    let Some(bytes) = files::free_bytes(folder) else {
        return Finding::ok(what, format!("{name} takes files"));
    };
    let found = format!("{name}: {} free", BinaryBytes(bytes));
    match bytes {
        0..LITTLE_DISK => Finding::wrong(what, found, "make room, or work on another disk"),
        LITTLE_DISK..LARGE_RUNS if what == "disk" => {
            let fix = "enough for Sudoku and mazes; data and checkpoints of ARC take tens of GB";
            Finding::note(what, found, fix)
        }
        _ => Finding::ok(what, found),
    }
}

/// What is computed on, and whether it was tuned.
pub fn device(device: &Device) -> Finding {
    let (info, storage) = (device.info(), device.storage());
    let found = format!("{}, {storage}", info.name);
    if !info.is_hardware() {
        return Finding::ok("device", found);
    }
    match Cache::of_user().map(|cache| cache.load(&Key::of(&info, device.target().precision))) {
        Some(Cached::Tuned(choice)) => {
            Finding::ok("device", format!("{found}, tuned at {}", choice.measured()))
        }
        Some(Cached::Unusable(problem)) => Finding::note("device", found, with_options(&problem)),
        _ => Finding::note("device", format!("{found}, not tuned"), "\"trm tune\" may make it faster"),
    }
}

/// Whether two training steps of small models come out as published.
pub fn agreement(device: &Device) -> Finding {
    let measured = || {
        let all = Golden::built_in()?;
        let vectors: Vec<Golden> =
            all.into_iter().filter(|golden| COMPARED.contains(&golden.name.as_str())).collect();
        verify(device, device.target(), &vectors, |_| {})
    };
    match measured() {
        Ok(report) if report.ok => {
            let names: Vec<&str> = report.cases.iter().map(|case| case.name.as_str()).collect();
            Finding::ok("verify", format!("{} compute what the published model does", names.join(", ")))
        }
        Ok(_) => {
            let fix =
                "do not trust its results: update the driver, or give --device cpu; \"trm verify\" says more";
            Finding::wrong("verify", "the device computes something else than the published model", fix)
        }
        Err(error) => failed("verify", &error),
    }
}

/// Whether a model that comes with trm solves a puzzle.
pub fn solving(device: &Device) -> Finding {
    match solved(device) {
        Ok(None) => Finding::ok("solve", format!("{PUZZLE} is solved")),
        Ok(Some(fault)) => {
            let fix = "update the driver, or give --device cpu; \"trm verify\" says more";
            Finding::wrong("solve", format!("{PUZZLE} is not solved: the answer {fault}"), fix)
        }
        Err(error) => failed("solve", &error),
    }
}

/// What keeps the answer from being right.
fn solved(device: &Device) -> Result<Option<String>> {
    let given = || {
        let shipped = Shipped::of(kind_of(PUZZLE)?)?;
        let (cells, tokens) = shipped.sizes();
        let found = Reader::of_sizes(cells, tokens)?.line(1, PUZZLE).pop()?;
        Some((shipped, found.puzzle.ok()?))
    };
    let missing = || Error::usage("solve", "no model for it comes with this trm", "install trm again");
    let (shipped, puzzle) = given().ok_or_else(missing)?;
    let (config, weights) = shipped.load()?;
    let solutions = Solver::new(&config, &weights, device, 1)?.solve_all(&[Question::from(&puzzle)])?;
    let solved = solutions.first().map(|solution| Solved::of(&puzzle, solution));
    Ok(solved.ok_or_else(missing)?.fault().map(str::to_owned))
}
