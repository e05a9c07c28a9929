// y = x * rstd, rstd = 1 / sqrt(mean(x^2) + eps), without a learned scale; reverse: dx = rstd (dy - y mean(dy y)).
// x, y (groups, length) for `rows`: the norm over D of (B, L, D). x, y (batch, length, width) for `columns`: the
// norm over L, one group per (batch, column). rstd holds one value per group.
// rows_add: total = y + first (+ second) as well, what the next net starts from; `addends` says how many there are.
// rows: a workgroup owns a row. columns: a thread owns two columns, neighbours read neighbouring words.
// The sums run in f32 in a fixed order. `rows` needs whole workgroups (barriers), guarded by the grid.

struct Params { groups: u32, length: u32, width: u32, addends: u32, eps: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<u32>;
@group(0) @binding(3) var<storage, read> y_saved: array<u32>;
@group(0) @binding(4) var<storage, read> rstd_saved: array<f32>;
@group(0) @binding(5) var<storage, read> first: array<u32>;
@group(0) @binding(6) var<storage, read> second: array<u32>;
@group(0) @binding(7) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(9) var<storage, read_write> dx: array<u32>;
@group(0) @binding(10) var<storage, read_write> total: array<u32>;

const DY_ELEMENT: u32 = 0u;
const Y_SAVED_ELEMENT: u32 = 0u;
const FIRST_ELEMENT: u32 = 0u;
const SECOND_ELEMENT: u32 = 0u;
const Y_ELEMENT: u32 = 0u;
const DX_ELEMENT: u32 = 0u;
const TOTAL_ELEMENT: u32 = 0u;
#import element
#import index
#import reduce

// Each of the following stores or reads two neighbours, or the first of them alone; halves come in lines of even length.
fn store_y(at: u32, values: vec2<f32>, both: bool) {
    if Y_ELEMENT != F32 {
        y[at / 2u] = narrowed_pair(values, Y_ELEMENT);
        return;
    }
    y[at] = bitcast<u32>(values.x);
    if both {
        y[at + 1u] = bitcast<u32>(values.y);
    }
}

fn store_dx(at: u32, values: vec2<f32>, both: bool) {
    if DX_ELEMENT != F32 {
        dx[at / 2u] = narrowed_pair(values, DX_ELEMENT);
        return;
    }
    dx[at] = bitcast<u32>(values.x);
    if both {
        dx[at + 1u] = bitcast<u32>(values.y);
    }
}

fn store_total(at: u32, values: vec2<f32>, both: bool) {
    if TOTAL_ELEMENT != F32 {
        total[at / 2u] = narrowed_pair(values, TOTAL_ELEMENT);
        return;
    }
    total[at] = bitcast<u32>(values.x);
    if both {
        total[at + 1u] = bitcast<u32>(values.y);
    }
}

fn two_of_x(at: u32, both: bool) -> vec2<f32> {
    return vec2<f32>(x[at], x[select(at, at + 1u, both)]);
}

fn dy_at(at: u32) -> f32 {
    return widened(dy[word_of_element(at, DY_ELEMENT)], at, DY_ELEMENT);
}

fn two_of_dy(at: u32, both: bool) -> vec2<f32> {
    return vec2<f32>(dy_at(at), dy_at(select(at, at + 1u, both)));
}

fn y_at(at: u32) -> f32 {
    return widened(y_saved[word_of_element(at, Y_SAVED_ELEMENT)], at, Y_SAVED_ELEMENT);
}

fn two_of_y(at: u32, both: bool) -> vec2<f32> {
    return vec2<f32>(y_at(at), y_at(select(at, at + 1u, both)));
}

fn first_at(at: u32) -> f32 {
    return widened(first[word_of_element(at, FIRST_ELEMENT)], at, FIRST_ELEMENT);
}

fn second_at(at: u32) -> f32 {
    return widened(second[word_of_element(at, SECOND_ELEMENT)], at, SECOND_ELEMENT);
}

fn added(at: u32) -> f32 {
    let one = first_at(at);
    if params.addends > 1u {
        return one + second_at(at);
    }
    return one;
}

// rstd of a row, for all threads of its workgroup.
fn scale_of_row(row: u32, local: u32) -> f32 {
    let live = row < params.groups;
    let base = row * params.length;
    var squares = 0.0;
    for (var i = local; live && i < params.length; i += 64u) {
        squares += x[base + i] * x[base + i];
    }
    let scale = inverseSqrt(workgroup_sum(squares, local) / f32(params.length) + params.eps);
    if live && local == 0u {
        rstd[row] = scale;
    }
    return scale;
}

@compute @workgroup_size(64)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, 0u, 1u);
    let scale = scale_of_row(row, local);
    let base = row * params.length;
    for (var i = 2u * local; row < params.groups && i < params.length; i += 128u) {
        let both = i + 1u < params.length;
        store_y(base + i, two_of_x(base + i, both) * scale, both);
    }
}

