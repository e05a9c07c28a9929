//! How much memory an adapter has: wgpu does not say, Vulkan does.

/// VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.
#[cfg(not(target_vendor = "apple"))]
const DEVICE_LOCAL: u32 = 1;

/// Bytes of its largest heap of memory of its own; None where the system does not tell.
#[cfg(not(target_vendor = "apple"))]
#[allow(unsafe_code)]
pub(super) fn bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handles are only asked for what they are, by the instance that made them, while the adapter holds both.
    let properties = unsafe {
        let adapter = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = &properties.memory_heaps[..properties.memory_heap_count as usize];
    let own = heaps.iter().filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL > 0);
    own.map(|heap| heap.size).max()
}

/// No Vulkan there.
#[cfg(target_vendor = "apple")]
pub(super) fn bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}
