//! `trm kernels`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use crate::kernels::translate::translate;
use crate::kernels::variants::{AMD, GPU, is};
use crate::kernels::{Isa, Language, Variant, isa, variants};
use crate::ops::KERNELS;
use crate::report::{Table, say};
use crate::text::counted;
use crate::{Error, Result, files};

use super::output::Output;

/// List the kernels, translate them for other systems, and compile them for GPUs that are not there
///
/// Without options: every kernel, its entry points and the variants that the built-in recipes launch. A variant is an
/// entry point with the constants of its shader specialised.
///
/// "adapters" are the kinds of adapter whose plans launch a variant: gpu is an untuned GPU that is not AMD's, amd one
/// that is; bf16 and f16 are GPUs in that precision, cooperative those with matrix units in f16, apple Apple's; 64x128, 128x64 and 128x128 are GPUs that take this tile. "-" means that no built-in recipe launches it.
#[derive(clap::Args)]
pub struct Args {
    /// Only these kernels: product, or product.gate
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,

    /// Translate each variant into the language of this graphics system
    ///
    /// Prints how many bytes each translation has; --out keeps the translations themselves. Run-time checks are left
    /// out, as in training. Variants that a language cannot say are listed below the table: HLSL and GLSL have no
    /// cooperative matrices, Metal those of 8 x 8 alone, GLSL no 64-bit integers.
    #[arg(long, value_name = "LANGUAGE", value_enum)]
    translate: Option<To>,

    /// Folder to write the translations of --translate to
    ///
    /// One file per variant: KERNEL.ENTRY.N.spv, .metal, .hlsl or .comp, where N is the row of the printed table, from
    /// 0 on. It must not exist or be empty.
    #[arg(long, value_name = "DIR", requires = "translate", conflicts_with = "isa")]
    out: Option<PathBuf>,

    /// Compile for these AMD GPUs with Mesa's RADV, which needs no GPU: navi21, gfx1100, gfx1201
    ///
    /// Prints registers, spills, shared memory, occupancy, the compiler's estimates and the mix of instructions in the
    /// hot loop. Covers the variants that GPUs get, or, where kernels are named, all of theirs. With --json the output
    /// is a baseline that can be kept.
    #[arg(long, value_name = "GPU", value_delimiter = ',', conflicts_with = "translate")]
    isa: Vec<String>,

    /// Print the machine code of the variants
    ///
    /// As the driver's disassembler writes it, one variant after the other.
    #[arg(long, requires = "isa", conflicts_with = "json")]
    assembly: bool,
}

/// Target languages.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum To {
    /// Vulkan
    Spirv,
    /// Metal
    Msl,
    /// Direct3D 12
    Hlsl,
    /// OpenGL
    Glsl,
}

