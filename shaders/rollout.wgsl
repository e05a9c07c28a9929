// What sets several rollouts of a puzzle apart, and how far a supervision step moves a latent.
//   disturb: state[b, i] = keep[b] state[b, i] + scale[b] e, e standard normal by seed, example, rollout, step, i;
//            scale is the latents' or that of the answer; where keep is 1 and scale 0, the state keeps its bits.
//   measure: changes[b] = sqrt(mean over i of (state[b, i] - previous[b, i])^2); previous = state.
// state, previous (B, L, D), rollouts (B), changes (B). A thread of `disturb` owns four elements, a workgroup of `measure` a
// sample, whose elements its threads add in a fixed order. f32.

struct Rollout {
    seed_low: u32, seed_high: u32, example: u32, rollout: u32, step: u32,
    keep: f32, latent: f32, answer: f32,
}
// `state` tells the states' draws apart; `blocks` are the fours of a sample, the last of which may be short.
struct Params { count: u32, per_sample: u32, blocks: u32, state: u32, latent: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rollouts: array<Rollout>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read> now: array<f32>;
@group(0) @binding(4) var<storage, read_write> previous: array<f32>;
@group(0) @binding(5) var<storage, read_write> changes: array<f32>;

#import gaussian
#import index
#import philox
#import reduce

// What draws are for: `purpose` in src/rng.rs.
const ROLLOUT: u32 = 524288u;

@compute @workgroup_size(64)
fn disturb(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let sample = index / params.blocks;
    let block = index % params.blocks;
    let own = rollouts[sample];
    let scale = select(own.answer, own.latent, params.latent != 0u);
    if own.keep == 1.0 && scale == 0.0 {
        return;
    }
    let key = vec2<u32>(own.seed_low, own.seed_high);
    let counter = vec4<u32>((params.state << 28u) | block, own.example, own.step, ROLLOUT | own.rollout);
    let noise = gaussians(key, counter);
    let first = 4u * block;
    for (var lane = 0u; lane < min(4u, params.per_sample - first); lane++) {
        let at = sample * params.per_sample + first + lane;
        state[at] = own.keep * state[at] + scale * noise[lane];
    }
}

@compute @workgroup_size(64)
fn measure(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sample = group.x;
    let first = sample * params.per_sample;
    var total = 0.0;
    for (var i = local; i < params.per_sample; i += 64u) {
        let difference = now[first + i] - previous[first + i];
        total += difference * difference;
        previous[first + i] = now[first + i];
    }
    let sum = workgroup_sum(total, local);
    if local == 0u {
        changes[sample] = sqrt(sum / f32(params.per_sample));
    }
}
