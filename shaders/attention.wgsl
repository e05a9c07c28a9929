// o = softmax(q k^T / sqrt(d)) v for each sample and head, not causal; lse = log of the softmax's denominator.
// reverse: with p = exp(s - lse), delta = sum(do o): dv = p^T do, ds = p (do v^T - delta), dq = ds k, dk = ds^T q.
// qkv, dqkv (B, L, 3, heads, d); o, do (B, L, heads, d); lse, delta (B, heads, L); turns (L, d/2, 2): cos, sin. d is
// even. Where TURNED is 1, q and k came turned by these angles, pairs (i, i + d/2) of a head, and dq and dk are turned
// back before they are stored.
// A workgroup owns rows of one sample and head, queries or, in reverse_keys, keys, and walks over the others, the
// columns. LANES neighbouring threads share 4 rows: each owns 4 x 4 scores, its columns LANES apart, and of the rows'
// results every LANES-th vector of 4 features. P goes from thread to thread in shared memory and is never stored.
// Halves need d to be a multiple of 4. Scores and sums in f32; the softmax is online: a running maximum, everything
// rescaled when it grows.
// Shared memory is read without bank conflicts: the threads of a row read one place of `left`, and of `right` places
// an odd number of vectors apart or side by side.

struct Params { length: u32, heads: u32, scale: f32 }

// d, and the threads of a row: more of them for longer rows, so that each keeps its sums in registers.
const HEAD_DIM: u32 = 64u;
const LANES: u32 = 8u;
const TURNED: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> o_grad: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> o_saved: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> lse_saved: array<f32>;
@group(0) @binding(5) var<storage, read> delta_saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> o: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;
@group(0) @binding(9) var<storage, read_write> qkv_grad: array<vec4<u32>>;
@group(0) @binding(10) var<storage, read> turns: array<vec2<f32>>;

const QKV_ELEMENT: u32 = 0u;
const O_GRAD_ELEMENT: u32 = 0u;
const O_SAVED_ELEMENT: u32 = 0u;
const O_ELEMENT: u32 = 0u;
const QKV_GRAD_ELEMENT: u32 = 0u;
#import element

const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;
// The gradient of o, beside the three parts of qkv.
const DO: u32 = 3u;

const THREADS: u32 = 128u;
const ROWS: u32 = 4u * THREADS / LANES;
const COLUMNS: u32 = 4u * LANES;
const LOWEST: f32 = -3.0e38;
// Features are counted in vectors of four: those of a head, and those that each thread of a row sums.
const VECTORS: u32 = (HEAD_DIM + 3u) / 4u;
const SHARE: u32 = (VECTORS + LANES - 1u) / LANES;
// Scores are summed over so many vectors at a time; columns then lie an odd number apart.
const DEPTH: u32 = min(64u / LANES, VECTORS);
const STRIDE: u32 = DEPTH | 1u;
// Columns whose values fit shared memory at once: a power of two.
const PIECE: u32 = min(COLUMNS, 1u << firstLeadingBit(512u / (SHARE * LANES)));

// A chunk of the rows; later the weights of four rows by (four rows, column).
var<workgroup> left: array<vec4<f32>, 512>;
// A chunk of the columns; later what is summed over them, or what the threads of a row tell each other.
var<workgroup> right: array<vec4<f32>, 512>;

// Of four rows, by row: four columns.
alias Tile = array<vec4<f32>, 4>;
// Of four rows: this thread's share of the features, by vector and row.
alias Sums = array<vec4<f32>, 4u * SHARE>;

struct Thread { group: vec3<u32>, local: u32, x: u32, y: u32 }

fn thread(group: vec3<u32>, local: u32) -> Thread {
    return Thread(group, local, local % LANES, local / LANES);
}

fn row_of(thread: Thread, i: u32) -> u32 {
    return thread.group.x * ROWS + 4u * thread.y + i;
}

fn word_of_qkv(thread: Thread, which: u32, at: u32, vector: u32) -> u32 {
    let row = (thread.group.z * params.length + at) * 3u + which;
    return (row * params.heads + thread.group.y) * HEAD_DIM + 4u * vector;
}

fn word_of_o(thread: Thread, at: u32, vector: u32) -> u32 {
    return ((thread.group.z * params.length + at) * params.heads + thread.group.y) * HEAD_DIM + 4u * vector;
}

fn in_lines(thread: Thread, at: u32) -> u32 {
    return (thread.group.z * params.heads + thread.group.y) * params.length + at;
}

