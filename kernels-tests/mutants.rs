//! Deliberate mistakes that the tests must see, and a walk over the registry that finds what is not tested.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use trm::engine::Device;
use trm::ops;
use trm::plan::{Interface, Kernel, Plan};
use trm::{Error, Result};

use crate::KERNELS;
use crate::data::trials;
use crate::harness::{KernelTests, Mutant, on_gpu, plan, run};

/// One test per mutant, and the walks.
pub fn tests() -> Vec<Trial> {
    let walks: [(&str, fn()); 3] = [
        ("every_kernel_has_tests_and_mutants", every_kernel_has_tests_and_mutants),
        ("every_entry_point_has_a_twin_and_a_test", every_entry_point_has_a_twin_and_a_test),
        ("every_shader_is_registered_and_explained", every_shader_is_registered_and_explained),
    ];
    let mutants = KERNELS.iter().flat_map(|tests| tests.mutants.iter().map(move |mutant| (tests, mutant)));
    let caught = mutants.map(|(tests, mutant)| {
        let name = format!("mutants::{}::{}", tests.kernel.name, mutant.name);
        on_gpu(name, tests.needs, move |device| is_caught(device, tests, mutant))
    });
    caught.chain(trials("mutants", &walks)).collect()
}

/// A mutant is caught when it compiles and some expectation of its kernel's tests is not met.
fn is_caught(device: &Device, tests: &KernelTests, mutant: &Mutant) -> std::result::Result<(), Failed> {
    let mutated = mutated(tests.kernel, mutant)?;
    for (_, test) in tests.tests {
        if !run(device, *test, |plan| replace(plan, mutated))?.is_empty() {
            return Ok(());
        }
    }
    Err(format!("no test of {} notices that it {}", tests.kernel.name, mutant.name.replace('_', " ")).into())
}

/// The kernel with the mistake in its text. Imports are resolved first, so that a mistake can sit in `lib/`, too.
fn mutated(kernel: &'static Kernel, mutant: &Mutant) -> Result<&'static Kernel> {
    let text = kernel.text(&[])?;
    if !text.contains(mutant.from) || mutant.from == mutant.to {
        return Err(Error::kernel(
            kernel.name,
            format!("mutant {} changes nothing in its text", mutant.name),
        ));
    }
    let source = Box::leak(text.replacen(mutant.from, mutant.to, 1).into_boxed_str());
    Ok(Box::leak(Box::new(Kernel { name: kernel.name, source, entries: kernel.entries })))
}

/// Points the plan's dispatches of a kernel to the mutant, which must keep the interface.
fn replace(plan: &mut Plan, mutant: &'static Kernel) -> Result<()> {
    for dispatch in plan.dispatches.iter_mut().filter(|dispatch| dispatch.kernel.name == mutant.name) {
        let interface = mutant.interface(dispatch.entry.name, &dispatch.constants)?;
        let slots = |interface: &Interface| interface.bindings.iter().map(|b| b.slot).collect::<Vec<u32>>();
        if slots(&interface) != slots(&dispatch.interface) {
            return Err(Error::kernel(dispatch.name(), "the mutant uses other bindings"));
        }
        (dispatch.kernel, dispatch.interface) = (mutant, Arc::new(interface));
    }
    Ok(())
}

/// The files of a folder of the repository with this extension, by their stems.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn every_kernel_has_tests_and_mutants() {
    let files = stems("kernels-tests", "rs");
    for kernel in ops::KERNELS {
        let name = kernel.name;
        let tests = KERNELS.iter().find(|tests| tests.kernel.name == name);
        let tests = tests.unwrap_or_else(|| panic!("kernel {name} has no line in kernels-tests/main.rs"));
        assert!(files.contains(name), "kernel {name} has no file kernels-tests/{name}.rs");
        assert!(!tests.mutants.is_empty(), "kernel {name} has no mutant");
        for mutant in tests.mutants {
            mutated(kernel, mutant).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert_eq!(KERNELS.len(), ops::KERNELS.len(), "a kernel is tested but not registered");
}

fn every_entry_point_has_a_twin_and_a_test() {
    for tests in KERNELS {
        let kernel = tests.kernel;
        let text = kernel.text(&[]).unwrap();
        let after_compute = text.split("@compute").skip(1);
        let points = after_compute.map(|rest| rest.split_once("fn ").unwrap().1.split_once('(').unwrap().0);
        let points: BTreeSet<&str> = points.collect();
        let twins: BTreeSet<&str> = kernel.entries.iter().map(|entry| entry.name).collect();
        assert_eq!(points, twins, "entry points of {} in WGSL and their twins", kernel.name);
        let plans = tests.tests.iter().map(|(_, test)| plan(*test).unwrap());
        let used: BTreeSet<&str> = plans
            .flat_map(|plan| plan.dispatches)
            .filter(|dispatch| dispatch.kernel.name == kernel.name)
            .map(|dispatch| dispatch.entry.name)
            .collect();
        assert_eq!(points, used, "entry points of {} and those that a test runs", kernel.name);
    }
}

fn every_shader_is_registered_and_explained() {
    let registered: BTreeSet<String> = ops::KERNELS.iter().map(|kernel| kernel.name.to_owned()).collect();
    assert_eq!(registered, stems("shaders", "wgsl"), "kernels in the registry and files in shaders/");
    for kernel in ops::KERNELS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shaders/{}.wgsl", kernel.name));
        assert_eq!(
            kernel.source,
            std::fs::read_to_string(path).unwrap(),
            "{}: not its own file",
            kernel.name
        );
        let opening = kernel.source.lines().map_while(|line| line.strip_prefix("// "));
        let opening = opening.collect::<Vec<&str>>().join(" ").to_lowercase();
        for (what, signs) in [
            ("its formula", ["=", "->"].as_slice()),
            ("its shapes", &["(b, ", "(rows, ", "(outer, ", "(m, ", "length", "shape"]),
            ("what a thread or a workgroup owns", &[" owns ", " own ", "per workgroup"]),
            ("its numerics", &["f32", "f64", "exact"]),
        ] {
            let said = signs.iter().any(|sign| opening.contains(sign));
            assert!(said, "shaders/{}.wgsl: its first lines do not say {what}", kernel.name);
        }
    }
}
