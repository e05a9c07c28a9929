// Where a slot has halted, its states return to their initial vector and it takes the incoming batch's sample:
//   halted[b] != 0: state[b, l] = initial, or with draw_state deviation times standard normal numbers of its own;  inputs[b], labels[b], identifiers[b] = the incoming ones.
// state (B, L, D), initial (D); inputs, labels (B, S), identifiers (B), each beside its incoming twin; halted (B).
// draws (B, 4): the key and two words of the counter that a sample's numbers are drawn by.
// Step counters are reset where they are counted, in loss.wgsl. A thread owns one element, in draw_state four
// neighbours of a sample. Exact copies.

struct Params { count: u32, per_sample: u32, width: u32, purpose: u32, deviation: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> halted: array<u32>;
@group(0) @binding(2) var<storage, read> initial: array<f32>;
@group(0) @binding(3) var<storage, read> incoming_inputs: array<u32>;
@group(0) @binding(4) var<storage, read> incoming_labels: array<u32>;
@group(0) @binding(5) var<storage, read> incoming_identifiers: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<f32>;
@group(0) @binding(7) var<storage, read_write> inputs: array<u32>;
@group(0) @binding(8) var<storage, read_write> labels: array<u32>;
@group(0) @binding(9) var<storage, read_write> identifiers: array<u32>;
@group(0) @binding(10) var<storage, read> draws: array<vec4<u32>>;

#import gaussian
#import index
#import philox

@compute @workgroup_size(64)
fn reset_state(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index < params.count && halted[index / params.per_sample] != 0u {
        state[index] = initial[index % params.width];
    }
}

@compute @workgroup_size(64)
fn draw_state(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    let fours = (params.per_sample + 3u) / 4u;
    let sample = index / fours;
    let four = index % fours;
    if index >= params.count || halted[sample] == 0u {
        return;
    }
    let draw = draws[sample];
    let numbers = params.deviation * gaussians(draw.xy, vec4<u32>(four, draw.zw, params.purpose));
    for (var i = 0u; i < min(params.per_sample - 4u * four, 4u); i++) {
        state[sample * params.per_sample + 4u * four + i] = numbers[i];
    }
}

@compute @workgroup_size(64)
fn take_samples(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count || halted[index / params.per_sample] == 0u {
        return;
    }
    inputs[index] = incoming_inputs[index];
    labels[index] = incoming_labels[index];
    if index % params.per_sample == 0u {
        identifiers[index / params.per_sample] = incoming_identifiers[index / params.per_sample];
    }
}
