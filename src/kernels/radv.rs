//! Compiling kernels with Mesa's RADV driver for an AMD GPU that need not be there.
//!
//! With `RADV_FORCE_FAMILY` set, the driver offers a device that compiles and never runs. wgpu refuses it, so this
//! speaks Vulkan itself: a compute pipeline with captured statistics, then `VK_KHR_pipeline_executable_properties`.
//! The variable is read when the driver is loaded: see [`super::isa::in_child`].
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;

use ash::khr::{cooperative_matrix, pipeline_executable_properties as executable};
use ash::vk;

use super::{Variant, translate};
use crate::plan::Interface;
use crate::{Error, Result};

const FOLDERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/// RADV's manifest, which Vulkan's loader takes through `VK_ICD_FILENAMES`; None where it is not installed.
pub fn manifest() -> Option<PathBuf> {
    let listings = FOLDERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let files = listings.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_radv = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("radeon_icd"))
    };
    files.filter(is_radv).min()
}

/// What the compiler says of one kernel.
#[derive(Clone, Debug, Default)]
pub struct Executable {
    /// Its statistics under the driver's names.
    pub statistics: BTreeMap<String, f64>,
    /// The machine code as text.
    pub assembly: String,
}

fn failed(problem: impl Into<String>) -> Error {
    Error::device("RADV", problem, "check that Mesa's RADV is installed and knows the GPU")
}

fn refused(result: vk::Result) -> Error {
    failed(format!("Vulkan refused: {result}"))
}

/// The null device of this process.
pub struct NullDevice {
    device: ash::Device,
    executable: executable::Device,
    instance: ash::Instance,
    /// Driver name and version.
    pub driver: String,
    /// Rows and columns of the cooperative matrices with f16 operands and f32 sums.
    cooperative: Vec<u32>,
    /// The loader; calls into it end with this value.
    _entry: ash::Entry,
}

impl NullDevice {
    /// Opens the first device of the driver that the environment names.
    ///
    /// # Errors
    /// [`Error::Device`] where there is none or it is not RADV.
    pub fn open() -> Result<NullDevice> {
        // SAFETY: loading Vulkan's loader runs its initialisation code only, which has no preconditions.
        let entry = unsafe { ash::Entry::load() }.map_err(|error| failed(error.to_string()))?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: `info` and what it points to outlive the call; no allocator is given.
        let instance = unsafe { entry.create_instance(&info, None) }.map_err(refused)?;
        NullDevice::on(entry, instance)
    }

    fn on(entry: ash::Entry, instance: ash::Instance) -> Result<NullDevice> {
        // SAFETY: the instance is alive.
        let found = unsafe { instance.enumerate_physical_devices() }.map_err(refused)?;
        let physical = *found.first().ok_or_else(|| failed("the driver offers no device"))?;
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: `physical` is of this instance, and Vulkan 1.3 knows both structures.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        if driver.driver_id != vk::DriverId::MESA_RADV {
            return Err(failed(format!("found the driver {} instead", text(&driver.driver_name))));
        }
        let cooperative = cooperative_sizes(&entry, &instance, physical)?;
        let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
        let mut extensions = vec![executable::NAME.as_ptr()];
        let mut wanted = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
        // What wgpu asks for beside them.
        let mut vulkan_1_2 =
            vk::PhysicalDeviceVulkan12Features::default().shader_float16(true).vulkan_memory_model(true);
        let has_matrices = !cooperative.is_empty();
        if has_matrices {
            extensions.push(cooperative_matrix::NAME.as_ptr());
        }
        let mut info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut wanted);
        if has_matrices {
            info = info.push_next(&mut matrices).push_next(&mut vulkan_1_2);
        }
        // SAFETY: everything `info` points to outlives the call; every device has a queue family 0.
        let device = unsafe { instance.create_device(physical, &info, None) }.map_err(refused)?;
        Ok(NullDevice {
            executable: executable::Device::new(&instance, &device),
            driver: format!("{} {}", text(&driver.driver_name), text(&driver.driver_info)),
            device,
            instance,
            cooperative,
            _entry: entry,
        })
    }

    /// What the device would need to compile a variant and has not.
    ///
    /// # Errors
    /// [`Error::Kernel`] for a defect of the kernel.
    pub fn lacks(&self, variant: &Variant) -> Result<Option<String>> {
        let interface = variant.kernel.interface(variant.entry.name, &variant.constants)?;
        let missing = interface.cooperative.filter(|size| !self.cooperative.contains(size));
        Ok(missing.map(|size| format!("{} has no cooperative matrices of {size} x {size}", self.driver)))
    }

    /// Compiles a variant.
    ///
    /// # Errors
    /// [`Error::Kernel`] for a defect of the kernel, [`Error::Device`] where the driver refuses it.
    pub fn compile(&self, variant: &Variant) -> Result<Executable> {
        let interface = variant.kernel.interface(variant.entry.name, &variant.constants)?;
        let spirv = translate::spirv(variant)?;
        let entry = CString::new(variant.entry.name).map_err(|error| failed(error.to_string()))?;
        let bindings = bindings(&interface);
        let set_info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: `set_info` points to `bindings`, which outlives the call.
        let set = unsafe { self.device.create_descriptor_set_layout(&set_info, None) }.map_err(refused)?;
        let sets = [set];
        let layout_info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        // SAFETY: `sets` holds one living set layout of this device.
        let layout = unsafe { self.device.create_pipeline_layout(&layout_info, None) }.map_err(refused)?;
        let module_info = vk::ShaderModuleCreateInfo::default().code(&spirv);
        // SAFETY: the SPIR-V comes from naga, which validated the module that it wrote.
        let module = unsafe { self.device.create_shader_module(&module_info, None) }.map_err(refused)?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(&entry);
        let compiled = self.pipeline(stage, layout);
        // SAFETY: the three objects are of this device, nothing uses them any more, each is destroyed once.
        unsafe {
            self.device.destroy_shader_module(module, None);
            self.device.destroy_pipeline_layout(layout, None);
            self.device.destroy_descriptor_set_layout(set, None);
        }
        compiled
    }

    fn pipeline(
        &self,
        stage: vk::PipelineShaderStageCreateInfo<'_>,
        layout: vk::PipelineLayout,
    ) -> Result<Executable> {
        let capture = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
            | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
        let info = vk::ComputePipelineCreateInfo::default().flags(capture).stage(stage).layout(layout);
        // SAFETY: `stage` and `layout` hold living objects of this device whose bindings agree, as both come from
        // one shader.
        let made = unsafe { self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        let pipeline = match made {
            Ok(pipelines) => pipelines.into_iter().next().ok_or_else(|| failed("made no pipeline"))?,
            Err((_, result)) => return Err(refused(result)),
        };
        let read = self.read(pipeline);
        // SAFETY: the pipeline is of this device and was never submitted.
        unsafe { self.device.destroy_pipeline(pipeline, None) };
        read
    }

    /// A compute pipeline is one executable, the first.
    fn read(&self, pipeline: vk::Pipeline) -> Result<Executable> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the pipeline is alive and captured its statistics.
        let statistics =
            unsafe { self.executable.get_pipeline_executable_statistics(&info) }.map_err(refused)?;
        let statistics = statistics.iter().map(|statistic| (text(&statistic.name), number(statistic)));
        Ok(Executable { statistics: statistics.collect(), assembly: self.assembly(&info)? })
    }

    /// The last of the representations that are text; the earlier ones are the compiler's own.
    fn assembly(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String> {
        let call = self.executable.fp().get_pipeline_executable_internal_representations_khr;
        let mut count = 0;
        // SAFETY: the pipeline is alive and captured its representations; a null array asks for their count.
        let counted = unsafe { call(self.executable.device(), info, &mut count, std::ptr::null_mut()) };
        counted.result().map_err(refused)?;
        let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        // SAFETY: `found` has `count` elements, whose null data pointers ask for the size of each text.
        let sized = unsafe { call(self.executable.device(), info, &mut count, found.as_mut_ptr()) };
        sized.result().map_err(refused)?;
        let mut texts: Vec<Vec<u8>> = found.iter().map(|one| vec![0; one.data_size]).collect();
        for (one, bytes) in found.iter_mut().zip(&mut texts) {
            one.p_data = bytes.as_mut_ptr().cast();
        }
        // SAFETY: every data pointer leads to as many bytes as the driver asked for, all of them alive.
        let filled = unsafe { call(self.executable.device(), info, &mut count, found.as_mut_ptr()) };
        filled.result().map_err(refused)?;
        let last = found.iter().zip(texts).rfind(|(one, _)| one.is_text == vk::TRUE);
        let bytes = last.map(|(_, bytes)| bytes).ok_or_else(|| failed("gave no assembly"))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }
}

