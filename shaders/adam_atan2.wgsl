// AdamATan2 with decoupled weight decay, and the moving average of the weights, for all trained tensors at once:
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w (1 - lr wd) - lr / (1 - b1^t) atan2(m, sqrt(v / (1 - b2^t)))
//   ema = rate ema + (1 - rate) w
// All flat and of one length; the clock holds lr and the two bias corrections. A thread owns one weight. f32.
// Where skip (1) is not 0, a gradient or loss is not finite and everything keeps its bits.

struct Params { count: u32, beta1: f32, beta2: f32, weight_decay: f32, ema_rate: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> clock: Clock;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> first_moment: array<f32>;
@group(0) @binding(5) var<storage, read_write> second_moment: array<f32>;
@group(0) @binding(6) var<storage, read_write> ema: array<f32>;
@group(0) @binding(7) var<storage, read> skip: array<u32>;

#import atan2
#import clock
#import index

@compute @workgroup_size(64)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count || skip[0] != 0u {
        return;
    }
    let g = gradient[index];
    let m = params.beta1 * first_moment[index] + (1.0 - params.beta1) * g;
    let v = params.beta2 * second_moment[index] + (1.0 - params.beta2) * g * g;
    let direction = atan2_right(m, sqrt(v) * clock.second_moment_scale);
    let w = weight[index] * (1.0 - clock.lr * params.weight_decay) - clock.lr * clock.first_moment_scale * direction;
    first_moment[index] = m;
    second_moment[index] = v;
    weight[index] = w;
    ema[index] = params.ema_rate * ema[index] + (1.0 - params.ema_rate) * w;
}
