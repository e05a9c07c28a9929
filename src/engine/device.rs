//! Which devices there are, which one a run takes, and why.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Engine;
use super::cpu::CpuEngine;
use super::gpu::{Gpu, GpuEngine, Pace};
use crate::plan::{AttentionVariant, Element, Matrices, Plan, Target, Tiles};
use crate::text::counted;
use crate::{Error, Result};

/// Something that runs plans, how it stores activations, and whether it keeps all of them.
#[derive(Clone, Debug)]
pub struct Device {
    processor: Processor,
    precision: Element,
    recompute: bool,
    matrices: Option<Matrices>,
    units: Option<String>,
    most_bytes: Option<u64>,
    sharers: u64,
    most_submission: Duration,
    #[cfg(feature = "testing")]
    faults: Option<Arc<super::faults::Faults>>,
    #[cfg(feature = "testing")]
    patience: Option<Duration>,
}

/// Eight of these are what Windows grants a GPU before it resets it.
const MOST_SUBMISSION: Duration = Duration::from_millis(250);

/// Floating-point operations a second that a discrete GPU does at least.
const SLOW_DISCRETE: f64 = 2e12;
/// The same of all others.
const SLOW_INTEGRATED: f64 = 0.5e12;

#[derive(Clone, Debug)]
enum Processor {
    Cpu,
    Gpu(Arc<Gpu>),
}

/// What `trm devices` says of a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// Position in the list; `--device <index>`. The CPU engine has none.
    pub index: Option<usize>,
    /// The adapter's name.
    pub name: String,
    /// The vendor's PCI number, or what the driver gives instead; 0 for the CPU engine.
    pub vendor: u32,
    /// `discrete`, `integrated`, `virtual`, `software`, `other`, or `cpu` for the CPU engine.
    pub kind: String,
    /// `vulkan`, `metal`, `dx12`; empty for the CPU engine.
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// Memory of its own, in bytes, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Largest range that one binding may have, in bytes.
    pub max_binding_bytes: Option<u64>,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: Option<u64>,
    /// Shared memory of a workgroup, in bytes.
    pub max_shared_bytes: Option<u32>,
    /// Optional features that trm makes use of.
    pub features: Vec<String>,
}

impl DeviceInfo {
    /// Whether it is a GPU, neither the CPU engine nor an adapter in software.
    pub fn is_hardware(&self) -> bool {
        !matches!(self.kind.as_str(), "cpu" | "software")
    }
}

impl Device {
    fn of(processor: Processor) -> Device {
        Device {
            processor,
            precision: Element::F32,
            recompute: false,
            matrices: None,
            units: None,
            most_bytes: None,
            sharers: 1,
            most_submission: MOST_SUBMISSION,
            #[cfg(feature = "testing")]
            faults: None,
            #[cfg(feature = "testing")]
            patience: None,
        }
    }

    /// The CPU engine.
    pub fn cpu() -> Device {
        Device::of(Processor::Cpu)
    }

    /// A GPU through wgpu.
    pub fn gpu(gpu: Arc<Gpu>) -> Device {
        Device::of(Processor::Gpu(gpu))
    }

    /// The same device, storing activations and the copies of weights that products read in `precision`.
    pub fn in_precision(self, precision: Element) -> Device {
        Device { precision, ..self }
    }

    /// The same device, products of f16 operands on its matrix units. Whether these multiply as they should is for
    /// [`crate::eval::probe`] to find out.
    pub fn on_matrices(self, matrices: Matrices) -> Device {
        Device { matrices: Some(matrices), ..self }
    }

    /// The same device, with what there is to say of its matrix units: `on matrix units`, or why not.
    pub fn saying_of_units(self, said: String) -> Device {
        Device { units: Some(said), ..self }
    }

    /// How it stores activations and what multiplies them, for people: `f16 on matrix units`.
    pub fn storage(&self) -> String {
        self.units.iter().fold(self.precision.to_string(), |precision, units| format!("{precision} {units}"))
    }

    /// The same device, its training plans computing inner activations again in the reverse pass, or keeping them.
    pub fn recomputing(self, recompute: bool) -> Device {
        Device { recompute, ..self }
    }

    /// The same device, of whose memory no more than so many bytes are taken.
    pub fn holding_at_most(self, bytes: u64) -> Device {
        Device { most_bytes: Some(bytes), ..self }
    }