impl Drop for NullDevice {
    fn drop(&mut self) {
        // SAFETY: everything made from the device is gone; the device goes before its instance.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// The sizes of the square cooperative matrices with f16 operands and f32 sums, of subgroups.
fn cooperative_sizes(
    entry: &ash::Entry,
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
) -> Result<Vec<u32>> {
    // SAFETY: `physical` is of this instance.
    let extensions = unsafe { instance.enumerate_device_extension_properties(physical) }.map_err(refused)?;
    if !extensions.iter().any(|one| one.extension_name_as_c_str() == Ok(cooperative_matrix::NAME)) {
        return Ok(Vec::new());
    }
    let loaded = cooperative_matrix::Instance::new(entry, instance);
    // SAFETY: `physical` is of this instance and offers the extension.
    let all =
        unsafe { loaded.get_physical_device_cooperative_matrix_properties(physical) }.map_err(refused)?;
    let (f16, f32) = (vk::ComponentTypeKHR::FLOAT16, vk::ComponentTypeKHR::FLOAT32);
    let fits = |one: &&vk::CooperativeMatrixPropertiesKHR<'_>| {
        one.scope == vk::ScopeKHR::SUBGROUP
            && (one.a_type, one.b_type, one.c_type, one.result_type) == (f16, f16, f32, f32)
            && one.m_size == one.n_size
            && one.n_size == one.k_size
    };
    Ok(all.iter().filter(fits).map(|one| one.m_size).collect())
}

fn bindings(interface: &Interface) -> Vec<vk::DescriptorSetLayoutBinding<'static>> {
    let binding = |slot, kind| {
        vk::DescriptorSetLayoutBinding::default()
            .binding(slot)
            .descriptor_type(kind)
            .descriptor_count(1)
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
    };
    let params = interface.params_binding.map(|slot| binding(slot, vk::DescriptorType::UNIFORM_BUFFER));
    let storage =
        interface.bindings.iter().map(|info| binding(info.slot, vk::DescriptorType::STORAGE_BUFFER));
    params.into_iter().chain(storage).collect()
}

fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&char| char as u8).collect();
    CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

fn number(statistic: &vk::PipelineExecutableStatisticKHR<'_>) -> f64 {
    use vk::PipelineExecutableStatisticFormatKHR as Format;
    // SAFETY: the format says which member of the union the driver wrote; all are plain numbers.
    unsafe {
        match statistic.format {
            Format::BOOL32 => f64::from(statistic.value.b32),
            Format::INT64 => statistic.value.i64 as f64,
            Format::FLOAT64 => statistic.value.f64,
            _ => statistic.value.u64 as f64,
        }
    }
}
