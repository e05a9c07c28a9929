//! What RADV's compiler makes of the kernels: registers, spills, occupancy, estimated throughput and the mix of
//! instructions in the hot loop. Deterministic for one driver version, so a baseline of it can be kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::radv::{Executable, NullDevice, manifest};
use super::variants::Variant;
use crate::{Error, Result};

/// The variable that makes RADV offer a GPU that is not there.
const FAMILY: &str = "RADV_FORCE_FAMILY";

/// Mesa 26 has no such variable: there, this library plays the kernel driver of the GPU that [`SHIM_GPU`] names.
const SHIM: &str = "libamdgpu_noop_drm_shim.so";
const SHIM_GPU: &str = "AMDGPU_GPU_ID";
const PRELOAD: &str = "LD_PRELOAD";
const LIBRARIES: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// The variable that tells Vulkan's loader which drivers to load.
const DRIVERS: &str = "VK_ICD_FILENAMES";

/// The GPUs that RADV has names for, the oldest first; each version of Mesa knows some of them.
const GPUS: &str = "tahiti pitcairn verde oland hainan bonaire kaveri kabini hawaii tonga iceland carrizo fiji stoney \
    polaris10 polaris11 polaris12 vegam vega10 vega12 vega20 raven raven2 renoir mi100 mi200 gfx940 navi10 \
    navi12 navi14 navi21 navi22 navi23 navi24 vangogh rembrandt raphael_mendocino gfx1030 gfx1036 gfx1100 \
    gfx1101 gfx1102 gfx1103_r1 gfx1103_r2 navi31 navi32 navi33 phoenix phoenix2 gfx1150 gfx1151 gfx1152 \
    gfx1153 gfx1200 gfx1201 navi44 navi48";

/// Variants compiled by one driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Isa {
    /// Driver name and version.
    pub driver: String,
    /// One for each variant and GPU.
    pub compiled: Vec<Compiled>,
    /// Variants that the driver cannot compile for a GPU, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// One variant on one GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compiled {
    /// The GPU, with the driver's name for it: `navi21`, `gfx1100`.
    pub isa: String,
    /// `kernel.entry[constants]`.
    pub kernel: String,
    /// Vector registers of a thread.
    pub vgprs: u64,
    /// Scalar registers of a subgroup.
    pub sgprs: u64,
    /// Registers that went to memory, vector and scalar.
    pub spills: u64,
    /// Shared memory of a workgroup.
    pub lds_bytes: u64,
    /// Subgroups that a SIMD unit can hold at once.
    pub subgroups_per_simd: u64,
    /// Bytes of machine code.
    pub code_bytes: u64,
    /// Instructions.
    pub instructions: u64,
    /// The compiler's estimate of cycles between two subgroups, each loop taken as a fixed number of rounds; smaller
    /// is faster.
    pub inverse_throughput: u64,
    /// The compiler's estimate of the cycles of one subgroup.
    pub latency: u64,
    /// The hot loop.
    pub hot_loop: Mix,
}

/// Instructions of the loop with the most multiply-adds, loops inside it left out; of everything where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// Vector arithmetic; a dual-issued pair counts as two.
    pub vector: u64,
    /// The multiply-adds, dot products and matrix products among it.
    pub multiply_add: u64,
    /// Loads and stores of memory.
    pub memory: u64,
    /// Loads and stores of shared memory.
    pub shared: u64,
    /// Scalar instructions, branches and waits.
    pub scalar: u64,
}

impl Mix {
    /// Multiply-adds among the vector instructions, 0 to 1.
    pub fn share(&self) -> f64 {
        self.multiply_add as f64 / self.vector.max(1) as f64
    }

    fn of(lines: &[&str]) -> Mix {
        let mut mix = Mix::default();
        for instruction in lines.iter().flat_map(|line| line.split("::")) {
            let name = instruction.split_whitespace().next().unwrap_or("");
            match name.split_once('_').map_or("", |(unit, _)| unit) {
                "v" => {
                    mix.vector += 1;
                    mix.multiply_add += u64::from(is_multiply_add(name));
                }
                "buffer" | "global" | "flat" | "scratch" => mix.memory += 1,
                "ds" => mix.shared += 1,
                "s" => mix.scalar += 1,
                _ => {}
            }
        }
        mix
    }
}

