// metrics[i] = sum over samples of stats[b, i]: the one block that the host reads back. stats (B, 8), a part for
// each micro-batch; metrics (9), whose last word `finite` writes.
// Eight threads own one metric each and add the samples in order. f32.

struct Params { parts: u32, part_words: u32, stride: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> stats: array<f32>;
@group(0) @binding(2) var<storage, read_write> metrics: array<f32>;

@compute @workgroup_size(8)
fn total(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        let first = part * params.stride;
        for (var at = first + local; at < first + params.part_words; at += 8u) {
            sum += stats[at];
        }
    }
    metrics[local] = sum;
}
