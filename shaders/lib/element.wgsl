// Elements of tensors in 32-bit words: one a word (F32), or two, the first in the lower half (BF16, F16).
// Whatever an element's type, arithmetic is f32; narrowing rounds to the nearest, ties to even.
const F32: u32 = 0u;
const BF16: u32 = 1u;
const F16: u32 = 2u;

fn word_of_element(index: u32, element: u32) -> u32 {
    return select(index / 2u, index, element == F32);
}

// The two halves of a word.
fn widened_pair(word: u32, element: u32) -> vec2<f32> {
    if element == F16 {
        return unpack2x16float(word);
    }
    return vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
}

// The element `index` of a tensor, whose word is `word`.
fn widened(word: u32, index: u32, element: u32) -> f32 {
    if element == F32 {
        return bitcast<f32>(word);
    }
    let pair = widened_pair(word, element);
    return select(pair.x, pair.y, index % 2u == 1u);
}

// Four halves, the `at`-th, of the vector of eight that holds them.
fn widened_four(words: vec4<u32>, at: u32, element: u32) -> vec4<f32> {
    let four = select(words.xy, words.zw, at % 2u == 1u);
    return vec4<f32>(widened_pair(four.x, element), widened_pair(four.y, element));
}

// A NaN stays one.
fn upper_half(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let rounded = (bits + 0x7fffu + (bits >> 16u & 1u)) >> 16u;
    return select(rounded, bits >> 16u | 0x40u, (bits & 0x7fffffffu) > 0x7f800000u);
}

fn narrowed_pair(pair: vec2<f32>, element: u32) -> u32 {
    if element == F16 {
        return pack2x16float(pair);
    }
    return upper_half(pair.x) | upper_half(pair.y) << 16u;
}