fn is_multiply_add(name: &str) -> bool {
    let name = name.strip_prefix("v_").unwrap_or(name);
    let name = name.strip_prefix("dual_").or(name.strip_prefix("pk_")).unwrap_or(name);
    ["fma", "mac_f", "mad_f", "dot", "wmma", "mfma"].iter().any(|kind| name.starts_with(kind))
}

impl Compiled {
    fn of(isa: &str, variant: &Variant, executable: &Executable) -> Compiled {
        let count = |name: &str| executable.statistics.get(name).copied().unwrap_or(0.0) as u64;
        Compiled {
            isa: isa.to_owned(),
            kernel: variant.name(),
            vgprs: count("VGPRs"),
            sgprs: count("SGPRs"),
            spills: count("Spilled VGPRs") + count("Spilled SGPRs"),
            lds_bytes: count("LDS size"),
            subgroups_per_simd: count("Subgroups per SIMD"),
            code_bytes: count("Code size"),
            instructions: count("Instructions"),
            inverse_throughput: count("Inverse Throughput"),
            latency: count("Latency"),
            hot_loop: hot_loop(&executable.assembly),
        }
    }
}

/// The label that a line such as `BB12:` sets.
fn label(line: &str) -> Option<&str> {
    line.trim().strip_suffix(':').filter(|name| name.starts_with("BB"))
}

/// The label that a branch goes to.
fn branch(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|name| name.starts_with("s_branch") || name.starts_with("s_cbranch"))?;
    words.next().filter(|target| target.starts_with("BB"))
}

/// Loops are the stretches from a label to a later branch back to it.
fn hot_loop(assembly: &str) -> Mix {
    let lines: Vec<&str> = assembly.lines().collect();
    let labels: BTreeMap<&str, usize> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((label(line)?, at))).collect();
    let back = |(end, line): (usize, &&str)| {
        let start = *labels.get(branch(line)?)?;
        (start < end).then_some((start, end))
    };
    let loops: Vec<(usize, usize)> = lines.iter().enumerate().filter_map(back).collect();
    let own = |&(start, end): &(usize, usize)| {
        let nested: Vec<_> = loops.iter().filter(|other| other.0 > start && other.1 <= end).collect();
        let outside = |at: &usize| !nested.iter().any(|(first, last)| (first..=last).contains(&at));
        Mix::of(&(start..=end).filter(outside).map(|at| lines[at]).collect::<Vec<_>>())
    };
    let mixes = loops.iter().map(own);
    mixes.max_by_key(|mix| (mix.multiply_add, mix.vector)).unwrap_or_else(|| Mix::of(&lines))
}

/// Whether the environment of this process names the GPU `isa`: only then can it compile for it.
pub fn is_here(isa: &str) -> bool {
    std::env::var(FAMILY).as_deref() == Ok(isa)
}

/// Compiles `variants` for the GPU `isa`, which [`is_here`].
///
/// # Errors
/// [`Error::Device`] where RADV refuses, [`Error::Kernel`] for a defect of a kernel.
pub fn compile(isa: &str, variants: &[Variant]) -> Result<Isa> {
    let device = NullDevice::open()?;
    let mut all = Isa { driver: device.driver.clone(), ..Isa::default() };
    for variant in variants {
        match device.lacks(variant)? {
            Some(lack) => all.skipped.push(format!("{} on {isa}: {lack}", variant.name())),
            None => all.compiled.push(Compiled::of(isa, variant, &device.compile(variant)?)),
        }
    }
    Ok(all)
}

