// Four independent standard normal numbers for one (key, counter), by Box-Muller: gaussians() of src/rng.rs. Needs philox.
// Angles are in [-pi, pi), where sines are at their best.
fn gaussians(key: vec2<u32>, counter: vec4<u32>) -> vec4<f32> {
    let uniform = vec4<f32>(philox(key, counter) >> vec4<u32>(8u)) / 16777216.0;
    let radii = sqrt(-2.0 * log(uniform.xz + 1.0 / 16777216.0));
    let angles = 6.283185307179586 * uniform.yw - 3.141592653589793;
    return vec4<f32>(radii.x * cos(angles.x), radii.x * sin(angles.x), radii.y * cos(angles.y), radii.y * sin(angles.y));
}
