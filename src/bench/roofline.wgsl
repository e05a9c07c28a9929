// The limits of a device. multiply_add: y[i] = a + b + c after 8 rounds times v <- v factor + addend of three vectors
// each, twelve independent chains a thread. copy: y[i] = x[i].
// x, y (count) vectors of four; one thread owns one vector.
// f32; the chains converge, so that no value grows or becomes subnormal. Assumes nothing of the device.

struct Params { count: u32, rounds: u32, factor: f32, addend: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

#import index

@compute @workgroup_size(64)
fn multiply_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local, 64u);
    let factor = vec4<f32>(params.factor);
    let addend = vec4<f32>(params.addend);
    var a = vec4<f32>(f32(i));
    var b = a + 1.0;
    var c = a + 2.0;
    for (var round = 0u; round < params.rounds; round++) {
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
    }
    if i < params.count {
        y[i] = a + b + c;
    }
}

@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local, 64u);
    if i < params.count {
        y[i] = x[i];
    }
}
