// 1 / (1 + e^-v) without overflow: past 80 the sum is 1 or the quotient 0 in f32 either way.
fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-v, 80.0)));
}