    /// The same device, whose memory as many processes of one job share, each its part.
    pub fn shared_by(self, processes: usize) -> Device {
        Device { sharers: processes.max(1) as u64, ..self }
    }

    /// The same device, work handed to it in pieces of about so long at the most, 250 ms unless told; zero for whole
    /// steps.
    pub fn submitting_at_most(self, most_submission: Duration) -> Device {
        Device { most_submission, ..self }
    }

    /// Floating-point operations of the longest dispatch that is sure not to exceed what is submitted at most, even on
    /// the slowest GPU of its kind.
    pub fn most_flops(&self) -> u64 {
        match &self.processor {
            Processor::Gpu(gpu) if !self.most_submission.is_zero() => {
                let slowest = if gpu.info().kind == "discrete" { SLOW_DISCRETE } else { SLOW_INTEGRATED };
                (self.most_submission.as_secs_f64() * slowest) as u64
            }
            _ => u64::MAX,
        }
    }

    /// Has the driver drop the device.
    #[cfg(feature = "testing")]
    pub fn destroy(&self) {
        if let Processor::Gpu(gpu) = &self.processor {
            gpu.destroy();
        }
    }

    /// The same device, which counts as hung if an answer takes longer.
    #[cfg(feature = "testing")]
    pub fn waiting_at_most(self, patience: Duration) -> Device {
        Device { patience: Some(patience), ..self }
    }

    /// The same device, to which a fault comes.
    #[cfg(feature = "testing")]
    pub fn failing(self, faults: Arc<super::faults::Faults>) -> Device {
        Device { faults: Some(faults), ..self }
    }

    /// Loads a plan: allocates its buffers, prepares its kernels.
    pub(super) fn load(&self, plan: Arc<Plan>) -> Result<Box<dyn Engine>> {
        let engine: Box<dyn Engine> = match &self.processor {
            Processor::Cpu => Box::new(CpuEngine::new(plan)?),
            Processor::Gpu(gpu) => {
                let pace = Pace::of(&plan, self.most_submission);
                #[cfg(feature = "testing")]
                let pace = pace.waiting(self.patience);
                Box::new(GpuEngine::new(gpu.clone(), plan, pace)?)
            }
        };
        #[cfg(feature = "testing")]
        if let Some(faults) = &self.faults {
            faults.pass(super::faults::Stage::Load)?;
            let faults = faults.clone();
            return Ok(Box::new(super::faults::FaultyEngine { engine, faults, broken: false }));
        }
        Ok(engine)
    }

    /// The same device opened anew, after it failed.
    ///
    /// # Errors
    /// [`Error::Device`] where it is not there any more or the driver refuses.
    pub fn reopened(&self) -> Result<Device> {
        let processor = match &self.processor {
            Processor::Cpu => Processor::Cpu,
            Processor::Gpu(gpu) => Processor::Gpu(Arc::new(gpu.reopened()?)),
        };
        Ok(Device { processor, ..self.clone() })
    }

    /// Whether the limits of the device allow a plan; [`Error::Limit`] names the first that does not.
    ///
    /// # Errors
    /// [`Error::Limit`], or [`Error::Device`] for kernels that it cannot run.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        self.check_beside(plan, 0)
    }

    /// [`Device::check`] with `others`, so many bytes, in its memory too.
    ///
    /// # Errors
    /// As [`Device::check`].
    pub fn check_beside(&self, plan: &Plan, others: u64) -> Result<()> {
        let gpu = match &self.processor {
            Processor::Cpu => return super::cpu::check_memory(plan, others, self.sharers, self.most_bytes),
            Processor::Gpu(gpu) => gpu,
        };
        super::gpu::check_limits(gpu, plan)?;
        // The driver and the desktop take a share.
        let own = gpu.info().memory_bytes.map(|bytes| bytes / 16 * 15 / self.sharers);
        let needed = plan.bytes() + others;
        if let Some(limit) = own.into_iter().chain(self.most_bytes).min().filter(|limit| needed > *limit) {
            let (what, fix) = (format!("the memory of {}", self.info().name), "use a smaller batch".into());
            return Err(Error::Limit { what, needed, limit, unit: "bytes", fix });
        }
        Ok(())
    }

    /// The kernel variants that suit it: plans for this device are laid out for them.
    pub fn target(&self) -> Target {
        let target = match &self.processor {
            Processor::Cpu => Target { attention: AttentionVariant::Joined, ..Target::default() },
            Processor::Gpu(gpu) => gpu.target(),
        };
        Target { precision: self.precision, recompute: self.recompute, matrices: self.matrices, ..target }
    }

    /// Its cooperative matrices, if it has any.
    pub fn cooperative(&self) -> Option<Matrices> {
        match &self.processor {
            Processor::Cpu => None,
            Processor::Gpu(gpu) => gpu.cooperative(),
        }
    }

    /// From now on, plans for this device take these tiles instead of those of the table. The CPU engine has
    /// nothing to choose.
    pub fn adopt(&self, tiles: Tiles) {
        if let Processor::Gpu(gpu) = &self.processor {
            gpu.adopt(tiles);
        }
    }

    /// What it is.
    pub fn info(&self) -> DeviceInfo {
        match &self.processor {
            Processor::Cpu => cpu_info(),
            Processor::Gpu(gpu) => gpu.info().clone(),
        }
    }
}

