// C[b] = sum over r of A[b, r] B[b, r] on matrix units: product.wgsl for operands in f16, with sums in f32.
// A (m, k), B (k, n), C (m, n), with strides and epilogues as there.
// Strides along contiguous axes are 1, all others and the batches' are multiples of 8, so that every load is a vector of
// eight halves, 16 bytes. Lines of an operand lie along k (ALONG_K = 1) or across it; past k, vectors are zero. What lies
// behind k in its last vector is zero in one of the operands: weights are stored so.
// A workgroup has two by two subgroups, each of which owns DOWN x ACROSS matrices of SIZE x SIZE, or several subgroups'
// shares in turn where there are fewer of them. Operands go through shared memory, a step of DEPTH at a time, while the
// next step is on its way; lines lie eight further apart than long, so that neighbours lie in different banks. C leaves by
// strips of SIZE rows and two matrices through shared memory, where an epilogue meets its elements.
// The sum over k runs in one fixed order. Assumes whole subgroups.

enable f16;
enable wgpu_cooperative_matrix;

#import element
#import sigmoid
#import product
struct Pair { lo: vec4<f16>, hi: vec4<f16> }
#import staged_scalars if SCALARS else staged_vectors

@group(0) @binding(1) var<storage, read> a: array<Pair>;
@group(0) @binding(2) var<storage, read> b: array<Pair>;

// SIZE is that of the aliases below, which change with it. SCALARS is 1 where matrices are loaded by pointers to scalars.
const SIZE: u32 = 16u;
const SCALARS: u32 = 0u;
const LANES: u32 = 128u;
const DOWN: u32 = 4u;
const ACROSS: u32 = 4u;
const DEPTH: u32 = 32u;
// The only elements that these can be.
const A_ELEMENT: u32 = 2u;
const B_ELEMENT: u32 = 2u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 0u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const SHARES: u32 = 4u;
const TILE_M: u32 = 2u * DOWN * SIZE;
const TILE_N: u32 = 2u * ACROSS * SIZE;
// Vectors of a staged operand: how many from line to line, of which the last is a gap, and how many there are to load.
const PITCH_A: u32 = select(TILE_M, DEPTH, A_ALONG_K == 1u) / 8u + 1u;
const PITCH_B: u32 = select(TILE_N, DEPTH, B_ALONG_K == 1u) / 8u + 1u;
const LINES_A: u32 = select(DEPTH, TILE_M, A_ALONG_K == 1u);
const LINES_B: u32 = select(DEPTH, TILE_N, B_ALONG_K == 1u);
const VECTORS_A: u32 = TILE_M * DEPTH / 8u;
const VECTORS_B: u32 = TILE_N * DEPTH / 8u;
// Of them, those of a thread.
const MOST_A: u32 = (VECTORS_A + LANES - 1u) / LANES;
const MOST_B: u32 = (VECTORS_B + LANES - 1u) / LANES;
// A strip: SIZE rows of two matrices, a vector further apart than long.
const FOURS: u32 = SIZE / 2u;
const STRIP: u32 = FOURS + 1u;

var<workgroup> sh_a: array<StagedEight, LINES_A * PITCH_A>;
var<workgroup> sh_b: array<StagedEight, LINES_B * PITCH_B>;
var<workgroup> sh_c: array<StagedFour, SHARES * SIZE * STRIP>;

// Where a vector of an operand's step lies: its line, and how many vectors into that. Neighbouring threads read
// neighbouring vectors.
struct Place { line: u32, at: u32 }

fn place_of_a(index: u32) -> Place {
    return Place(index / (PITCH_A - 1u), index % (PITCH_A - 1u));
}

fn place_of_b(index: u32) -> Place {
    return Place(index / (PITCH_B - 1u), index % (PITCH_B - 1u));
}

// Where the vectors of a thread start, worked out once for all steps of k; and the vectors of a step.
struct Starts { a: array<u32, MOST_A>, b: array<u32, MOST_B> }
struct Step { a: array<Pair, MOST_A>, b: array<Pair, MOST_B> }

fn start_of_a(first: u32, index: u32) -> u32 {
    let place = place_of_a(index);
    if A_ALONG_K == 1u {
        return row_of_a(first + place.line) * params.a_row / 8u;
    }
    return min(first / 8u + place.at, (params.m - 1u) / 8u);
}

fn start_of_b(first: u32, index: u32) -> u32 {
    let place = place_of_b(index);
    if B_ALONG_K == 1u {
        return column_of_b(first + place.line) * params.b_col / 8u;
    }
    return min(first / 8u + place.at, (params.n - 1u) / 8u);
}

