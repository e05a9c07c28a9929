// Four f32 read as a pair of 64-bit words: drivers that load word by word, with a check for each, take half as long.
fn as_floats(pair: vec2<u64>) -> vec4<f32> {
    let low = vec2<u32>(pair);
    let high = vec2<u32>(pair >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

// The same, to be written.
fn as_words(values: vec4<f32>) -> vec2<u64> {
    let words = bitcast<vec4<u32>>(values);
    return vec2<u64>(words.xz) | (vec2<u64>(words.yw) << vec2<u32>(32u));
}