impl To {
    fn language(self) -> Language {
        match self {
            To::Spirv => Language::Spirv,
            To::Msl => Language::Msl,
            To::Hlsl => Language::Hlsl,
            To::Glsl => Language::Glsl,
        }
    }
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    args.check()?;
    match args.translate {
        Some(to) => return args.translate_all(to.language(), output),
        None if args.isa.is_empty() => output.data(&args.chosen()?, |chosen| listing(chosen))?,
        None if args.assembly => args.print_assembly(output)?,
        None => output.data(&args.compile_all()?, compiled)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Refuses names that mean nothing before anything that takes time begins.
    fn check(&self) -> Result<()> {
        let entries =
            || KERNELS.iter().flat_map(|kernel| kernel.entries.iter().map(move |entry| (kernel, entry)));
        let means = |name: &str| entries().any(|(kernel, entry)| is(kernel, entry, name));
        if let Some(unknown) = self.kernels.iter().find(|name| !means(name)) {
            let problem = format!("there is no kernel {unknown}");
            return Err(Error::usage("KERNEL", problem, "run \"trm kernels\" for a list"));
        }
        isa::check(&self.isa)
    }

    /// The variants of the named kernels; without names all, or, for `--isa`, those that GPUs get.
    fn chosen(&self) -> Result<Vec<Variant>> {
        let wanted = |variant: &Variant| match self.kernels.is_empty() {
            true => self.isa.is_empty() || [GPU, AMD].iter().any(|kind| variant.targets.contains(kind)),
            false => self.kernels.iter().any(|name| is(variant.kernel, variant.entry, name)),
        };
        Ok(variants()?.into_iter().filter(wanted).collect())
    }

    /// The GPUs of `--isa`, each once.
    fn gpus(&self) -> impl Iterator<Item = &str> {
        let first = |(at, isa): &(usize, &String)| !self.isa[..*at].iter().any(|one| one == *isa);
        self.isa.iter().enumerate().filter(first).map(|(_, isa)| isa.as_str())
    }

    /// Fails where not one can be written.
    fn translate_all(&self, language: Language, output: &Output) -> Result<ExitCode> {
        let folder = self.out.as_deref().map(files::OutputFolder::create).transpose()?;
        let chosen = self.chosen()?;
        say(format!("translating {}", counted(chosen.len(), "variant")));
        let texts: Vec<_> = chosen.iter().map(|variant| translate(variant, language)).collect();
        if let Some(folder) = folder {
            for (index, (variant, bytes)) in chosen.iter().zip(&texts).enumerate() {
                let (kernel, entry) = (variant.kernel.name, variant.entry.name);
                let name = format!("{kernel}.{entry}.{index}.{}", language.extension());
                if let Ok(bytes) = bytes {
                    files::write_atomic(&folder.path().join(name), bytes)?;
                }
            }
            folder.commit()?;
        }
        let outcomes: Vec<_> =
            chosen.iter().zip(texts).map(|(variant, text)| Translation::of(variant, text)).collect();
        output.data(&outcomes, |rows| {
            let mut table = Table::new(["kernel", "bytes"]);
            rows.iter().for_each(|row| table.row(row.cells()));
            let problems = rows.iter().filter_map(|row| row.problem.as_ref());
            let problems: String = problems.map(|problem| format!("skipped: {problem}\n")).collect();
            format!("{table}{problems}")
        })?;
        Ok(if outcomes.iter().any(|one| one.bytes.is_some()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// One child process for each GPU, as the driver reads its environment only once; this one if it is the child.
    fn compile_all(&self) -> Result<Isa> {
        let mut all = Isa::default();
        for isa in self.gpus() {
            let one = match isa::is_here(isa) {
                true => isa::compile(isa, &self.chosen()?)?,
                false => {
                    let text = self.run_again(isa, &["--json"])?;
                    let broken =
                        |error: serde_json::Error| Error::device(isa, error.to_string(), "report this");
                    serde_json::from_str(&text).map_err(broken)?
                }
            };
            all.driver = one.driver;
            all.compiled.extend(one.compiled);
            all.skipped.extend(one.skipped);
        }
        Ok(all)
    }

    fn print_assembly(&self, output: &Output) -> Result<()> {
        for isa in self.gpus() {
            let text = match isa::is_here(isa) {
                true => isa::assembly(isa, &self.chosen()?)?,
                false => self.run_again(isa, &["--assembly"])?,
            };
            output.data(&text, String::clone)?;
        }
        Ok(())
    }

    fn run_again(&self, isa: &str, more: &[&str]) -> Result<String> {
        let program = std::env::current_exe().map_err(Error::io("trm"))?;
        let fixed = ["kernels", "--isa", isa].into_iter().chain(more.iter().copied()).map(str::to_owned);
        say(format!("compiling for {isa}"));
        isa::in_child(isa, &program, &fixed.chain(self.kernels.iter().cloned()).collect::<Vec<_>>())
    }
}

#[derive(Serialize)]
struct Translation {
    kernel: String,
    /// None where the language cannot say it.
    bytes: Option<usize>,
    problem: Option<String>,
}

impl Translation {
    fn of(variant: &Variant, text: Result<Vec<u8>>) -> Translation {
        let (bytes, problem) = match text {
            Ok(bytes) => (Some(bytes.len()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Translation { kernel: variant.name(), bytes, problem }
    }

    fn cells(&self) -> [String; 2] {
        [self.kernel.clone(), self.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string())]
    }
}

fn listing(variants: &[Variant]) -> String {
    let mut table = Table::new(["variant", "adapters", "recipes"]);
    for variant in variants {
        let or_none = |names: &[&str]| if names.is_empty() { "-".into() } else { names.join(" ") };
        table.row([variant.name(), or_none(&variant.targets), or_none(&variant.recipes)]);
    }
    format!("{table}adapters: the kinds of adapter that launch the variant, see --help\n")
}

fn compiled(isa: &Isa) -> String {
    let titles = ["kernel", "GPU", "VGPR", "SGPR", "spills", "LDS", "waves", "bytes", "cycles", "latency"];
    let mix = ["loop: vector", "fma %", "memory", "LDS", "scalar"];
    let mut table = Table::new(titles.into_iter().chain(mix));
    for one in &isa.compiled {
        let counts =
            [one.vgprs, one.sgprs, one.spills, one.lds_bytes, one.subgroups_per_simd, one.code_bytes];
        let cells = counts.into_iter().chain([one.inverse_throughput, one.latency, one.hot_loop.vector]);
        let share = format!("{:.0}", 100.0 * one.hot_loop.share());
        let rest =
            [one.hot_loop.memory, one.hot_loop.shared, one.hot_loop.scalar].map(|count| count.to_string());
        let names = [one.kernel.clone(), one.isa.clone()].into_iter();
        table.row(names.chain(cells.map(|count| count.to_string())).chain([share]).chain(rest));
    }
    let skipped: String = isa.skipped.iter().map(|one| format!("skipped: {one}\n")).collect();
    format!("{table}{skipped}driver: {}; cycles: estimated between two subgroups\n", isa.driver)
}
