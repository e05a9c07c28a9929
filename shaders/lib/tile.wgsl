// The inner part of a tiled product. A workgroup of 256 threads owns TILE_M x TILE_N elements of C, a thread ROWS
// rows and FOURS times four columns of them (tile_row, tile_column). The shader that imports this defines where a line
// of the tile, a row of A or a column of B, starts, and the operands, 0 past k and anything past their lines:
//   fn a_start(line: u32) -> u32, fn a_at(start: u32, line: u32, k: u32) -> f32
//   fn b_start(line: u32) -> u32, fn b_at(start: u32, line: u32, k: u32) -> f32
// and A_ALONG_K, B_ALONG_K: 1 where neighbouring words run along k, 0 where they run across it.
// Shared tiles lie by depth, four words further apart than long, so that the threads of a wave meet in no bank.
const ROWS: u32 = 4u;
const FOURS: u32 = 1u;
// Written out in what follows.
const DEPTH: u32 = 16u;
const TILE_M: u32 = 16u * ROWS;
const TILE_N: u32 = 64u * FOURS;
const PITCH_A: u32 = TILE_M + 4u;
const PITCH_B: u32 = TILE_N + 4u;
var<workgroup> sh_a: array<f32, DEPTH * PITCH_A>;
var<workgroup> sh_b: array<f32, DEPTH * PITCH_B>;

// Row i of the thread's f-th four columns is acc[f * ROWS + i].
var<private> acc: array<vec4<f32>, ROWS * FOURS>;

fn tile_row(local: u32) -> u32 {
    return local / 16u * ROWS;
}

fn tile_column(local: u32, four: u32) -> u32 {
    return local % 16u * 4u + four * 64u;
}

// The thread's element in its row i and its j-th column; it belongs to tile_column(local, j / 4) + j % 4.
fn element(i: u32, j: u32) -> f32 {
    return acc[j / 4u * ROWS + i][j % 4u];
}

// Lines and depths of four elements of a tile, 256 apart: neighbouring threads read neighbouring words.
struct Places { line: vec4<u32>, depth: vec4<u32> }

fn places(first: u32, lines: u32, along_k: bool) -> Places {
    let index = vec4<u32>(first) + vec4<u32>(0u, 256u, 512u, 768u);
    if along_k {
        return Places(index / 8u % lines, index / (8u * lines) * 8u + index % 8u);
    }
    return Places(index % lines, index / lines);
}

fn places_of_a(first: u32) -> Places {
    return places(first, TILE_M, A_ALONG_K == 1u);
}

fn places_of_b(first: u32) -> Places {
    return places(first, TILE_N, B_ALONG_K == 1u);
}

// Where the lines of a thread's elements start, worked out once for all steps of k. A second four, 1024 elements on,
// lies in the lines of the first.
var<private> starts_of_a: vec4<u32>;
var<private> starts_of_b: vec4<u32>;

fn four_starts_of_a(first: u32) -> vec4<u32> {
    let line = places_of_a(first).line;
    return vec4<u32>(a_start(line.x), a_start(line.y), a_start(line.z), a_start(line.w));
}

fn four_starts_of_b(first: u32) -> vec4<u32> {
    let line = places_of_b(first).line;
    return vec4<u32>(b_start(line.x), b_start(line.y), b_start(line.z), b_start(line.w));
}

fn find_lines(local: u32) {
    starts_of_a = four_starts_of_a(local);
    starts_of_b = four_starts_of_b(local);
}

// Four of a thread's elements: all are asked for before the first is needed.
fn load_four_of_a(first: u32, starts: vec4<u32>, k: u32) {
    let at = places_of_a(first);
    let depth = at.depth + k;
    let values = vec4<f32>(
        a_at(starts.x, at.line.x, depth.x), a_at(starts.y, at.line.y, depth.y),
        a_at(starts.z, at.line.z, depth.z), a_at(starts.w, at.line.w, depth.w),
    );
    let word = at.depth * PITCH_A + at.line;
    sh_a[word.x] = values.x;
    sh_a[word.y] = values.y;
    sh_a[word.z] = values.z;
    sh_a[word.w] = values.w;
}

fn load_four_of_b(first: u32, starts: vec4<u32>, k: u32) {
    let at = places_of_b(first);
    let depth = at.depth + k;
    let values = vec4<f32>(
        b_at(starts.x, at.line.x, depth.x), b_at(starts.y, at.line.y, depth.y),
        b_at(starts.z, at.line.z, depth.z), b_at(starts.w, at.line.w, depth.w),
    );
    let word = at.depth * PITCH_B + at.line;
    sh_b[word.x] = values.x;
    sh_b[word.y] = values.y;
    sh_b[word.z] = values.z;
    sh_b[word.w] = values.w;
}

fn load_step(local: u32, k: u32) {
    load_four_of_a(local, starts_of_a, k);
    if ROWS > 4u {
        load_four_of_a(local + 1024u, starts_of_a, k);
    }
    load_four_of_b(local, starts_of_b, k);
    if FOURS > 1u {
        load_four_of_b(local + 1024u, starts_of_b, k);
    }
}

fn four_columns(at: u32) -> vec4<f32> {
    return vec4<f32>(sh_b[at], sh_b[at + 1u], sh_b[at + 2u], sh_b[at + 3u]);
}

// Written out, because drivers that limit the iterations of an invocation count those of every loop.
fn add_rows(first: u32, at: u32, columns: vec4<f32>) {
    acc[first] += sh_a[at] * columns;
    acc[first + 1u] += sh_a[at + 1u] * columns;
    acc[first + 2u] += sh_a[at + 2u] * columns;
    acc[first + 3u] += sh_a[at + 3u] * columns;
}

fn add_depth(local: u32, depth: u32) {
    let at_a = depth * PITCH_A + tile_row(local);
    let at_b = depth * PITCH_B + tile_column(local, 0u);
    add_rows(0u, at_a, four_columns(at_b));
    if ROWS > 4u {
        add_rows(4u, at_a + 4u, four_columns(at_b));
    }
    if FOURS > 1u {
        add_rows(ROWS, at_a, four_columns(at_b + 64u));
    }
    if ROWS > 4u && FOURS > 1u {
        add_rows(ROWS + 4u, at_a + 4u, four_columns(at_b + 64u));
    }
}

fn add_step(local: u32) {
    for (var depth = 0u; depth < DEPTH; depth += 4u) {
        add_depth(local, depth);
        add_depth(local, depth + 1u);
        add_depth(local, depth + 2u);
        add_depth(local, depth + 3u);
    }
}

// Adds a product over `depth` words of k to acc. All threads must call it: it has barriers.
fn add_product(local: u32, depth: u32) {
    find_lines(local);
    for (var k = 0u; k < depth; k += DEPTH) {
        load_step(local, k);
        workgroupBarrier();
        add_step(local);
        workgroupBarrier();
    }
}