// A vector of the step that begins at k, zero past the end of k.
fn vector_of_a(base: u32, k: u32, index: u32, start: u32) -> Pair {
    let place = place_of_a(index);
    let depth = k + select(place.line, 8u * place.at, A_ALONG_K == 1u);
    if depth >= params.k {
        return Pair();
    }
    return a[base / 8u + start + select(depth * (params.a_col / 8u), depth / 8u, A_ALONG_K == 1u)];
}

fn vector_of_b(base: u32, k: u32, index: u32, start: u32) -> Pair {
    let place = place_of_b(index);
    let depth = k + select(place.line, 8u * place.at, B_ALONG_K == 1u);
    if depth >= params.k {
        return Pair();
    }
    return b[base / 8u + start + select(depth * (params.b_row / 8u), depth / 8u, B_ALONG_K == 1u)];
}

fn find(starts: ptr<function, Starts>, group: vec3<u32>, local: u32) {
    for (var i = 0u; i < MOST_A; i++) {
        (*starts).a[i] = start_of_a(group.y * TILE_M, local + i * LANES);
    }
    for (var i = 0u; i < MOST_B; i++) {
        (*starts).b[i] = start_of_b(group.x * TILE_N, local + i * LANES);
    }
}

fn load(next: ptr<function, Step>, starts: ptr<function, Starts>, base_a: u32, base_b: u32, k: u32, local: u32) {
    for (var i = 0u; i < MOST_A; i++) {
        (*next).a[i] = vector_of_a(base_a, k, local + i * LANES, (*starts).a[i]);
    }
    for (var i = 0u; i < MOST_B; i++) {
        (*next).b[i] = vector_of_b(base_b, k, local + i * LANES, (*starts).b[i]);
    }
}

fn stage(next: ptr<function, Step>, local: u32) {
    for (var i = 0u; i < MOST_A; i++) {
        let index = local + i * LANES;
        if VECTORS_A % LANES == 0u || index < VECTORS_A {
            let place = place_of_a(index);
            sh_a[place.line * PITCH_A + place.at] = staged((*next).a[i]);
        }
    }
    for (var i = 0u; i < MOST_B; i++) {
        let index = local + i * LANES;
        if VECTORS_B % LANES == 0u || index < VECTORS_B {
            let place = place_of_b(index);
            sh_b[place.line * PITCH_B + place.at] = staged((*next).b[i]);
        }
    }
}

// A matrix of what is staged, from a row of A or a column of B on and from k on.
fn left(row: u32, k: u32) -> Left {
    if A_ALONG_K == 1u {
        return coopLoadT<Left>(&sh_a[row * PITCH_A + k / 8u].first, OF_EIGHT * PITCH_A);
    }
    return coopLoad<Left>(&sh_a[k * PITCH_A + row / 8u].first, OF_EIGHT * PITCH_A);
}

fn right(column: u32, k: u32) -> Right {
    if B_ALONG_K == 1u {
        return coopLoad<Right>(&sh_b[column * PITCH_B + k / 8u].first, OF_EIGHT * PITCH_B);
    }
    return coopLoadT<Right>(&sh_b[k * PITCH_B + column / 8u].first, OF_EIGHT * PITCH_B);
}

// The share's first row and column in the tile.
fn row_of_share(share: u32) -> u32 {
    return share / 2u * DOWN * SIZE;
}

fn column_of_share(share: u32) -> u32 {
    return share % 2u * ACROSS * SIZE;
}

// Two neighbouring matrices, put where all of their subgroup can read them.
fn unpack(first: Sums, second: Sums, slot: u32) {
    coopStoreT(first, &sh_c[slot].first, OF_FOUR * STRIP);
    coopStoreT(second, &sh_c[slot + SIZE / 4u].first, OF_FOUR * STRIP);
}

const STRIPS: u32 = DOWN * ACROSS / 2u;

// One of the fours of a strip.
fn four(group: vec3<u32>, share: u32, strip: u32, at: u32) -> Four {
    let row = at / FOURS;
    let four = at % FOURS;
    let slot = share * SIZE * STRIP + four;
    let down = strip / (ACROSS / 2u) * SIZE + row;
    let across = strip % (ACROSS / 2u) * 2u * SIZE + 4u * four;
    return Four(
        group.z,
        group.y * TILE_M + row_of_share(share) + down,
        group.x * TILE_N + column_of_share(share) + across,
        four_of(sh_c[slot + row * STRIP]),
        four_of(sh_c[slot + (row ^ 2u) * STRIP]),
    );
}