/// The machine code of `variants` as text, one after the other, for the GPU `isa`, which [`is_here`].
///
/// # Errors
/// As [`compile`].
pub fn assembly(isa: &str, variants: &[Variant]) -> Result<String> {
    let device = NullDevice::open()?;
    let mut text = String::new();
    for variant in variants {
        let code = match device.lacks(variant)? {
            Some(lack) => format!("; skipped: {lack}\n"),
            None => device.compile(variant)?.assembly,
        };
        text += &format!("; {} on {isa}\n{code}\n", variant.name());
    }
    Ok(text)
}

/// Refuses names that no RADV has for a GPU, and a system without RADV.
///
/// # Errors
/// [`Error::Usage`] that lists the names, [`Error::Device`].
pub fn check(isas: &[String]) -> Result<()> {
    let known = |isa: &&String| GPUS.split(' ').any(|known| known.eq_ignore_ascii_case(isa));
    if let Some(unknown) = isas.iter().find(|isa| !known(isa)) {
        let fix = format!("there are: {GPUS}");
        return Err(Error::usage("isa", format!("RADV knows no GPU \"{unknown}\""), fix));
    }
    if isas.is_empty() { Ok(()) } else { installed().map(drop) }
}

fn installed() -> Result<PathBuf> {
    manifest().ok_or_else(|| Error::device("RADV", "is not installed", "install Mesa's Vulkan drivers"))
}

/// Runs `program` with `arguments` again in an environment that names the GPU `isa`, and returns its standard
/// output. The driver reads the environment when it is loaded, too early for the running process.
///
/// # Errors
/// [`Error::Device`] where RADV is not installed or the program fails.
pub fn in_child(isa: &str, program: &Path, arguments: &[String]) -> Result<String> {
    let manifest = installed()?;
    let mut command = Command::new(program);
    command.args(arguments).env(FAMILY, isa);
    if std::env::var_os(DRIVERS).is_none() {
        command.env(DRIVERS, manifest);
    }
    let shim = LIBRARIES.iter().map(|folder| Path::new(folder).join(SHIM)).find(|path| path.is_file());
    if let Some(shim) = shim {
        command.env(PRELOAD, shim).env(SHIM_GPU, shim_name(isa));
    }
    let output = command.output().map_err(Error::io(program))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
        return Err(Error::device(
            isa,
            last,
            "name a GPU that the installed Mesa knows, or install a newer one",
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the shim calls a GPU.
fn shim_name(isa: &str) -> &str {
    match isa {
        "gfx1030" => "navi21",
        "gfx1100" => "navi31",
        "gfx1102" => "navi33",
        "navi48" => "gfx1201",
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
BB0:
\ts_load_dwordx4 s[0:3], s[2:3], 0x0 ; 0
\tv_add_f32 v0, v1, v2
BB1:
\tv_mov_b32 v9, 0
BB2:
\tds_read_b128 v[4:7], v3
\ts_waitcnt lgkmcnt(0)
\tv_fmac_f32_e32 v0, v4, v5
\tv_dual_fmac_f32 v1, v4, v6 :: v_dual_fmac_f32 v2, v4, v7
\tv_add_nc_u32 v3, 16, v3
\ts_cbranch_scc1 BB2
\ts_cbranch_vccnz BB1
BB3:
\tbuffer_store_dword v0, v8, s[0:3], 0 offen
\ts_endpgm";

    #[test]
    fn the_hot_loop_is_the_one_with_the_multiply_adds() {
        let expected = Mix { vector: 4, multiply_add: 3, memory: 0, shared: 1, scalar: 2 };
        assert_eq!(hot_loop(LISTING), expected);
        assert_eq!(hot_loop(LISTING).share(), 0.75);
    }

    #[test]
    fn code_without_loops_counts_as_a_whole() {
        let straight = "BB0:\n\tv_mad_u32_u24 v0, v1, v2, v3\n\tv_fma_f32 v0, v1, v2, v3\n\ts_endpgm";
        let expected = Mix { vector: 2, multiply_add: 1, scalar: 1, ..Mix::default() };
        assert_eq!(hot_loop(straight), expected);
    }
}
