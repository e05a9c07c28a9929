//! Running a plan: pipelines and bind groups are made once; a step is one command buffer with one compute pass, or
//! several one after the other where it takes long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::adapter::Gpu;
use super::submissions::Pace;
use crate::engine::{Counts, Engine, GiveUp, Times};
use crate::ops::KERNELS;
use crate::plan::{ALIGN_WORDS, Dispatch, Half, Plan, Slice, align};
use crate::{Error, Result};

/// Metric blocks that may be on their way; one more submission waits for the oldest.
const IN_FLIGHT: usize = 4;

/// Words that the host may have written and that the device has not taken in yet: they lie in memory of their own, which
/// a model that fills the device leaves little of.
const STAGED_WORDS: usize = 8 << 20;

/// A plan on a GPU.
pub struct GpuEngine {
    pub(super) gpu: Arc<Gpu>,
    buffers: Vec<wgpu::Buffer>,
    plan: Arc<Plan>,
    launches: Vec<Launch>,
    pace: Pace,
    metrics_at: Option<Slice>,
    idle: Vec<wgpu::Buffer>,
    flying: VecDeque<Flight>,
    landed: VecDeque<Vec<f32>>,
    /// Words written since something was last submitted.
    staged: usize,
}

/// One dispatch, ready to be recorded.
struct Launch {
    pipeline: wgpu::ComputePipeline,
    /// One for all micro-batches, or one for each.
    bindings: Vec<wgpu::BindGroup>,
    grid: [u32; 3],
}

impl Launch {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>, micro_batch: usize) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings[micro_batch.min(self.bindings.len() - 1)], &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
    }
}

/// A metric block that was copied for reading.
struct Flight {
    buffer: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    /// Another step was on its way when this one was submitted.
    follows: bool,
}

impl GpuEngine {
    /// Allocates the plan's buffers, all zero, and compiles its kernels. `pace` cuts its steps into submissions.
    ///
    /// # Errors
    /// [`Error::Limit`] where a buffer, a binding or a loop exceeds what the adapter allows, [`Error::Memory`] where
    /// there is none left, [`Error::Device`] where the driver refuses otherwise.
    pub(in crate::engine) fn new(gpu: Arc<Gpu>, plan: Arc<Plan>, pace: Pace) -> Result<GpuEngine> {
        check_limits(&gpu, &plan)?;
        // What compilers of drivers refuse is internal to wgpu: an error of this plan, too, that leaves the device well.
        let filters =
            [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
        let [memory, validation, internal] = filters.map(|filter| gpu.device.push_error_scope(filter));
        let buffers: Vec<wgpu::Buffer> =
            plan.buffers.iter().map(|buffer| storage(&gpu, &buffer.name, buffer.words)).collect();
        let launches = launches(&gpu, &plan, &buffers);
        let refused = pollster::block_on(internal.pop());
        let invalid = refused.or(pollster::block_on(validation.pop()));
        // First: what was not allocated is not valid either.
        if pollster::block_on(memory.pop()).is_some() {
            return Err(Error::Memory { device: gpu.info().name.clone(), needed: plan.bytes() });
        }
        if let Some(error) = invalid {
            gpu.check()?;
            return Err(Error::device(
                &gpu.info().name,
                error.to_string(),
                "check its driver, or take another",
            ));
        }
        let metrics_at = plan.view("metrics").ok();
        let staging = |slice: Slice| (0..IN_FLIGHT).map(|_| readback(&gpu, slice.words)).collect();
        let idle = metrics_at.map(staging).unwrap_or_default();
        Ok(GpuEngine {
            launches: launches?,
            pace,
            plan,
            gpu,
            buffers,
            metrics_at,
            idle,
            flying: VecDeque::new(),
            landed: VecDeque::new(),
            staged: 0,
        })
    }

    /// Submits a half of a step in as many parts as its pace asks for; the last one copies the metric block to `staging`.
    /// None if it was given up.
    fn submit_parts(
        &mut self,
        half: Half,
        staging: Option<(Slice, &wgpu::Buffer)>,
        give_up: GiveUp<'_>,
    ) -> Result<Option<wgpu::SubmissionIndex>> {
        let plan = self.plan.clone();
        let mut sequence = plan.half(half).peekable();
        self.staged = 0;
        let mut before = None;
        loop {
            if give_up() {
                return Ok(None);
            }
            let mut encoder =
                self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let (mut work, budget) = (0.0, self.pace.budget());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                let fits =
                    |work: f64, dispatch: usize| work == 0.0 || work + self.pace.work(dispatch) <= budget;
                while let Some((dispatch, micro_batch)) = sequence.next_if(|one| fits(work, one.0)) {
                    self.launches[dispatch].record(&mut pass, micro_batch);
                    work += self.pace.work(dispatch);
                }
            }
            let last = sequence.peek().is_none();
            if let (true, Some((slice, staging))) = (last, staging) {
                copy(&mut encoder, &self.buffers, slice, staging);
            }
            let start = Instant::now();
            let submission = self.gpu.submit(encoder.finish());
            if self.pace.learns() {
                self.wait()?;
                self.pace.took(work, start.elapsed());
            }
            if last {
                return Ok(Some(submission));
            }
            // One that runs and one that waits keep the device busy, and what is given up ends soon.
            if let Some(older) = before.replace(submission) {
                self.wait_for(older)?;
            }
        }
    }

