// Whether a step may be applied: skip = 1 where a loss or a gradient is unusable (see lib/finite.wgsl), else 0.
//   look:   flags[i] = any of x[4096 i .. 4096 (i + 1)] unusable; x of any shape, `count` words; one flag for 4096 words
//   decide: skip[0] = any of found; unless `first`, or as it was. metrics (9): the last word = skip[0]
// A workgroup owns one chunk of x, the only workgroup of `decide` all flags. Exact: bits and integers, and sums of at
// most 64 ones in f32. All threads of a workgroup reach every barrier.

struct Params { count: u32, first: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> flags: array<u32>;
@group(0) @binding(3) var<storage, read> found: array<u32>;
@group(0) @binding(4) var<storage, read_write> skip: array<u32>;
@group(0) @binding(5) var<storage, read_write> metrics: array<f32>;

#import finite
#import index
#import reduce

const CHUNK: u32 = 4096u;
// Place in the metric block, after the sums of the statistics.
const SKIPPED: u32 = 8u;

@compute @workgroup_size(64)
fn look(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = linear_index(group, 0u, 1u);
    let start = chunk * CHUNK;
    let end = min(start + CHUNK, params.count);
    var any = 0.0;
    for (var index = start + local; index < end; index += 64u) {
        any = select(any, 1.0, unusable(x[index]));
    }
    let total = workgroup_sum(any, local);
    // A grid that folds has more workgroups than there are chunks.
    if local == 0u && start < params.count {
        flags[chunk] = select(0u, 1u, total > 0.0);
    }
}

@compute @workgroup_size(64)
fn decide(@builtin(local_invocation_index) local: u32) {
    var any = 0.0;
    for (var index = local; index < params.count; index += 64u) {
        any = select(any, 1.0, found[index] != 0u);
    }
    let total = workgroup_sum(any, local);
    if local == 0u {
        let skips = total > 0.0 || (params.first == 0u && skip[0] != 0u);
        skip[0] = select(0u, 1u, skips);
        metrics[SKIPPED] = select(0.0, 1.0, skips);
    }
}
