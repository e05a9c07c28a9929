// Philox 4x32-10 (Salmon et al., SC 2011), word for word the function of src/rng.rs.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let cross_a = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let cross_b = (a & 0xffffu) * (b >> 16u) + (cross_a & 0xffffu);
    return vec2<u32>((a >> 16u) * (b >> 16u) + (cross_a >> 16u) + (cross_b >> 16u), a * b);
}

fn philox(first_key: vec2<u32>, first_counter: vec4<u32>) -> vec4<u32> {
    var key = first_key;
    var counter = first_counter;
    for (var round = 0u; round < 10u; round++) {
        let a = multiply_wide(0xD2511F53u, counter.x);
        let b = multiply_wide(0xCD9E8D57u, counter.z);
        counter = vec4<u32>(b.x ^ counter.y ^ key.x, b.y, a.x ^ counter.w ^ key.y, a.y);
        key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}