@compute @workgroup_size(64)
fn rows_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, 0u, 1u);
    let scale = scale_of_row(row, local);
    let base = row * params.length;
    for (var i = 2u * local; row < params.groups && i < params.length; i += 128u) {
        let both = i + 1u < params.length;
        let at = base + i;
        let own = two_of_x(at, both) * scale;
        store_y(at, own, both);
        store_total(at, own + vec2<f32>(added(at), added(select(at, at + 1u, both))), both);
    }
}

@compute @workgroup_size(64)
fn rows_reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, 0u, 1u);
    let live = row < params.groups;
    let base = row * params.length;
    var dot = 0.0;
    for (var i = local; live && i < params.length; i += 64u) {
        dot += dy_at(base + i) * y_at(base + i);
    }
    let mean = workgroup_sum(dot, local) / f32(params.length);
    for (var i = 2u * local; live && i < params.length; i += 128u) {
        let both = i + 1u < params.length;
        let at = base + i;
        store_dx(at, rstd_saved[row] * (two_of_dy(at, both) - two_of_y(at, both) * mean), both);
    }
}

// The two columns of a thread: the first of them, whether there is a second, and where their sample starts.
struct Columns { live: bool, column: u32, both: bool, base: u32, group: u32 }

fn columns_of(group: vec3<u32>, local: u32) -> Columns {
    let pairs = (params.width + 1u) / 2u;
    let index = linear_index(group, local, 64u);
    let sample = index / pairs;
    let column = index % pairs * 2u;
    let first = sample * params.width + column;
    let base = sample * params.length * params.width + column;
    return Columns(first < params.groups, column, column + 1u < params.width, base, first);
}

@compute @workgroup_size(64)
fn columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let mine = columns_of(group, local);
    if !mine.live {
        return;
    }
    var squares = vec2<f32>(0.0);
    for (var i = 0u; i < params.length; i++) {
        let values = two_of_x(mine.base + i * params.width, mine.both);
        squares += values * values;
    }
    let scales = inverseSqrt(squares / f32(params.length) + params.eps);
    for (var i = 0u; i < params.length; i++) {
        let at = mine.base + i * params.width;
        store_y(at, two_of_x(at, mine.both) * scales, mine.both);
    }
    rstd[mine.group] = scales.x;
    if mine.both {
        rstd[mine.group + 1u] = scales.y;
    }
}

@compute @workgroup_size(64)
fn columns_reverse(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let mine = columns_of(group, local);
    if !mine.live {
        return;
    }
    var dot = vec2<f32>(0.0);
    for (var i = 0u; i < params.length; i++) {
        let at = mine.base + i * params.width;
        dot += two_of_dy(at, mine.both) * two_of_y(at, mine.both);
    }
    let means = dot / f32(params.length);
    let scales = vec2<f32>(rstd_saved[mine.group], rstd_saved[select(mine.group, mine.group + 1u, mine.both)]);
    for (var i = 0u; i < params.length; i++) {
        let at = mine.base + i * params.width;
        store_dx(at, scales * (two_of_dy(at, mine.both) - two_of_y(at, mine.both) * means), mine.both);
    }
}
