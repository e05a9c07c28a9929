// staged_vectors.wgsl where matrices come from and go to scalars.
struct StagedEight { first: f16, b: f16, c: f16, d: f16, e: f16, f: f16, g: f16, h: f16 }
struct StagedFour { first: f32, b: f32, c: f32, d: f32 }
const OF_EIGHT: u32 = 8u;
const OF_FOUR: u32 = 4u;

fn staged(eight: Pair) -> StagedEight {
    let lo = eight.lo;
    let hi = eight.hi;
    return StagedEight(lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w);
}

fn eight_of(staged: StagedEight) -> Pair {
    let lo = vec4<f16>(staged.first, staged.b, staged.c, staged.d);
    return Pair(lo, vec4<f16>(staged.e, staged.f, staged.g, staged.h));
}

fn four_of(staged: StagedFour) -> vec4<f32> {
    return vec4<f32>(staged.first, staged.b, staged.c, staged.d);
}
