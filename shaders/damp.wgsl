// state = a old + (1 - a) y + s e: the damped update of a state by what its net says, with noise e, standard normal.
// old, y, state (B, L, D) or any other shape of `per_sample` elements a sample; e is drawn by a sample's key and counter.
// damp_add: total = state + first (+ second) as well, what the next net starts from; `addends` says how many there are.
// scale: state = a y, which is what flows back.
// A thread owns four neighbours of a sample, the last of which may be less. f32 but for how elements are stored, in
// halves only where a sample has an even number of them.

struct Params { count: u32, per_sample: u32, addends: u32, purpose: u32, damping: f32, noise: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> draws: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> old: array<u32>;
@group(0) @binding(3) var<storage, read> y: array<u32>;
@group(0) @binding(4) var<storage, read> first: array<u32>;
@group(0) @binding(5) var<storage, read> second: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> total: array<u32>;

const OLD_ELEMENT: u32 = 0u;
const Y_ELEMENT: u32 = 0u;
const FIRST_ELEMENT: u32 = 0u;
const SECOND_ELEMENT: u32 = 0u;
const STATE_ELEMENT: u32 = 0u;
const TOTAL_ELEMENT: u32 = 0u;
#import element
#import gaussian
#import index
#import philox

#each old y first second
fn four_of_each(at: u32, count: u32) -> vec4<f32> {
    let end = count - 1u;
    if EACH_ELEMENT != F32 {
        return vec4<f32>(widened_pair(each[at / 2u], EACH_ELEMENT), widened_pair(each[(at + end) / 2u], EACH_ELEMENT));
    }
    let words = vec4<u32>(each[at], each[at + min(1u, end)], each[at + min(2u, end)], each[at + min(3u, end)]);
    return bitcast<vec4<f32>>(words);
}
#end

#each state total
fn store_four_of_each(at: u32, values: vec4<f32>, count: u32) {
    if EACH_ELEMENT != F32 {
        each[at / 2u] = narrowed_pair(values.xy, EACH_ELEMENT);
        if count > 2u {
            each[at / 2u + 1u] = narrowed_pair(values.zw, EACH_ELEMENT);
        }
        return;
    }
    for (var i = 0u; i < count; i++) {
        each[at + i] = bitcast<u32>(values[i]);
    }
}
#end

// The elements of a thread: of which sample, which four of its, from where on, and how many.
struct Four { sample: u32, index: u32, at: u32, count: u32 }

fn four_of(thread: u32) -> Four {
    let fours = (params.per_sample + 3u) / 4u;
    let sample = thread / fours;
    let index = thread % fours;
    return Four(sample, index, sample * params.per_sample + 4u * index, min(params.per_sample - 4u * index, 4u));
}

fn damped(four: Four) -> vec4<f32> {
    let value = params.damping * four_of_old(four.at, four.count) + (1.0 - params.damping) * four_of_y(four.at, four.count);
    let draw = draws[four.sample];
    if params.noise > 0.0 {
        return value + params.noise * gaussians(draw.xy, vec4<u32>(four.index, draw.zw, params.purpose));
    }
    return value;
}

@compute @workgroup_size(64)
fn damp(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = linear_index(group, local, 64u);
    if thread < params.count {
        let four = four_of(thread);
        store_four_of_state(four.at, damped(four), four.count);
    }
}

@compute @workgroup_size(64)
fn damp_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = linear_index(group, local, 64u);
    if thread < params.count {
        let four = four_of(thread);
        let value = damped(four);
        store_four_of_state(four.at, value, four.count);
        var sum = value + four_of_first(four.at, four.count);
        if params.addends > 1u {
            sum += four_of_second(four.at, four.count);
        }
        store_four_of_total(four.at, sum, four.count);
    }
}

@compute @workgroup_size(64)
fn scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = linear_index(group, local, 64u);
    if thread < params.count {
        let four = four_of(thread);
        store_four_of_state(four.at, params.damping * four_of_y(four.at, four.count), four.count);
    }
}
