// C[b] = sum over r of A[b, r] B[b, r]: every matrix product of the model, forward and reverse, on multiply-adds in f32.
// A (m, k), B (k, n), C (m, n), each with a stride per row, column and batch, A and B per reduction r; C's columns are
// contiguous. What a product ends in is its entry point: see lib/product.wgsl.
// A workgroup of 256 threads owns a tile of one C[b], a thread ROWS rows and FOURS times four columns, 64 apart, of it.
// Operands are f32 or halves; the sum over k runs in f32 and in one fixed order. Shapes need not be multiples of a tile.
// Shared tiles lie by depth, one vector further apart than long, so that the threads of a wave meet in no bank. While a
// step is multiplied the next one's elements are on their way.

#import element
#import sigmoid
#import product
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;

const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 0u;
const A_ELEMENT: u32 = 0u;
const B_ELEMENT: u32 = 0u;
const ROWS: u32 = 4u;
const FOURS: u32 = 1u;
// Written out in what follows.
const DEPTH: u32 = 16u;
const TILE_M: u32 = 16u * ROWS;
const TILE_N: u32 = 64u * FOURS;
// Vectors from one depth to the next.
const PITCH_A: u32 = TILE_M / 4u + 1u;
const PITCH_B: u32 = TILE_N / 4u + 1u;
var<workgroup> sh_a: array<vec4<f32>, DEPTH * PITCH_A>;
var<workgroup> sh_b: array<vec4<f32>, DEPTH * PITCH_B>;

// Row i of the thread's f-th four columns is acc[f * ROWS + i].
var<private> acc: array<vec4<f32>, ROWS * FOURS>;

// A thread's vectors of a step, of the second 256 where a tile has so many: four neighbouring lines at one depth.
// Neighbouring threads read neighbouring elements.
fn depth_of(index: u32, lines: u32, along_k: bool) -> u32 {
    return select(index / (lines / 4u), index % DEPTH, along_k);
}

fn four_of(index: u32, lines: u32, along_k: bool) -> u32 {
    return select(index % (lines / 4u), index / DEPTH, along_k);
}

// The tile's first row and column. Where the lines of a thread's first vector start, worked out once for all steps of k;
// those of a second one would not stay in registers and are worked out each time.
var<private> first_row: u32;
var<private> first_column: u32;
var<private> lines_of_a: vec4<u32>;
var<private> lines_of_b: vec4<u32>;

fn starts_of_a(index: u32) -> vec4<u32> {
    let line = first_row + 4u * four_of(index, TILE_M, A_ALONG_K == 1u);
    let rows = vec4<u32>(row_of_a(line), row_of_a(line + 1u), row_of_a(line + 2u), row_of_a(line + 3u));
    return rows * params.a_row;
}

fn starts_of_b(index: u32) -> vec4<u32> {
    let line = first_column + 4u * four_of(index, TILE_N, B_ALONG_K == 1u);
    let columns =
        vec4<u32>(column_of_b(line), column_of_b(line + 1u), column_of_b(line + 2u), column_of_b(line + 3u));
    return columns * params.b_col;
}

fn a_at(at: u32) -> f32 {
    return widened(a[word_of_element(at, A_ELEMENT)], at, A_ELEMENT);
}

fn b_at(at: u32) -> f32 {
    return widened(b[word_of_element(at, B_ELEMENT)], at, B_ELEMENT);
}

// Zero past k.
fn four_of_a(base: u32, k: u32, index: u32, lines: vec4<u32>) -> vec4<f32> {
    let depth = k + depth_of(index, TILE_M, A_ALONG_K == 1u);
    let at = base + lines + min(depth, params.k - 1u) * select(params.a_col, 1u, A_ALONG_K == 1u);
    return select(vec4<f32>(0.0), vec4<f32>(a_at(at.x), a_at(at.y), a_at(at.z), a_at(at.w)), depth < params.k);
}

fn four_of_b(base: u32, k: u32, index: u32, lines: vec4<u32>) -> vec4<f32> {
    let depth = k + depth_of(index, TILE_N, B_ALONG_K == 1u);
    let at = base + lines + min(depth, params.k - 1u) * select(params.b_row, 1u, B_ALONG_K == 1u);
    return select(vec4<f32>(0.0), vec4<f32>(b_at(at.x), b_at(at.y), b_at(at.z), b_at(at.w)), depth < params.k);
}

