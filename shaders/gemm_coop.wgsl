// C[b] = sum over r of A[b, r] B[b, r]  (+ addend[b]): gemm.wgsl on cooperative matrices, for adapters that have them.
// Shapes and strides as in gemm.wgsl. A is contiguous along k (A_ALONG_K = 1) or not, B along k (B_ALONG_K = 1) or not.
// A block is 4 x 2 matrices of SIZE x SIZE; a workgroup owns a tile of ROWS x COLUMNS blocks of one C[b], and a
// subgroup of it owns a block, or several in turn where there are fewer subgroups than blocks.
// Operands are rounded to f16 on their way to shared memory; products and sums are f32. The sum over k runs in one
// fixed order for every tile; what lies past m, n or k is staged as zero.
// Assumes whole subgroups. Where there are more of them than blocks, the spare ones repeat the last block: the same
// values in the same places.

enable f16;
enable wgpu_cooperative_matrix;

#import strides
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> addend: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

// SIZE is that of the aliases below, which change with it.
const SIZE: u32 = 16u;
const LANES: u32 = 64u;
const ROWS: u32 = 1u;
const COLUMNS: u32 = 2u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 0u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const BLOCKS: u32 = ROWS * COLUMNS;
const TILE_M: u32 = 4u * SIZE * ROWS;
const TILE_N: u32 = 2u * SIZE * COLUMNS;
const DEPTH: u32 = 32u;
// Steps of k that a thread stages at once.
const RUN: u32 = 8u;
// From one staged line to the next: the gap lets neighbouring lines lie in different memory banks.
const LINE: u32 = DEPTH + RUN;

// Rows of A and columns of B, both along k.
var<workgroup> sh_a: array<f16, TILE_M * LINE>;
var<workgroup> sh_b: array<f16, TILE_N * LINE>;
// One matrix of each block on its way out.
var<workgroup> sh_c: array<f32, BLOCKS * SIZE * SIZE>;

// The block that the subgroup works on, row by row.
var<private> c00: Sums;
var<private> c01: Sums;
var<private> c10: Sums;
var<private> c11: Sums;
var<private> c20: Sums;
var<private> c21: Sums;
var<private> c30: Sums;
var<private> c31: Sums;

// Where a run of a tile with `lines` lines starts: its line, and how far along k. Neighbouring threads read
// neighbouring words.
fn place(run: u32, lines: u32, along_k: bool) -> vec2<u32> {
    if along_k {
        return vec2<u32>(run / (DEPTH / RUN), run % (DEPTH / RUN) * RUN);
    }
    return vec2<u32>(run % lines, run / lines * RUN);
}

fn stage_a(first_row: u32, k0: u32, base: u32, local: u32) {
    for (var run = local; run < TILE_M * DEPTH / RUN; run += LANES) {
        let at = place(run, TILE_M, A_ALONG_K != 0u);
        let row = first_row + at.x;
        let depth = k0 + at.y;
        let step = select(params.a_col, 1u, A_ALONG_K != 0u);
        let from_word = base + row * params.a_row + depth * step;
        let to = at.x * LINE + at.y;
        if row < params.m && depth + RUN <= params.k {
            for (var i = 0u; i < RUN; i++) {
                sh_a[to + i] = f16(a[from_word + i * step]);
            }
        } else {
            // Without branches: past an edge the last element is read and dropped.
            let last = base + min(row, params.m - 1u) * params.a_row;
            for (var i = 0u; i < RUN; i++) {
                let value = a[last + min(depth + i, params.k - 1u) * step];
                sh_a[to + i] = f16(select(0.0, value, row < params.m && depth + i < params.k));
            }
        }
    }
}

fn stage_b(first_col: u32, k0: u32, base: u32, local: u32) {
    for (var run = local; run < TILE_N * DEPTH / RUN; run += LANES) {
        let at = place(run, TILE_N, B_ALONG_K != 0u);
        let col = first_col + at.x;
        let depth = k0 + at.y;
        let step = select(params.b_row, 1u, B_ALONG_K != 0u);
        let from_word = base + col * params.b_col + depth * step;
        let to = at.x * LINE + at.y;
        if col < params.n && depth + RUN <= params.k {
            for (var i = 0u; i < RUN; i++) {
                sh_b[to + i] = f16(b[from_word + i * step]);
            }
        } else {
            let last = base + min(col, params.n - 1u) * params.b_col;
            for (var i = 0u; i < RUN; i++) {
                let value = b[last + min(depth + i, params.k - 1u) * step];
                sh_b[to + i] = f16(select(0.0, value, col < params.n && depth + i < params.k));
            }
        }
    }
}

