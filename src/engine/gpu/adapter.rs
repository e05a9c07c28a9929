//! Finding adapters and opening one with all that it offers.

use std::sync::{Arc, Mutex, OnceLock};

use super::{memory, table};
use crate::engine::{Counts, DeviceInfo};
use crate::plan::{Matrices, Target, Tiles};
use crate::{Error, Result};

/// An open device.
#[derive(Debug)]
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    info: DeviceInfo,
    checked: bool,
    cooperative: Option<Matrices>,
    tuned: OnceLock<Tiles>,
    failure: Arc<Mutex<Option<Failure>>>,
    counts: Mutex<Counts>,
}

/// What a device reported of itself.
#[derive(Clone, Debug)]
enum Failure {
    Memory,
    Other(String),
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

fn all_adapters() -> Vec<wgpu::Adapter> {
    pollster::block_on(instance(wgpu::Backends::PRIMARY).enumerate_adapters(wgpu::Backends::PRIMARY))
}

/// All adapters that wgpu finds, in a stable order.
pub fn adapters() -> Vec<DeviceInfo> {
    all_adapters().iter().enumerate().map(|(index, adapter)| describe(index, adapter)).collect()
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> DeviceInfo {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    DeviceInfo {
        index: Some(index),
        name: info.name,
        vendor: info.vendor,
        kind: kind.into(),
        backend: info.backend.to_str().into(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        // A software adapter's is the host's, of which its driver names any number.
        memory_bytes: memory::bytes(adapter).filter(|_| info.device_type != wgpu::DeviceType::Cpu),
        max_binding_bytes: Some(limits.max_storage_buffer_binding_size),
        max_buffer_bytes: Some(limits.max_buffer_size),
        max_shared_bytes: Some(limits.max_compute_workgroup_storage_size),
        features: cooperative(adapter).map(|_| "cooperative".into()).into_iter().collect(),
    }
}

/// What wgpu calls cooperative matrices, and what their kernel needs beside them.
const COOPERATIVE: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP);

/// The largest cooperative matrices with f16 operands and f32 sums, if there are any.
fn cooperative(adapter: &wgpu::Adapter) -> Option<Matrices> {
    use wgpu::CooperativeScalarType::{F16, F32};
    if !adapter.features().contains(COOPERATIVE) {
        return None;
    }
    let info = adapter.get_info();
    let scalars = info.backend == wgpu::Backend::Metal;
    let subgroup = match info.driver.as_str() {
        // Metal names a range, of which Apple's GPUs with such matrices have one size.
        _ if scalars => Matrices::APPLE.subgroup,
        // RADV takes the larger one for compute shaders.
        "radv" => info.subgroup_max_size,
        _ => info.subgroup_min_size,
    };
    let all = adapter.cooperative_matrix_properties();
    let square = all.iter().filter(|one| one.m_size == one.n_size && one.n_size == one.k_size);
    let mixed = square.filter(|one| (one.ab_type, one.cr_type) == (F16, F32));
    mixed.map(|one| one.m_size).max().map(|size| Matrices { size, subgroup, scalars })
}

/// wgpu's word that experimental features may be used.
#[allow(unsafe_code)]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: the one such feature that is asked for is used by one kernel, and that kernel only after it proved itself
    // on the device.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

impl Gpu {
    /// Opens the adapter that [`adapters`] described.
    ///
    /// # Errors
    /// [`Error::Device`] where the driver refuses.
    pub fn open(info: &DeviceInfo) -> Result<Gpu> {
        let gone = || Error::device(&info.name, "is no longer there", "run \"trm devices\"");
        let all: Vec<(DeviceInfo, wgpu::Adapter)> = all_adapters()
            .into_iter()
            .enumerate()
            .map(|(index, adapter)| (describe(index, &adapter), adapter))
            .filter(|(found, _)| (&found.name, &found.kind) == (&info.name, &info.kind))
            .collect();
        // After a reset the order may be another; of several alike, the one in its old place.
        let place = all.iter().position(|(found, _)| found.index == info.index).unwrap_or(0);
        let (found, adapter) = all.into_iter().nth(place).ok_or_else(gone)?;
        Gpu::request(adapter, found)
    }

    /// A device that computes nothing and accepts plans for so much shared memory, and bindings and buffers of so many
    /// bytes: for tests of plans.
    ///
    /// # Errors
    /// [`Error::Device`] where wgpu refuses.
    pub fn noop(shared_bytes: u32, binding_bytes: u64, buffer_bytes: u64) -> Result<Gpu> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
        // What every desktop adapter offers; unlimited, wgpu's own arrays overflow.
        descriptor.backend_options.noop.limits = Some(wgpu::Limits {
            max_storage_buffers_per_shader_stage: 16,
            max_compute_workgroup_storage_size: shared_bytes,
            max_storage_buffer_binding_size: binding_bytes,
            max_buffer_size: buffer_bytes,
            ..wgpu::Limits::default()
        });
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::NOOP));
        let missing = || Error::device("noop", "is not there", "build with wgpu's noop feature");
        let adapter = adapters.into_iter().next().ok_or_else(missing)?;
        let info = describe(0, &adapter);
        Gpu::request(adapter, info)
    }

    fn request(adapter: wgpu::Adapter, info: DeviceInfo) -> Result<Gpu> {
        let cooperative = cooperative(&adapter);
        let (features, experimental_features) = match cooperative {
            Some(_) => (COOPERATIVE, experimental()),
            None => (wgpu::Features::empty(), wgpu::ExperimentalFeatures::disabled()),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("trm"),
            experimental_features,
            // Kernels bind one group; the noop device would claim more of them than wgpu itself can hold.
            required_limits: wgpu::Limits { max_bind_groups: 1, ..adapter.limits() },
            required_features: adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | features),
            ..wgpu::DeviceDescriptor::default()
        };
        let refused =
            |error| Error::device(&info.name, format!("{error}"), "update its driver or choose another");
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(refused)?;
        let failure = Arc::new(Mutex::new(None));
        let (lost, uncaptured) = (failure.clone(), failure.clone());
        device.set_device_lost_callback(move |reason, message| {
            note(&lost, Failure::Other(format!("lost ({reason:?}): {message}")))
        });
        let failure_of = |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => Failure::Memory,
            other => Failure::Other(other.to_string()),
        };
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| note(&uncaptured, failure_of(error))));
        Ok(Gpu {
            device,
            queue,
            info,
            checked: cfg!(debug_assertions),
            cooperative,
            tuned: OnceLock::new(),
            failure,
            counts: Mutex::default(),
        })
    }

    /// The same device, its kernels compiled with run-time checks of every access and loop, as debug builds have them.
    pub fn checked(self) -> Gpu {
        Gpu { checked: true, ..self }
    }

    /// Whether kernels are compiled with run-time checks.
    pub(super) fn checks(&self) -> bool {
        self.checked
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Its cooperative matrices. Whether they multiply as they should is for the caller to find out.
    pub fn cooperative(&self) -> Option<Matrices> {
        self.cooperative
    }

    /// Takes other tiles than those of the table, for good.
    pub(in crate::engine) fn adopt(&self, tiles: Tiles) {
        // A device is opened, and told what suits it, once.
        let _ = self.tuned.set(tiles);
    }

    /// The tiles that suit it, by what it adopted or by the table, and its limits.
    pub fn target(&self) -> Target {
        let limits = self.device.limits();
        let shared_bytes = limits.max_compute_workgroup_storage_size;
        let binding_bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let suited = self.tuned.get().copied().unwrap_or_else(|| table::defaults(&self.info).tiles);
        let tiles = suited.fitting(shared_bytes);
        let split_below = table::BUSY;
        Target { tiles, split_below, binding_bytes, shared_bytes, ..Target::default() }
    }

    /// What was asked of the driver so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().map(|counts| *counts).unwrap_or_default()
    }

    pub(super) fn count(&self, note: impl FnOnce(&mut Counts)) {
        if let Ok(mut counts) = self.counts.lock() {
            note(&mut counts);
        }
    }

    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> wgpu::SubmissionIndex {
        self.count(|counts| counts.submissions += 1);
        self.queue.submit([commands])
    }

    pub(super) fn buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> wgpu::Buffer {
        self.count(|counts| counts.buffers += 1);
        self.device.create_buffer(descriptor)
    }

    /// An error if the device failed since it was opened.
    pub(super) fn check(&self) -> Result<()> {
        match self.failure.lock() {
            Ok(failure) => match &*failure {
                None => Ok(()),
                Some(Failure::Memory) => Err(Error::Memory { device: self.info.name.clone(), needed: 0 }),
                Some(Failure::Other(problem)) => Err(self.failed(problem.clone())),
            },
            Err(_) => Err(self.failed("a driver callback failed".into())),
        }
    }

    /// An [`Error::Lost`] of this device.
    pub(super) fn failed(&self, problem: String) -> Error {
        Error::Lost { device: self.info.name.clone(), problem }
    }

    /// Has the driver drop the device.
    #[cfg(feature = "testing")]
    pub(in crate::engine) fn destroy(&self) {
        self.device.destroy();
    }

    /// The same adapter, opened anew, with the tiles that this one adopted.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn reopened(&self) -> Result<Gpu> {
        let gpu = Gpu { checked: self.checked, ..Gpu::open(&self.info)? };
        if let Some(&tiles) = self.tuned.get() {
            gpu.adopt(tiles);
        }
        Ok(gpu)
    }
}

/// Keeps the first failure: later ones follow from it.
fn note(failure: &Mutex<Option<Failure>>, now: Failure) {
    if let Ok(mut first) = failure.lock() {
        first.get_or_insert(now);
    }
}