// The step that is on its way.
var<private> next_a: array<vec4<f32>, 2>;
var<private> next_b: array<vec4<f32>, 2>;

fn load(base_a: u32, base_b: u32, k: u32, local: u32) {
    next_a[0] = four_of_a(base_a, k, local, lines_of_a);
    if ROWS > 4u {
        next_a[1] = four_of_a(base_a, k, local + 256u, starts_of_a(local + 256u));
    }
    next_b[0] = four_of_b(base_b, k, local, lines_of_b);
    if FOURS > 1u {
        next_b[1] = four_of_b(base_b, k, local + 256u, starts_of_b(local + 256u));
    }
}

fn place_of_a(index: u32) -> u32 {
    return depth_of(index, TILE_M, A_ALONG_K == 1u) * PITCH_A + four_of(index, TILE_M, A_ALONG_K == 1u);
}

fn place_of_b(index: u32) -> u32 {
    return depth_of(index, TILE_N, B_ALONG_K == 1u) * PITCH_B + four_of(index, TILE_N, B_ALONG_K == 1u);
}

fn stage(local: u32) {
    sh_a[place_of_a(local)] = next_a[0];
    if ROWS > 4u {
        sh_a[place_of_a(local + 256u)] = next_a[1];
    }
    sh_b[place_of_b(local)] = next_b[0];
    if FOURS > 1u {
        sh_b[place_of_b(local + 256u)] = next_b[1];
    }
}

fn add_rows(first: u32, rows: vec4<f32>, columns: vec4<f32>) {
    acc[first] += rows.x * columns;
    acc[first + 1u] += rows.y * columns;
    acc[first + 2u] += rows.z * columns;
    acc[first + 3u] += rows.w * columns;
}

fn add_depth(local: u32, depth: u32) {
    let at_a = depth * PITCH_A + local / 16u * (ROWS / 4u);
    let at_b = depth * PITCH_B + local % 16u;
    let rows = sh_a[at_a];
    let columns = sh_b[at_b];
    add_rows(0u, rows, columns);
    if ROWS > 4u {
        add_rows(4u, sh_a[at_a + 1u], columns);
    }
    if FOURS > 1u {
        add_rows(ROWS, rows, sh_b[at_b + 16u]);
    }
    if ROWS > 4u && FOURS > 1u {
        add_rows(ROWS + 4u, sh_a[at_a + 1u], sh_b[at_b + 16u]);
    }
}

// Written out, because drivers that limit the iterations of an invocation count those of every loop.
fn add_step(local: u32) {
    for (var depth = 0u; depth < DEPTH; depth += 4u) {
        add_depth(local, depth);
        add_depth(local, depth + 1u);
        add_depth(local, depth + 2u);
        add_depth(local, depth + 3u);
    }
}

fn accumulate(group: vec3<u32>, local: u32) {
    first_row = group.y * TILE_M;
    first_column = group.x * TILE_N;
    lines_of_a = starts_of_a(local);
    lines_of_b = starts_of_b(local);
    for (var r = 0u; r < params.reductions; r++) {
        let base_a = base_of_a(group.z, r);
        let base_b = base_of_b(group.z, r);
        load(base_a, base_b, 0u, local);
        for (var k = 0u; k < params.k; k += DEPTH) {
            workgroupBarrier();
            stage(local);
            workgroupBarrier();
            if k + DEPTH < params.k {
                load(base_a, base_b, k + DEPTH, local);
            }
            add_step(local);
        }
    }
}

const MINE: u32 = ROWS * FOURS;

// One of the thread's fours.
fn four(group: vec3<u32>, local: u32, i: u32) -> Four {
    let row = first_row + local / 16u * ROWS + i % ROWS;
    let column = first_column + local % 16u * 4u + i / ROWS * 64u;
    return Four(group.z, row, column, acc[i], acc[i ^ 2u]);
}

#each store add gate gate_kept ungate turn
@compute @workgroup_size(256)
fn each(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    accumulate(group, local);
    for (var i = 0u; i < MINE; i++) {
        finish_each(four(group, local, i));
    }
}
#end