fn exists(at: u32, vector: u32) -> bool {
    return at < params.length && vector < VECTORS;
}

// Four words from an even one, and none of the next head's.
fn joined(first: vec4<f32>, next: vec4<f32>, word: u32, vector: u32) -> vec4<f32> {
    let four = select(first, vec4<f32>(first.zw, next.xy), word % 4u != 0u);
    return select(four, vec4<f32>(four.xy, 0.0, 0.0), 4u * vector + 4u > HEAD_DIM);
}

// Of the vector that holds them, elements 4 at to 4 at + 3.
fn four(words: vec4<u32>, at: u32, element: u32) -> vec4<f32> {
    if element == F32 {
        return bitcast<vec4<f32>>(words);
    }
    return widened_four(words, at, element);
}

fn four_of_qkv(at: u32) -> vec4<f32> {
    return four(qkv[word_of_element(at, QKV_ELEMENT)], at, QKV_ELEMENT);
}

fn four_of_o_grad(at: u32) -> vec4<f32> {
    return four(o_grad[word_of_element(at, O_GRAD_ELEMENT)], at, O_GRAD_ELEMENT);
}

fn four_of_o_saved(at: u32) -> vec4<f32> {
    return four(o_saved[word_of_element(at, O_SAVED_ELEMENT)], at, O_SAVED_ELEMENT);
}

fn of_qkv(thread: Thread, which: u32, at: u32, vector: u32) -> vec4<f32> {
    if !exists(at, vector) {
        return vec4<f32>(0.0);
    }
    let word = word_of_qkv(thread, which, at, vector);
    if HEAD_DIM % 4u == 0u {
        return four_of_qkv(word / 4u);
    }
    return joined(four_of_qkv(word / 4u), four_of_qkv(min(word / 4u + 1u, arrayLength(&qkv) - 1u)), word, vector);
}

fn of_o_grad(thread: Thread, at: u32, vector: u32) -> vec4<f32> {
    if !exists(at, vector) {
        return vec4<f32>(0.0);
    }
    let word = word_of_o(thread, at, vector);
    if HEAD_DIM % 4u == 0u {
        return four_of_o_grad(word / 4u);
    }
    let next = min(word / 4u + 1u, arrayLength(&o_grad) - 1u);
    return joined(four_of_o_grad(word / 4u), four_of_o_grad(next), word, vector);
}

fn of_o_saved(thread: Thread, at: u32, vector: u32) -> vec4<f32> {
    if !exists(at, vector) {
        return vec4<f32>(0.0);
    }
    let word = word_of_o(thread, at, vector);
    if HEAD_DIM % 4u == 0u {
        return four_of_o_saved(word / 4u);
    }
    let next = min(word / 4u + 1u, arrayLength(&o_saved) - 1u);
    return joined(four_of_o_saved(word / 4u), four_of_o_saved(next), word, vector);
}

fn of_any(thread: Thread, which: u32, at: u32, vector: u32) -> vec4<f32> {
    if which == DO {
        return of_o_grad(thread, at, vector);
    }
    return of_qkv(thread, which, at, vector);
}

fn store_o(thread: Thread, at: u32, vector: u32, value: vec4<f32>) {
    if !exists(at, vector) {
        return;
    }
    let word = word_of_o(thread, at, vector);
    if O_ELEMENT != F32 {
        o[word / 8u][word / 4u % 2u * 2u] = narrowed_pair(value.xy, O_ELEMENT);
        o[word / 8u][word / 4u % 2u * 2u + 1u] = narrowed_pair(value.zw, O_ELEMENT);
        return;
    }
    if HEAD_DIM % 4u == 0u {
        o[word / 4u] = bitcast<vec4<u32>>(value);
        return;
    }
    for (var i = 0u; i < min(4u, HEAD_DIM - 4u * vector); i++) {
        o[(word + i) / 4u][(word + i) % 4u] = bitcast<u32>(value[i]);
    }
}

fn store_qkv_grad(thread: Thread, which: u32, at: u32, vector: u32, value: vec4<f32>) {
    if !exists(at, vector) {
        return;
    }
    let word = word_of_qkv(thread, which, at, vector);
    if QKV_GRAD_ELEMENT != F32 {
        qkv_grad[word / 8u][word / 4u % 2u * 2u] = narrowed_pair(value.xy, QKV_GRAD_ELEMENT);
        qkv_grad[word / 8u][word / 4u % 2u * 2u + 1u] = narrowed_pair(value.zw, QKV_GRAD_ELEMENT);
        return;
    }
    if HEAD_DIM % 4u == 0u {
        qkv_grad[word / 4u] = bitcast<vec4<u32>>(value);
        return;
    }
    for (var i = 0u; i < min(4u, HEAD_DIM - 4u * vector); i++) {
        qkv_grad[(word + i) / 4u][(word + i) % 4u] = bitcast<u32>(value[i]);
    }
}

