// A sum of TERMS (1 to 3) tensors (B, L, D), some of them (bit t of params.pending) still to be normalised: h = sum of
// s_t term_t, s_t = 1 / sqrt(mean(term_t^2) + eps). Behind such a term's words, from word `squares_at` on, lie its
// sums of squares (groups, parts); a group is a position (b, l) for a norm over D, a feature (b, d) for one over L
// (NORM_OVER_L = 1). Each workgroup works the scales of its groups out once, at most KEPT of them per term.
// The importing shader's tile has rows of (B L) (OVER_L = 0) or rows of one sample; its params have positions (B L),
// length (L), width (D), groups, parts, squares_at, pending, eps.
const TERMS: u32 = 1u;
const NORM_OVER_L: u32 = 0u;
const KEPT: u32 = 64u;
const TERM_0_ELEMENT: u32 = 0u;
const TERM_1_ELEMENT: u32 = 0u;
const TERM_2_ELEMENT: u32 = 0u;
var<workgroup> sh_scale: array<f32, TERMS * KEPT>;
// Where the scales of the tile's rows start among those kept.
var<workgroup> sh_kept: array<u32, TILE_M>;

// What terms that lack their norm hold behind their words is f32, like themselves.
fn square_of(term: u32, at: u32) -> f32 {
    switch term {
        case 0u: { return bitcast<f32>(term_0[at]); }
        case 1u: { return bitcast<f32>(term_1[at]); }
        default: { return bitcast<f32>(term_2[at]); }
    }
}

fn scale_of(term: u32, group: u32) -> f32 {
    if (params.pending >> term & 1u) == 0u {
        return 1.0;
    }
    var squares = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        squares += square_of(term, params.squares_at + group * params.parts + part);
    }
    let normed = select(params.width, params.length, NORM_OVER_L == 1u);
    return inverseSqrt(squares / f32(normed) + params.eps);
}

// The group of a position's first feature.
fn group_of(position: u32) -> u32 {
    return select(position, position / params.length * params.width, NORM_OVER_L == 1u);
}

// For a tile that starts at this position of (B L). All threads must call it: it has a barrier.
fn keep_scales(local: u32, first_position: u32) {
    let first = group_of(first_position);
    for (var i = local; i < TERMS * KEPT; i += 256u) {
        sh_scale[i] = scale_of(i / KEPT, min(first + i % KEPT, params.groups - 1u));
    }
    for (var row = local; row < TILE_M; row += 256u) {
        sh_kept[row] = group_of(min(first_position + row, params.positions - 1u)) - first;
    }
    workgroupBarrier();
}

// Which of the scales kept belongs to a feature in a row of the tile.
fn kept_in_row(row: u32, feature: u32) -> u32 {
    return sh_kept[row] + feature * NORM_OVER_L;
}

// The sum at `position` of (B L) and `feature` of D, with scale `kept` of each term.
fn sum_at(position: u32, feature: u32, kept: u32) -> f32 {
    let at = position * params.width + feature;
    let first = widened(term_0[word_of_element(at, TERM_0_ELEMENT)], at, TERM_0_ELEMENT);
    var total = first * sh_scale[kept];
    if TERMS > 1u {
        let term = widened(term_1[word_of_element(at, TERM_1_ELEMENT)], at, TERM_1_ELEMENT);
        total += term * sh_scale[KEPT + kept];
    }
    if TERMS > 2u {
        let term = widened(term_2[word_of_element(at, TERM_2_ELEMENT)], at, TERM_2_ELEMENT);
        total += term * sh_scale[2u * KEPT + kept];
    }
    return total;
}