// What is staged, multiplied: a block's rows start at `row` of the tile, its columns at `col`.
fn multiply(row: u32, col: u32) {
    for (var k = 0u; k < DEPTH; k += SIZE) {
        let b0 = coopLoad<Right>(&sh_b[col * LINE + k], LINE);
        let b1 = coopLoad<Right>(&sh_b[(col + SIZE) * LINE + k], LINE);
        let a0 = coopLoadT<Left>(&sh_a[row * LINE + k], LINE);
        c00 = coopMultiplyAdd(a0, b0, c00);
        c01 = coopMultiplyAdd(a0, b1, c01);
        let a1 = coopLoadT<Left>(&sh_a[(row + SIZE) * LINE + k], LINE);
        c10 = coopMultiplyAdd(a1, b0, c10);
        c11 = coopMultiplyAdd(a1, b1, c11);
        let a2 = coopLoadT<Left>(&sh_a[(row + 2u * SIZE) * LINE + k], LINE);
        c20 = coopMultiplyAdd(a2, b0, c20);
        c21 = coopMultiplyAdd(a2, b1, c21);
        let a3 = coopLoadT<Left>(&sh_a[(row + 3u * SIZE) * LINE + k], LINE);
        c30 = coopMultiplyAdd(a3, b0, c30);
        c31 = coopMultiplyAdd(a3, b1, c31);
    }
}

fn accumulate(group: vec3<u32>, local: u32, block: u32) {
    c00 = Sums();
    c01 = Sums();
    c10 = Sums();
    c11 = Sums();
    c20 = Sums();
    c21 = Sums();
    c30 = Sums();
    c31 = Sums();
    for (var r = 0u; r < params.reductions; r++) {
        let a_base = base_of_a(group.z, r);
        let b_base = base_of_b(group.z, r);
        for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
            workgroupBarrier();
            stage_a(group.y * TILE_M, k0, a_base, local);
            stage_b(group.x * TILE_N, k0, b_base, local);
            workgroupBarrier();
            multiply(block / COLUMNS * 4u * SIZE, block % COLUMNS * 2u * SIZE);
        }
    }
}

// Puts one matrix of each block where all of its subgroup can read it.
fn unpack(sums: Sums, slot: u32) {
    workgroupBarrier();
    coopStoreT(sums, &sh_c[slot * SIZE * SIZE], SIZE);
    workgroupBarrier();
}

// What a thread writes of a block.
struct Share {
    // C[b], and the block's first row and column in it.
    batch: u32, row: u32, col: u32,
    // The block's place in sh_c; the thread's in its subgroup, and the threads of that.
    slot: u32, lane: u32, lanes: u32,
}

fn share(group: vec3<u32>, block: u32, lane: u32, lanes: u32) -> Share {
    let row = group.y * TILE_M + block / COLUMNS * 4u * SIZE;
    let col = group.x * TILE_N + block % COLUMNS * 2u * SIZE;
    return Share(group.z, row, col, block, lane, lanes);
}

fn write(sums: Sums, to: Share, i: u32, j: u32) {
    unpack(sums, to.slot);
    for (var at = to.lane; at < SIZE * SIZE; at += to.lanes) {
        let row = to.row + i * SIZE + at / SIZE;
        let col = to.col + j * SIZE + at % SIZE;
        if row < params.m && col < params.n {
            c[to.batch * params.c_batch + row * params.c_row + col] = sh_c[to.slot * SIZE * SIZE + at];
        }
    }
}

fn write_added(sums: Sums, to: Share, i: u32, j: u32) {
    unpack(sums, to.slot);
    for (var at = to.lane; at < SIZE * SIZE; at += to.lanes) {
        let row = to.row + i * SIZE + at / SIZE;
        let col = to.col + j * SIZE + at % SIZE;
        if row < params.m && col < params.n {
            let added = addend[to.batch * params.addend_batch + row * params.addend_row + col];
            c[to.batch * params.c_batch + row * params.c_row + col] = sh_c[to.slot * SIZE * SIZE + at] + added;
        }
    }
}

@compute @workgroup_size(LANES)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    for (var first = 0u; first < BLOCKS; first += subgroups) {
        let block = min(first + subgroup, BLOCKS - 1u);
        accumulate(group, local, block);
        let to = share(group, block, lane, lanes);
        write(c00, to, 0u, 0u);
        write(c01, to, 0u, 1u);
        write(c10, to, 1u, 0u);
        write(c11, to, 1u, 1u);
        write(c20, to, 2u, 0u);
        write(c21, to, 2u, 1u);
        write(c30, to, 3u, 0u);
        write(c31, to, 3u, 1u);
    }
}

@compute @workgroup_size(LANES)
fn product_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    for (var first = 0u; first < BLOCKS; first += subgroups) {
        let block = min(first + subgroup, BLOCKS - 1u);
        accumulate(group, local, block);
        let to = share(group, block, lane, lanes);
        write_added(c00, to, 0u, 0u);
        write_added(c01, to, 0u, 1u);
        write_added(c10, to, 1u, 0u);
        write_added(c11, to, 1u, 1u);
        write_added(c20, to, 2u, 0u);
        write_added(c21, to, 2u, 1u);
        write_added(c30, to, 3u, 0u);
        write_added(c31, to, 3u, 1u);
    }
}