fn store_qkv_grads(thread: Thread, which: u32, sums: ptr<function, Sums>) {
    for (var m = 0u; m < SHARE; m++) {
        for (var i = 0u; i < 4u; i++) {
            store_qkv_grad(thread, which, row_of(thread, i), thread.x + LANES * m, (*sums)[4u * m + i]);
        }
    }
}

// Features of a row whose partners lie from `start` of `right` on, turned back by the angles of position `at`.
fn turned_back(own: vec4<f32>, at: u32, vector: u32, start: u32) -> vec4<f32> {
    let half = HEAD_DIM / 2u;
    var back = own;
    for (var i = 0u; i < 4u; i++) {
        let feature = 4u * vector + i;
        if feature < HEAD_DIM {
            let turn = turns[min(at, params.length - 1u) * half + feature % half];
            let other = (feature + half) % HEAD_DIM;
            let partner = right[start + other / 4u][other % 4u];
            back[i] = own[i] * turn.x + select(-partner, partner, feature < half) * turn.y;
        }
    }
    return back;
}

// Turns the gradients of q or k back. Threads show each other as many of their rows as fit `right`, in turns.
fn turn_back(thread: Thread, sums: ptr<function, Sums>) {
    const FITTING: u32 = 512u / (SHARE * LANES);
    if TURNED == 0u {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        for (var first = 0u; first < THREADS / LANES; first += FITTING) {
            let shown = thread.y >= first && thread.y < first + FITTING;
            let start = (thread.y - first) * SHARE * LANES;
            workgroupBarrier();
            for (var m = 0u; shown && m < SHARE; m++) {
                right[start + thread.x + LANES * m] = (*sums)[4u * m + i];
            }
            workgroupBarrier();
            for (var m = 0u; shown && m < SHARE; m++) {
                let own = (*sums)[4u * m + i];
                (*sums)[4u * m + i] = turned_back(own, row_of(thread, i), thread.x + LANES * m, start);
            }
        }
    }
}

fn largest(four: vec4<f32>) -> f32 {
    return max(max(four.x, four.y), max(four.z, four.w));
}

fn total(four: vec4<f32>) -> f32 {
    return (four.x + four.y) + (four.z + four.w);
}

fn add_outer(sum: vec4<f32>, factors: vec4<f32>, lines: mat4x4<f32>) -> vec4<f32> {
    var added = sum;
    added += factors.x * lines[0];
    added += factors.y * lines[1];
    added += factors.z * lines[2];
    added += factors.w * lines[3];
    return added;
}

// Adds to the scores the products over one chunk of features.
fn add_products(thread: Thread, scores: ptr<function, Tile>) {
    let row = 4u * DEPTH * thread.y;
    for (var c = 0u; c < DEPTH; c++) {
        let column = thread.x * STRIDE + c;
        let lines = transpose(mat4x4<f32>(
            right[column],
            right[column + LANES * STRIDE],
            right[column + 2u * LANES * STRIDE],
            right[column + 3u * LANES * STRIDE],
        ));
        (*scores)[0] = add_outer((*scores)[0], left[row + c], lines);
        (*scores)[1] = add_outer((*scores)[1], left[row + DEPTH + c], lines);
        (*scores)[2] = add_outer((*scores)[2], left[row + 2u * DEPTH + c], lines);
        (*scores)[3] = add_outer((*scores)[3], left[row + 3u * DEPTH + c], lines);
    }
}

// Adds to the sums those of one piece of the columns, times the weights.
fn add_weighted(thread: Thread, first: u32, sums: ptr<function, Sums>) {
    for (var column = 0u; column < PIECE; column++) {
        let weights = left[thread.y * COLUMNS + first + column];
        for (var m = 0u; m < SHARE; m++) {
            let values = right[(column * SHARE + m) * LANES + thread.x];
            (*sums)[4u * m] += weights.x * values;
            (*sums)[4u * m + 1u] += weights.y * values;
            (*sums)[4u * m + 2u] += weights.z * values;
            (*sums)[4u * m + 3u] += weights.w * values;
        }
    }
}

