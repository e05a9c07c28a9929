//! Timing on a GPU: one submission of one pass, by the clock of the host and, where the adapter has them, by
//! timestamps at the pass's boundaries.

use std::time::{Duration, Instant};

use super::adapter::Gpu;
use super::executor::{GpuEngine, mapped_words};
use crate::Result;
use crate::engine::Times;

/// Two timestamps and their way to the host.
struct Stopwatch {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// Bytes of two timestamps.
const BYTES: u64 = 16;

impl Stopwatch {
    /// None where the adapter has no timestamps.
    fn new(gpu: &Gpu) -> Option<Stopwatch> {
        let buffer = |label, usage| {
            let size = BYTES;
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let queries = wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count: 2 };
        use wgpu::BufferUsages as Usage;
        gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| Stopwatch {
            queries: gpu.device.create_query_set(&queries),
            resolved: buffer(Some("timestamps"), Usage::QUERY_RESOLVE | Usage::COPY_SRC),
            staging: buffer(Some("timestamps"), Usage::MAP_READ | Usage::COPY_DST),
        })
    }

    fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, BYTES);
    }

    /// After the submission was waited for.
    fn read(&self, engine: &GpuEngine) -> Result<Duration> {
        self.staging.map_async(wgpu::MapMode::Read, .., |_| {});
        engine.wait()?;
        let words = mapped_words(&engine.gpu, &self.staging)?;
        let ticks: &[u64] = bytemuck::cast_slice(&words);
        let period = f64::from(engine.gpu.queue.get_timestamp_period());
        let elapsed = ticks.last().unwrap_or(&0).saturating_sub(*ticks.first().unwrap_or(&0));
        Ok(Duration::from_nanos((elapsed as f64 * period) as u64))
    }
}

impl GpuEngine {
    /// Records one pass, submits it and waits for it.
    pub(super) fn timed(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<Times> {
        self.wait()?;
        let stopwatch = Stopwatch::new(&self.gpu);
        let start = Instant::now();
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: stopwatch.as_ref().map(Stopwatch::writes),
        }));
        if let Some(stopwatch) = &stopwatch {
            stopwatch.resolve(&mut encoder);
        }
        let commands = encoder.finish();
        let encode = start.elapsed();
        self.gpu.submit(commands);
        let submit = start.elapsed() - encode;
        self.wait()?;
        let whole = start.elapsed();
        let device = stopwatch.map(|stopwatch| stopwatch.read(self)).transpose()?;
        Ok(Times { whole, encode, submit, device })
    }
}
