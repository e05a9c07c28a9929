// Sums of A[b, r] B[b, r] over r for a workgroup's rows and columns, without shared memory or barriers, for adapters
// whose shared memory is no faster than a buffer. Shapes and strides as in strides.wgsl, which must be imported, too,
// as must words.wgsl.
// The shader that imports it says which line of A a row of the workgroup is (a_line: where A runs along k) and which
// line of B a column is (b_line: where B does), both clamped; the others are as they lie.
// One operand axis is contiguous: of A, k (A_ALONG_K = 1) or m; of B, n (B_ALONG_K = 0) or k. Eight neighbours are
// loaded at once; where their start is no multiple of eight (A_ALIGNED, B_ALIGNED = 0) from the two vectors that hold
// them. Reads may pass the end of a row, never of a buffer.
// A workgroup owns ROWS (at most 64) rows and 8 LANES columns; a thread owns 8 of the columns. Eight neighbouring
// threads hold the rows of A between them and hand each value round by subgroupBroadcast; needs subgroups of 8 or more.
// Eight f32 are read and written as four 64-bit words: such drivers go over the threads in a loop, with a check for
// each word, so that four words of 64 bits take little longer than one of 32.

const LANES: u32 = 64u;
const ROWS: u32 = 56u;
const A_ALONG_K: u32 = 1u;
const A_ALIGNED: u32 = 1u;
const B_ALONG_K: u32 = 0u;
const B_ALIGNED: u32 = 1u;
const A_JOINED: bool = A_ALONG_K != 0u && A_ALIGNED == 0u;

@group(0) @binding(1) var<storage, read> a: array<vec4<u64>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<u64>>;

// Rows of a thread's first and last four columns. Eights of them, because loops over as many as an array has are
// unrolled, and arrays with indices that the compiler does not know are slow.
var<private> left: array<array<vec4<f32>, 8>, 8>;
var<private> right: array<array<vec4<f32>, 8>, 8>;
// Where A is joined, the vectors in which the thread's row of each eight goes on.
var<private> held_low: array<vec4<f32>, 8>;
var<private> held_high: array<vec4<f32>, 8>;

struct Eight { low: vec4<f32>, high: vec4<f32> }

// Eight steps of k of a thread's columns, quarter by quarter: steps 0 to 3 and 4 to 7 of the left and right four.
struct Columns {
    left_first: mat4x4<f32>, left_last: mat4x4<f32>,
    right_first: mat4x4<f32>, right_last: mat4x4<f32>,
}

// Whether there is such a row of the workgroup's and such a column.
fn is_of_c(group: vec3<u32>, row: u32, column: u32) -> bool {
    return row < ROWS && group.y * ROWS + row < params.m && column < params.n;
}

fn as_eight(words: vec4<u64>) -> Eight {
    return Eight(as_floats(words.xy), as_floats(words.zw));
}

// Eight words from any start: the tail of one vector and the head of the next, shifted by four, two and one.
fn joined(first: Eight, next: Eight, start: u32) -> Eight {
    let by = vec3<bool>((start & 4u) != 0u, (start & 2u) != 0u, (start & 1u) != 0u);
    let p = select(first.low, first.high, by.x);
    let q = select(first.high, next.low, by.x);
    let r = select(next.low, next.high, by.x);
    let s = select(p, vec4<f32>(p.zw, q.xy), by.y);
    let t = select(q, vec4<f32>(q.zw, r.xy), by.y);
    let u = select(r.x, r.z, by.y);
    return Eight(select(s, vec4<f32>(s.yzw, t.x), by.z), select(t, vec4<f32>(t.yzw, u), by.z));
}

// The vector after the one that holds a word of A.
fn next_of_a(start: u32) -> Eight {
    return as_eight(a[min(start / 8u + 1u, arrayLength(&a) - 1u)]);
}

fn load_a(start: u32) -> Eight {
    let first = as_eight(a[start / 8u]);
    if A_ALIGNED != 0u {
        return first;
    }
    return joined(first, next_of_a(start), start);
}

fn load_b(start: u32) -> Eight {
    let first = as_eight(b[start / 8u]);
    if B_ALIGNED != 0u {
        return first;
    }
    return joined(first, as_eight(b[min(start / 8u + 1u, arrayLength(&b) - 1u)]), start);
}

// Zero from the step `steps` on, of which the first four are `first` to `first + 3`.
fn cut(values: vec4<f32>, first: u32, steps: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), values, vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(steps));
}

