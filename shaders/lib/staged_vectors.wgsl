// Eight f16 and four f32 in shared memory, as vectors. Matrices are loaded from and stored to `first`, with strides that
// count what that points to: OF_EIGHT of them to an eight, OF_FOUR to a four.
struct StagedEight { first: vec4<f16>, second: vec4<f16> }
struct StagedFour { first: vec4<f32> }
const OF_EIGHT: u32 = 2u;
const OF_FOUR: u32 = 1u;

fn staged(eight: Pair) -> StagedEight {
    return StagedEight(eight.lo, eight.hi);
}

fn eight_of(staged: StagedEight) -> Pair {
    return Pair(staged.first, staged.second);
}

fn four_of(staged: StagedFour) -> vec4<f32> {
    return staged.first;
}
