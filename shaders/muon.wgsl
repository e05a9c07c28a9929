// Muon's parts that are no products, of one matrix of `count` elements, whatever its shape; the order is in src/ops/muon.rs.
//   momentum: m = b m + (1 - b) g, out = (1 - b) g + b m (Nesterov), squares (blocks): the sums of out^2, block by block
//   normalise: out = one / sqrt(sum of squares), 0 where that is 0
//   blend: out = p one + q other
//   update: w = w (1 - lr wd) - lr q one;  ema = p ema + (1 - p) w
// A workgroup owns a block of 4,096 elements, or, in blend and update, a thread owns one. f32, sums in a fixed order.
// Where skip (1) is not 0, a gradient or loss is not finite and momentum, weights and averages keep their bits.

struct Params { count: u32, blocks: u32, weight_decay: f32, p: f32, q: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> clock: Clock;
@group(0) @binding(2) var<storage, read> skip: array<u32>;
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> one: array<f32>;
@group(0) @binding(5) var<storage, read> other: array<f32>;
@group(0) @binding(6) var<storage, read> all_squares: array<f32>;
@group(0) @binding(7) var<storage, read_write> moment: array<f32>;
@group(0) @binding(8) var<storage, read_write> squares: array<f32>;
@group(0) @binding(9) var<storage, read_write> out: array<f32>;
@group(0) @binding(10) var<storage, read_write> weight: array<f32>;
@group(0) @binding(11) var<storage, read_write> ema: array<f32>;

#import clock
#import index
#import reduce

const BLOCK: u32 = 4096u;

@compute @workgroup_size(64)
fn momentum(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let block = linear_index(group, 0u, 1u);
    let end = min((block + 1u) * BLOCK, params.count);
    var sum = 0.0;
    for (var at = block * BLOCK + local; at < end; at += 64u) {
        let g = (1.0 - params.p) * gradient[at];
        let m = params.p * moment[at] + g;
        let ahead = g + params.p * m;
        if skip[0] == 0u {
            moment[at] = m;
        }
        out[at] = ahead;
        sum += ahead * ahead;
    }
    let total = workgroup_sum(sum, local);
    if local == 0u && block < params.blocks {
        squares[block] = total;
    }
}

@compute @workgroup_size(64)
fn normalise(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var at = local; at < params.blocks; at += 64u) {
        sum += all_squares[at];
    }
    let total = workgroup_sum(sum, local);
    let scale = select(0.0, inverseSqrt(total), total > 0.0);
    let block = linear_index(group, 0u, 1u);
    let end = min((block + 1u) * BLOCK, params.count);
    for (var at = block * BLOCK + local; at < end; at += 64u) {
        out[at] = scale * one[at];
    }
}

@compute @workgroup_size(64)
fn blend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local, 64u);
    if at < params.count {
        out[at] = params.p * one[at] + params.q * other[at];
    }
}

@compute @workgroup_size(64)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let at = linear_index(group, local, 64u);
    if at >= params.count || skip[0] != 0u {
        return;
    }
    let w = weight[at] * (1.0 - clock.lr * params.weight_decay) - clock.lr * params.q * one[at];
    weight[at] = w;
    ema[at] = params.p * ema[at] + (1.0 - params.p) * w;
}