fn cut_eight(values: Eight, steps: u32) -> Eight {
    return Eight(cut(values.low, 0u, steps), cut(values.high, 4u, steps));
}

// A thread's j-th column, or, where B runs along n, its columns at the j-th step of k; past k the last repeats.
fn line_of_b(at: u32, column: u32, j: u32, steps: u32) -> Eight {
    if B_ALONG_K != 0u {
        return cut_eight(load_b(at + b_line(column + j) * params.b_col), steps);
    }
    return load_b(at + column + min(j, steps - 1u) * params.b_row);
}

fn columns_at(at: u32, column: u32, steps: u32) -> Columns {
    let p = line_of_b(at, column, 0u, steps);
    let q = line_of_b(at, column, 1u, steps);
    let r = line_of_b(at, column, 2u, steps);
    let s = line_of_b(at, column, 3u, steps);
    let t = line_of_b(at, column, 4u, steps);
    let u = line_of_b(at, column, 5u, steps);
    let v = line_of_b(at, column, 6u, steps);
    let w = line_of_b(at, column, 7u, steps);
    let corner = mat4x4<f32>(p.low, q.low, r.low, s.low);
    let high = mat4x4<f32>(p.high, q.high, r.high, s.high);
    let late = mat4x4<f32>(t.low, u.low, v.low, w.low);
    let last = mat4x4<f32>(t.high, u.high, v.high, w.high);
    if B_ALONG_K != 0u {
        return Columns(corner, high, late, last);
    }
    return Columns(corner, late, high, last);
}

// Four steps of k of four columns: `columns` holds a step per column, or, where B runs along k, a column of B.
fn product_of(columns: mat4x4<f32>, values: vec4<f32>) -> vec4<f32> {
    if B_ALONG_K != 0u {
        return values * columns;
    }
    return columns * values;
}

// Adds eight steps of k to a row.
fn add_row(row: u32, first: vec4<f32>, last: vec4<f32>, columns: Columns) {
    if row < ROWS {
        left[row / 8u][row % 8u] += product_of(columns.left_first, first) + product_of(columns.left_last, last);
        right[row / 8u][row % 8u] += product_of(columns.right_first, first) + product_of(columns.right_last, last);
    }
}

// Eight steps of k for eight rows; `values` are those of this thread's row.
fn add_rows(first: u32, values: Eight, columns: Columns) {
    add_row(first, subgroupBroadcast(values.low, 0u), subgroupBroadcast(values.high, 0u), columns);
    add_row(first + 1u, subgroupBroadcast(values.low, 1u), subgroupBroadcast(values.high, 1u), columns);
    add_row(first + 2u, subgroupBroadcast(values.low, 2u), subgroupBroadcast(values.high, 2u), columns);
    add_row(first + 3u, subgroupBroadcast(values.low, 3u), subgroupBroadcast(values.high, 3u), columns);
    add_row(first + 4u, subgroupBroadcast(values.low, 4u), subgroupBroadcast(values.high, 4u), columns);
    add_row(first + 5u, subgroupBroadcast(values.low, 5u), subgroupBroadcast(values.high, 5u), columns);
    add_row(first + 6u, subgroupBroadcast(values.low, 6u), subgroupBroadcast(values.high, 6u), columns);
    add_row(first + 7u, subgroupBroadcast(values.low, 7u), subgroupBroadcast(values.high, 7u), columns);
}

// Where the thread's row of the eight from `first` on starts.
fn start_of_row(at: u32, row: u32, first: u32) -> u32 {
    return at + a_line(row + first) * params.a_row;
}

fn hold(at: u32, row: u32, first: u32) {
    if A_JOINED && first < ROWS {
        let values = as_eight(a[start_of_row(at, row, first) / 8u]);
        held_low[first / 8u] = values.low;
        held_high[first / 8u] = values.high;
    }
}

// A row of A that is joined: the next step begins where this one ends, so that each vector is read once.
fn go_on(start: u32, eighth: u32) -> Eight {
    let first = Eight(held_low[eighth], held_high[eighth]);
    let next = next_of_a(start);
    held_low[eighth] = next.low;
    held_high[eighth] = next.high;
    return joined(first, next, start);
}