    /// Records a whole step.
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let sequence = self.plan.sequence();
        sequence.for_each(|(dispatch, micro_batch)| self.launches[dispatch].record(pass, micro_batch));
    }

    /// Waits for everything submitted.
    pub(super) fn wait(&self) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(self.patience()) })?;
        self.gpu.check()
    }

    fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let timeout = Some(self.patience());
        self.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout })
    }

    fn poll(&self, how: wgpu::PollType) -> Result<()> {
        let failed = |error| match error {
            wgpu::PollError::Timeout => {
                // Whoever lets go of it waits for all of its work, without an end.
                std::mem::forget(self.gpu.clone());
                self.gpu.failed(format!("has not answered for {} s", self.patience().as_secs()))
            }
            other => self.gpu.failed(other.to_string()),
        };
        self.gpu.device.poll(how).map(|_| ()).map_err(failed)
    }

    /// How long the device may take for all that is submitted before it counts as hung.
    fn patience(&self) -> Duration {
        self.pace.patience(self.flying.len())
    }

    /// Takes the oldest flying metric block in, if it has arrived or `wait` says to wait for it.
    fn land(&mut self, wait: bool) -> Result<bool> {
        let Some(flight) = self.flying.front() else { return Ok(false) };
        match wait {
            // For its own submission only: waiting for all of them would leave the device without work.
            true => self.wait_for(flight.submission.clone())?,
            false => self.poll(wgpu::PollType::Poll)?,
        }
        // After waiting, the answer may be in the hands of another thread that polls the same device: receive, not try.
        let dropped = || self.gpu.failed("a read was dropped by the driver".into());
        let outcome = match wait {
            true => flight.mapped.recv().map_err(|_| dropped())?,
            false => match flight.mapped.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(dropped()),
            },
        };
        outcome.map_err(|error| self.gpu.failed(error.to_string()))?;
        let words = mapped_words(&self.gpu, &flight.buffer)?;
        flight.buffer.unmap();
        self.landed.push_back(bytemuck::cast_vec(words));
        if let Some(flight) = self.flying.pop_front() {
            self.pace.step_ended(flight.follows);
            self.idle.push(flight.buffer);
        }
        Ok(true)
    }
}

impl Engine for GpuEngine {
    fn write(&mut self, slice: Slice, words: &[u32]) -> Result<()> {
        for (index, piece) in words.chunks(STAGED_WORDS).enumerate() {
            if self.staged + piece.len() > STAGED_WORDS {
                self.gpu.queue.submit([]);
                self.wait()?;
                self.staged = 0;
            }
            let offset = (slice.offset + index * STAGED_WORDS) as u64 * 4;
            self.gpu.queue.write_buffer(&self.buffers[slice.buffer], offset, bytemuck::cast_slice(piece));
            self.staged += piece.len();
        }
        self.gpu.check()
    }

    fn read(&mut self, slice: Slice) -> Result<Vec<u32>> {
        let staging = readback(&self.gpu, slice.words);
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        copy(&mut encoder, &self.buffers, slice, &staging);
        self.gpu.submit(encoder.finish());
        let mapped = map(&self.gpu, &staging);
        self.wait()?;
        match mapped.recv() {
            Ok(Ok(())) => mapped_words(&self.gpu, &staging),
            Ok(Err(error)) => Err(self.gpu.failed(error.to_string())),
            Err(error) => Err(self.gpu.failed(error.to_string())),
        }
    }

    fn submit(&mut self, half: Half, give_up: GiveUp<'_>) -> Result<bool> {
        if half == Half::First {
            return self.submit_parts(half, None, give_up).map(|done| done.is_some());
        }
        if self.metrics_at.is_some() && self.idle.is_empty() {
            self.land(true)?;
        }
        let staging = self.metrics_at.zip(self.idle.pop());
        let copied_to = staging.as_ref().map(|(slice, buffer)| (*slice, buffer));
        let submission = self.submit_parts(half, copied_to, give_up)?;
        let done = submission.is_some();
        match (staging, submission) {
            (Some((_, buffer)), Some(submission)) => {
                let (mapped, follows) = (map(&self.gpu, &buffer), !self.flying.is_empty());
                self.flying.push_back(Flight { mapped, buffer, submission, follows });
            }
            (Some((_, buffer)), None) => self.idle.push(buffer),
            (None, _) => {}
        }
        self.gpu.check().map(|()| done)
    }

