// 1 / (1 + e^-v) without overflow: past 80 the sum is 1 or the quotient 0 in f32 either way.
fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-v, 80.0)));
}

// The same, four at a time.
fn sigmoids(v: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(min(-v, vec4<f32>(80.0))));
}