// Puts this thread's weights where the other threads of its rows find them.
fn share_weights(thread: Thread, weights: ptr<function, Tile>) {
    let columns = transpose(mat4x4<f32>((*weights)[0], (*weights)[1], (*weights)[2], (*weights)[3]));
    let at = thread.y * COLUMNS + thread.x;
    left[at] = columns[0];
    left[at + LANES] = columns[1];
    left[at + 2u * LANES] = columns[2];
    left[at + 3u * LANES] = columns[3];
}

// Puts this thread's part where the other threads of its rows find it.
fn share_part(thread: Thread, own: vec4<f32>) {
    workgroupBarrier();
    right[thread.local] = own;
    workgroupBarrier();
}

fn sum_over_threads(thread: Thread, own: vec4<f32>) -> vec4<f32> {
    share_part(thread, own);
    var sum = vec4<f32>(0.0);
    for (var other = 0u; other < LANES; other++) {
        sum += right[LANES * thread.y + other];
    }
    return sum;
}

fn largest_over_threads(thread: Thread, own: vec4<f32>) -> vec4<f32> {
    share_part(thread, own);
    var highest = vec4<f32>(LOWEST);
    for (var other = 0u; other < LANES; other++) {
        highest = max(highest, right[LANES * thread.y + other]);
    }
    return highest;
}

// Which of this thread's columns there are.
fn columns_within(thread: Thread, first: u32) -> vec4<bool> {
    return vec4<u32>(first + thread.x) + vec4<u32>(0u, 1u, 2u, 3u) * LANES < vec4<u32>(params.length);
}

// Adds q k^T over all features.
fn forward_scores(thread: Thread, first: u32, scores: ptr<function, Tile>) {
    for (var start = 0u; start < VECTORS; start += DEPTH) {
        workgroupBarrier();
        for (var at = thread.local; at < ROWS * DEPTH; at += THREADS) {
            left[at] = of_qkv(thread, Q, thread.group.x * ROWS + at / DEPTH, start + at % DEPTH);
        }
        for (var at = thread.local; at < COLUMNS * DEPTH; at += THREADS) {
            right[at / DEPTH * STRIDE + at % DEPTH] = of_qkv(thread, K, first + at / DEPTH, start + at % DEPTH);
        }
        workgroupBarrier();
        add_products(thread, scores);
    }
}

// Adds p v.
fn forward_sums(thread: Thread, first: u32, sums: ptr<function, Sums>) {
    for (var start = 0u; start < COLUMNS; start += PIECE) {
        workgroupBarrier();
        for (var at = thread.local; at < PIECE * SHARE * LANES; at += THREADS) {
            let column = first + start + at / (SHARE * LANES);
            right[at] = of_qkv(thread, V, column, at % (SHARE * LANES));
        }
        workgroupBarrier();
        add_weighted(thread, start, sums);
    }
}

// Adds the products of two of q, k, v and do over all features.
fn reverse_scores(thread: Thread, rows: u32, columns: u32, first: u32, scores: ptr<function, Tile>) {
    for (var start = 0u; start < VECTORS; start += DEPTH) {
        workgroupBarrier();
        for (var at = thread.local; at < ROWS * DEPTH; at += THREADS) {
            left[at] = of_any(thread, rows, thread.group.x * ROWS + at / DEPTH, start + at % DEPTH);
        }
        for (var at = thread.local; at < COLUMNS * DEPTH; at += THREADS) {
            right[at / DEPTH * STRIDE + at % DEPTH] = of_any(thread, columns, first + at / DEPTH, start + at % DEPTH);
        }
        workgroupBarrier();
        add_products(thread, scores);
    }
}