    fn timed_submit(&mut self) -> Result<Times> {
        self.timed(|pass| self.record(pass))
    }

    fn repeat(&mut self, index: usize, times: u32) -> Result<Times> {
        self.timed(|pass| (0..times).for_each(|_| self.launches[index].record(pass, 0)))
    }

    fn counts(&self) -> Counts {
        self.gpu.counts()
    }

    fn metrics(&mut self, wait: bool) -> Result<Option<Vec<f32>>> {
        if self.landed.is_empty() {
            self.land(wait)?;
            self.gpu.check()?;
        }
        Ok(self.landed.pop_front())
    }
}

/// Bindings are of whole vectors of so many words, the most that a kernel reads at once: buffers end on an aligned
/// word.
const VECTOR_WORDS: usize = 8;

/// Refuses a plan that the adapter cannot run, naming the limit.
pub(in crate::engine) fn check_limits(gpu: &Gpu, plan: &Plan) -> Result<()> {
    let (limits, adapter) = (gpu.device.limits(), &gpu.info().name);
    let refuse = |what: String, needed: u64, limit: u64, unit: &'static str| {
        let fix = "use a smaller batch or another device".into();
        if needed > limit { Err(Error::Limit { what, needed, limit, unit, fix }) } else { Ok(()) }
    };
    let (binding, name) = plan.largest_binding();
    let what = format!("a binding of {name} on {adapter}");
    let bound = binding.next_multiple_of(4 * VECTOR_WORDS as u64);
    refuse(what, bound, limits.max_storage_buffer_binding_size, "bytes")?;
    let buffer = plan.buffers.iter().map(|buffer| buffer.words as u64 * 4).max().unwrap_or(0);
    refuse(format!("a buffer on {adapter}"), buffer, limits.max_buffer_size, "bytes")?;
    let sizes = plan.dispatches.iter().filter_map(|dispatch| dispatch.interface.cooperative);
    if let Some(size) = sizes.into_iter().find(|&size| gpu.cooperative().is_none_or(|own| own.size != size)) {
        let problem =
            format!("has no cooperative matrices of {size} x {size} with f16 operands and f32 sums");
        return Err(Error::device(adapter, problem, "lay the plan out for this device"));
    }
    for dispatch in &plan.dispatches {
        check_kernel(gpu, dispatch)?;
        if gpu.info().kind == "software" {
            let what = format!("the sum of {} ({}) on {adapter}", dispatch.name(), dispatch.label);
            refuse(what, dispatch.sum_length(), longest_sum(dispatch), "products")?;
        }
    }
    Ok(())
}

/// Refuses a kernel that the adapter cannot run, whatever the sizes. A driver may stop the program for it.
fn check_kernel(gpu: &Gpu, dispatch: &Dispatch) -> Result<()> {
    let (limits, adapter, interface) = (gpu.device.limits(), &gpu.info().name, &dispatch.interface);
    let fix = "run \"trm tune\", or use another device";
    let threads = interface.workgroup.iter().product();
    let bound = interface.bindings.len() as u32;
    for (what, needed, limit, unit) in [
        ("shared memory", interface.shared_bytes, limits.max_compute_workgroup_storage_size, "bytes"),
        ("a workgroup", threads, limits.max_compute_invocations_per_workgroup, "threads"),
        ("the bindings", bound, limits.max_storage_buffers_per_shader_stage, "buffers"),
    ] {
        if needed > limit {
            let what = format!("{what} of {} on {adapter}", dispatch.name());
            let (needed, limit) = (needed.into(), limit.into());
            return Err(Error::Limit { what, needed, limit, unit, fix: fix.into() });
        }
    }
    Ok(())
}

/// A software driver was seen to stop an invocation, silently, after 65,535 loop iterations: so long may the sums of a
/// product be there.
fn longest_sum(dispatch: &Dispatch) -> u64 {
    if dispatch.interface.cooperative.is_some() { 12_400 } else { 174_000 }
}