fn cpu_info() -> DeviceInfo {
    DeviceInfo {
        index: None,
        name: format!("CPU engine, {}", counted(rayon::current_num_threads(), "thread")),
        vendor: 0,
        kind: "cpu".into(),
        backend: String::new(),
        driver: String::new(),
        memory_bytes: None,
        max_binding_bytes: None,
        max_buffer_bytes: None,
        max_shared_bytes: None,
        features: Vec::new(),
    }
}

/// All devices: the GPUs in the order of their indices, the CPU engine last.
pub fn devices() -> Vec<DeviceInfo> {
    let mut infos = super::gpu::adapters();
    infos.push(cpu_info());
    infos
}

/// Which device `wanted` means: `auto`, `cpu`, `gpu`, an index, or a part of an adapter's name. Returns the
/// reason beside it, for the user.
///
/// `auto` takes a discrete GPU, else an integrated or virtual one, else the CPU engine; a software adapter
/// (llvmpipe, WARP, SwiftShader) is slower than the CPU engine and is taken by `gpu`, index or name only.
///
/// # Errors
/// [`Error::Usage`] that lists the devices where nothing matches, [`Error::Device`] where the driver fails.
pub fn select(wanted: &str) -> Result<(Device, String)> {
    if wanted == "cpu" {
        return Ok((Device::cpu(), "asked for".into()));
    }
    let infos = super::gpu::adapters();
    let kinds = ["discrete", "integrated", "virtual", "other"];
    let best = |kinds: &[&str]| kinds.iter().find_map(|kind| infos.iter().find(|info| info.kind == *kind));
    let (info, reason) = match wanted {
        "auto" => match best(&kinds) {
            Some(info) => (info, format!("the best of {}", counted(infos.len(), "GPU"))),
            None if infos.is_empty() => return Ok((Device::cpu(), "no GPU was found".into())),
            None => return Ok((Device::cpu(), "the only adapters are software; name one to use it".into())),
        },
        "gpu" => match best(&kinds).or_else(|| best(&["software"])) {
            Some(info) => (info, "the best adapter".into()),
            None => return Err(nothing_matches(wanted, &infos)),
        },
        // Every name contains it.
        empty if empty.trim().is_empty() => return Err(nothing_matches(wanted, &infos)),
        name => {
            let matches = |info: &&DeviceInfo| match name.parse::<usize>() {
                Ok(index) => info.index == Some(index),
                Err(_) => info.name.to_lowercase().contains(&name.to_lowercase()),
            };
            (infos.iter().find(matches).ok_or_else(|| nothing_matches(wanted, &infos))?, "asked for".into())
        }
    };
    Ok((Device::gpu(Arc::new(Gpu::open(info)?)), reason))
}

fn nothing_matches(wanted: &str, infos: &[DeviceInfo]) -> Error {
    let names = infos.iter().filter_map(|info| info.index.map(|index| format!("{index} = {}", info.name)));
    let list: Vec<String> = names.chain(["cpu = CPU engine".to_owned()]).collect();
    let problem = format!("no device matches \"{wanted}\"");
    Error::usage("device", problem, format!("there are: {}; or auto, gpu", list.join(", ")))
}