// Adds the columns of one of q, k and do, times the weights.
fn reverse_sums(thread: Thread, columns: u32, first: u32, sums: ptr<function, Sums>) {
    for (var start = 0u; start < COLUMNS; start += PIECE) {
        workgroupBarrier();
        for (var at = thread.local; at < PIECE * SHARE * LANES; at += THREADS) {
            let column = first + start + at / (SHARE * LANES);
            right[at] = of_any(thread, columns, column, at % (SHARE * LANES));
        }
        workgroupBarrier();
        add_weighted(thread, start, sums);
    }
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = thread(group, local);
    var sums: Sums;
    var highest = vec4<f32>(LOWEST);
    var denominators = vec4<f32>(0.0);
    for (var first = 0u; first < params.length; first += COLUMNS) {
        var scores: Tile;
        forward_scores(thread, first, &scores);
        let within = columns_within(thread, first);
        var own: vec4<f32>;
        for (var i = 0u; i < 4u; i++) {
            scores[i] = select(vec4<f32>(LOWEST), scores[i] * params.scale, within);
            own[i] = largest(scores[i]);
        }
        let raised = max(highest, largest_over_threads(thread, own));
        let shrink = exp(highest - raised);
        highest = raised;
        for (var i = 0u; i < 4u; i++) {
            scores[i] = exp(scores[i] - raised[i]);
            own[i] = total(scores[i]);
        }
        denominators = denominators * shrink + own;
        for (var m = 0u; m < SHARE; m++) {
            sums[4u * m] *= shrink.x;
            sums[4u * m + 1u] *= shrink.y;
            sums[4u * m + 2u] *= shrink.z;
            sums[4u * m + 3u] *= shrink.w;
        }
        share_weights(thread, &scores);
        forward_sums(thread, first, &sums);
    }
    denominators = sum_over_threads(thread, denominators);
    for (var m = 0u; m < SHARE; m++) {
        for (var i = 0u; i < 4u; i++) {
            store_o(thread, row_of(thread, i), thread.x + LANES * m, sums[4u * m + i] / denominators[i]);
        }
    }
    for (var i = 0u; i < 4u; i++) {
        if thread.x == 0u && row_of(thread, i) < params.length {
            lse[in_lines(thread, row_of(thread, i))] = highest[i] + log(denominators[i]);
        }
    }
}

@compute @workgroup_size(THREADS)
fn reverse_queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = thread(group, local);
    var inner: vec4<f32>;
    for (var m = 0u; m < SHARE; m++) {
        let vector = thread.x + LANES * m;
        for (var i = 0u; i < 4u; i++) {
            let row = row_of(thread, i);
            inner[i] += total(of_o_grad(thread, row, vector) * of_o_saved(thread, row, vector));
        }
    }
    inner = sum_over_threads(thread, inner);
    var lse_of_rows: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        let line = in_lines(thread, min(row_of(thread, i), params.length - 1u));
        lse_of_rows[i] = lse_saved[line];
        if thread.x == 0u && row_of(thread, i) < params.length {
            delta[line] = inner[i];
        }
    }
    var dq: Sums;
    for (var first = 0u; first < params.length; first += COLUMNS) {
        var scores: Tile;
        var dp: Tile;
        reverse_scores(thread, Q, K, first, &scores);
        reverse_scores(thread, DO, V, first, &dp);
        let within = columns_within(thread, first);
        var ds: Tile;
        for (var i = 0u; i < 4u; i++) {
            let p = select(vec4<f32>(0.0), exp(scores[i] * params.scale - lse_of_rows[i]), within);
            ds[i] = p * (dp[i] - inner[i]) * params.scale;
        }
        workgroupBarrier();
        share_weights(thread, &ds);
        reverse_sums(thread, K, first, &dq);
    }
    turn_back(thread, &dq);
    store_qkv_grads(thread, Q, &dq);
}

@compute @workgroup_size(THREADS)
fn reverse_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = thread(group, local);
    var dk: Sums;
    var dv: Sums;
    for (var first = 0u; first < params.length; first += COLUMNS) {
        var scores: Tile;
        var dp: Tile;
        reverse_scores(thread, K, Q, first, &scores);
        reverse_scores(thread, V, DO, first, &dp);
        let within = columns_within(thread, first);
        var lse_of_columns: vec4<f32>;
        var delta_of_columns: vec4<f32>;
        for (var j = 0u; j < 4u; j++) {
            let line = in_lines(thread, min(first + thread.x + LANES * j, params.length - 1u));
            lse_of_columns[j] = lse_saved[line];
            delta_of_columns[j] = delta_saved[line];
        }
        var p: Tile;
        var ds: Tile;
        for (var i = 0u; i < 4u; i++) {
            p[i] = select(vec4<f32>(0.0), exp(scores[i] * params.scale - lse_of_columns), within);
            ds[i] = p[i] * (dp[i] - delta_of_columns) * params.scale;
        }
        workgroupBarrier();
        share_weights(thread, &p);
        reverse_sums(thread, DO, first, &dv);
        workgroupBarrier();
        share_weights(thread, &ds);
        reverse_sums(thread, Q, first, &dk);
    }
    turn_back(thread, &dk);
    store_qkv_grads(thread, K, &dk);
    store_qkv_grads(thread, V, &dv);
}