fn storage(gpu: &Gpu, name: &str, words: usize) -> wgpu::Buffer {
    gpu.buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size: align(words.max(1)) as u64 * 4,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

fn readback(gpu: &Gpu, words: usize) -> wgpu::Buffer {
    gpu.buffer(&wgpu::BufferDescriptor {
        label: Some("readback"),
        size: words as u64 * 4,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn copy(encoder: &mut wgpu::CommandEncoder, buffers: &[wgpu::Buffer], slice: Slice, to: &wgpu::Buffer) {
    let (offset, bytes) = (slice.offset as u64 * 4, slice.words as u64 * 4);
    encoder.copy_buffer_to_buffer(&buffers[slice.buffer], offset, to, 0, bytes);
}

fn map(gpu: &Gpu, buffer: &wgpu::Buffer) -> Receiver<std::result::Result<(), wgpu::BufferAsyncError>> {
    gpu.count(|counts| counts.readbacks += 1);
    let (sender, receiver) = channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |outcome| {
        // The receiver is gone only when the engine is, and then nobody waits.
        let _ = sender.send(outcome);
    });
    receiver
}

pub(super) fn mapped_words(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<u32>> {
    let view = buffer.get_mapped_range(..).map_err(|error| gpu.failed(error.to_string()))?;
    Ok(bytemuck::pod_collect_to_vec(&view[..]))
}

/// Pipelines and bind groups of all dispatches. Parameters of all dispatches share one uniform buffer.
fn launches(gpu: &Gpu, plan: &Plan, buffers: &[wgpu::Buffer]) -> Result<Vec<Launch>> {
    let mut params = Vec::new();
    let starts: Vec<usize> = plan
        .dispatches
        .iter()
        .map(|dispatch| {
            let start = params.len();
            params.extend_from_slice(&dispatch.params);
            params.resize(align(params.len()).max(ALIGN_WORDS), 0);
            start
        })
        .collect();
    let uniforms = gpu.buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: params.len().max(1) as u64 * 4,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&uniforms, 0, bytemuck::cast_slice(&params));
    let mut pipelines = BTreeMap::new();
    let mut launches = Vec::with_capacity(plan.dispatches.len());
    for (index, (dispatch, start)) in plan.dispatches.iter().zip(starts).enumerate() {
        let key = (dispatch.kernel.name, dispatch.entry.name, dispatch.constants.clone());
        let pipeline: &wgpu::ComputePipeline = match pipelines.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => new.insert(pipeline(gpu, dispatch)?),
        };
        let parted = dispatch.slices.iter().any(|slice| plan.buffers[slice.buffer].part_words.is_some());
        let groups = if parted { plan.times(index) } else { 1 };
        let group = |micro_batch| {
            let slices = plan.slices(index, micro_batch);
            bind_group(gpu, pipeline, dispatch, slices, buffers, (&uniforms, start))
        };
        let bindings = (0..groups).map(group).collect();
        launches.push(Launch { pipeline: pipeline.clone(), bindings, grid: dispatch.grid });
    }
    Ok(launches)
}

/// Compiles the crate's own kernels without run-time checks: each is tested over awkward shapes, and bounds checks cost
/// a fifth of the throughput. All others have them, and everything in debug builds and on [`Gpu::checked`].
#[allow(unsafe_code)]
fn pipeline(gpu: &Gpu, dispatch: &Dispatch) -> Result<wgpu::ComputePipeline> {
    let text = dispatch.kernel.text(&dispatch.constants)?;
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(dispatch.kernel.name),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    let own = KERNELS.iter().any(|kernel| std::ptr::eq(*kernel, dispatch.kernel));
    let module = if !own || gpu.checks() {
        gpu.device.create_shader_module(descriptor)
    } else {
        // SAFETY: the text is one of the crate's own shaders, whose accesses stay inside the bound slices for
        // every dispatch that ops lay down, and whose loops end. Users of the crate cannot change a plan.
        unsafe { gpu.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    };
    Ok(gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&dispatch.name()),
        layout: None,
        module: &module,
        entry_point: Some(dispatch.entry.name),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..wgpu::PipelineCompilationOptions::default()
        },
        cache: None,
    }))
}

fn bind_group(
    gpu: &Gpu,
    pipeline: &wgpu::ComputePipeline,
    dispatch: &Dispatch,
    slices: impl Iterator<Item = Slice>,
    buffers: &[wgpu::Buffer],
    (uniforms, start): (&wgpu::Buffer, usize),
) -> wgpu::BindGroup {
    let range = |buffer, offset: usize, words: usize| {
        let size = std::num::NonZeroU64::new(words as u64 * 4);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: offset as u64 * 4, size })
    };
    let storage = dispatch.interface.bindings.iter().zip(slices).map(|(binding, slice)| {
        let resource =
            range(&buffers[slice.buffer], slice.offset, slice.words.next_multiple_of(VECTOR_WORDS));
        wgpu::BindGroupEntry { binding: binding.slot, resource }
    });
    let params = dispatch.interface.params_binding.map(|binding| {
        let resource = range(uniforms, start, dispatch.params.len());
        wgpu::BindGroupEntry { binding, resource }
    });
    let entries: Vec<wgpu::BindGroupEntry<'_>> = params.into_iter().chain(storage).collect();
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&dispatch.label),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}