// Fours of a strip: what the lanes of a subgroup share. A spare subgroup has none.
fn fours_of(share: u32) -> u32 {
    return select(0u, SIZE * FOURS, share < SHARES);
}

#each store add gate gate_kept ungate turn
@compute @workgroup_size(LANES)
fn each(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    for (var first = 0u; first < SHARES; first += subgroups) {
        let share = min(first + subgroup, SHARES);
        let row = row_of_share(min(share, SHARES - 1u));
        let column = column_of_share(min(share, SHARES - 1u));
        var c00 = Sums();
        var c01 = Sums();
        var c02 = Sums();
        var c03 = Sums();
        var c10 = Sums();
        var c11 = Sums();
        var c12 = Sums();
        var c13 = Sums();
        var c20 = Sums();
        var c21 = Sums();
        var c22 = Sums();
        var c23 = Sums();
        var c30 = Sums();
        var c31 = Sums();
        var c32 = Sums();
        var c33 = Sums();
        var starts: Starts;
        var next: Step;
        find(&starts, group, local);
        for (var r = 0u; r < params.reductions; r++) {
            let base_a = base_of_a(group.z, r);
            let base_b = base_of_b(group.z, r);
            load(&next, &starts, base_a, base_b, 0u, local);
            for (var k = 0u; k < params.k; k += DEPTH) {
                workgroupBarrier();
                stage(&next, local);
                workgroupBarrier();
                if k + DEPTH < params.k {
                    load(&next, &starts, base_a, base_b, k + DEPTH, local);
                }
                for (var depth = 0u; depth < DEPTH; depth += SIZE) {
                    let b0 = right(column, depth);
                    let b1 = right(column + SIZE, depth);
                    if DOWN == 2u {
                        let a0 = left(row, depth);
                        c00 = coopMultiplyAdd(a0, b0, c00);
                        c01 = coopMultiplyAdd(a0, b1, c01);
                        let a1 = left(row + SIZE, depth);
                        c10 = coopMultiplyAdd(a1, b0, c10);
                        c11 = coopMultiplyAdd(a1, b1, c11);
                    } else {
                        let b2 = right(column + 2u * SIZE, depth);
                        let b3 = right(column + 3u * SIZE, depth);
                        let a0 = left(row, depth);
                        c00 = coopMultiplyAdd(a0, b0, c00);
                        c01 = coopMultiplyAdd(a0, b1, c01);
                        c02 = coopMultiplyAdd(a0, b2, c02);
                        c03 = coopMultiplyAdd(a0, b3, c03);
                        let a1 = left(row + SIZE, depth);
                        c10 = coopMultiplyAdd(a1, b0, c10);
                        c11 = coopMultiplyAdd(a1, b1, c11);
                        c12 = coopMultiplyAdd(a1, b2, c12);
                        c13 = coopMultiplyAdd(a1, b3, c13);
                        let a2 = left(row + 2u * SIZE, depth);
                        c20 = coopMultiplyAdd(a2, b0, c20);
                        c21 = coopMultiplyAdd(a2, b1, c21);
                        c22 = coopMultiplyAdd(a2, b2, c22);
                        c23 = coopMultiplyAdd(a2, b3, c23);
                        let a3 = left(row + 3u * SIZE, depth);
                        c30 = coopMultiplyAdd(a3, b0, c30);
                        c31 = coopMultiplyAdd(a3, b1, c31);
                        c32 = coopMultiplyAdd(a3, b2, c32);
                        c33 = coopMultiplyAdd(a3, b3, c33);
                    }
                }
            }
        }
        // Strip by strip: pairs of matrices of a share, row by row; a spare subgroup has none.
        let slot = share * SIZE * STRIP;
        for (var strip = 0u; strip < STRIPS; strip++) {
            workgroupBarrier();
            if share < SHARES {
                switch strip / (ACROSS / 2u) * 2u + strip % (ACROSS / 2u) {
                    case 0u: { unpack(c00, c01, slot); }
                    case 1u: { unpack(c02, c03, slot); }
                    case 2u: { unpack(c10, c11, slot); }
                    case 3u: { unpack(c12, c13, slot); }
                    case 4u: { unpack(c20, c21, slot); }
                    case 5u: { unpack(c22, c23, slot); }
                    case 6u: { unpack(c30, c31, slot); }
                    default: { unpack(c32, c33, slot); }
                }
            }
            workgroupBarrier();
            for (var at = lane; at < fours_of(share); at += lanes) {
                finish_each(four(group, share, strip, at));
            }
        }
    }
}
#end