// A runs along k: of the eight rows from `first` on, a thread holds one.
fn add_along_k(at: u32, row: u32, first: u32, steps: u32, columns: Columns) {
    if first < ROWS {
        let start = start_of_row(at, row, first);
        if A_JOINED {
            add_rows(first, cut_eight(go_on(start, first / 8u), steps), columns);
        } else {
            add_rows(first, cut_eight(load_a(start), steps), columns);
        }
    }
}

// Eight steps of k for every eighth of 32 rows; `values` are four of the steps, those of the first half of the threads
// or of the second.
fn add_every_eighth(first: u32, values: vec4<f32>, columns: Columns) {
    add_row(first, subgroupBroadcast(values, 0u), subgroupBroadcast(values, 4u), columns);
    add_row(first + 8u, subgroupBroadcast(values, 1u), subgroupBroadcast(values, 5u), columns);
    add_row(first + 16u, subgroupBroadcast(values, 2u), subgroupBroadcast(values, 6u), columns);
    add_row(first + 24u, subgroupBroadcast(values, 3u), subgroupBroadcast(values, 7u), columns);
}

// A runs along m: of 32 rows, a thread holds four steps of eight, the steps from `step` on.
fn add_along_m(at: u32, row: u32, step: u32, first: u32, steps: u32, columns: Columns) {
    if first < ROWS {
        let start = at + select(0u, row + first, row + first < params.m);
        let lines = min(vec4<u32>(step) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(steps - 1u)) * params.a_col;
        let p = load_a(start + lines.x);
        let q = load_a(start + lines.y);
        let r = load_a(start + lines.z);
        let s = load_a(start + lines.w);
        let low = transpose(mat4x4<f32>(p.low, q.low, r.low, s.low));
        let high = transpose(mat4x4<f32>(p.high, q.high, r.high, s.high));
        add_every_eighth(first, cut(low[0], step, steps), columns);
        add_every_eighth(first + 1u, cut(low[1], step, steps), columns);
        add_every_eighth(first + 2u, cut(low[2], step, steps), columns);
        add_every_eighth(first + 3u, cut(low[3], step, steps), columns);
        add_every_eighth(first + 4u, cut(high[0], step, steps), columns);
        add_every_eighth(first + 5u, cut(high[1], step, steps), columns);
        add_every_eighth(first + 6u, cut(high[2], step, steps), columns);
        add_every_eighth(first + 7u, cut(high[3], step, steps), columns);
    }
}

// Up to eight steps of k for all rows.
fn add_block(at: u32, first_row: u32, lane: u32, steps: u32, columns: Columns) {
    if A_ALONG_K == 0u {
        let row = first_row + lane % 4u * 8u;
        add_along_m(at, row, lane / 4u * 4u, 0u, steps, columns);
        add_along_m(at, row, lane / 4u * 4u, 32u, steps, columns);
        return;
    }
    let row = first_row + lane;
    add_along_k(at, row, 0u, steps, columns);
    add_along_k(at, row, 8u, steps, columns);
    add_along_k(at, row, 16u, steps, columns);
    add_along_k(at, row, 24u, steps, columns);
    add_along_k(at, row, 32u, steps, columns);
    add_along_k(at, row, 40u, steps, columns);
    add_along_k(at, row, 48u, steps, columns);
    add_along_k(at, row, 56u, steps, columns);
}

fn accumulate(group: vec3<u32>, column: u32, lane: u32) {
    let first_row = group.y * ROWS;
    let first_column = select(0u, column, column < params.n);
    let a_stride = 8u * select(params.a_col, 1u, A_ALONG_K != 0u);
    let b_stride = 8u * select(params.b_row, 1u, B_ALONG_K != 0u);
    for (var r = 0u; r < params.reductions; r++) {
        var at_a = base_of_a(group.z, r);
        var at_b = base_of_b(group.z, r);
        hold(at_a, first_row + lane, 0u);
        hold(at_a, first_row + lane, 8u);
        hold(at_a, first_row + lane, 16u);
        hold(at_a, first_row + lane, 24u);
        hold(at_a, first_row + lane, 32u);
        hold(at_a, first_row + lane, 40u);
        hold(at_a, first_row + lane, 48u);
        hold(at_a, first_row + lane, 56u);
        for (var k = 0u; k < params.k; k += 8u) {
            let steps = params.k - k;
            add_block(at_a, first_row, lane, steps, columns_at(at_b, first_column, steps));
            at_a += a_stride;
            at_b += b_stride;
        }
    }
}
