// x = sqrt(D) e, e = [puzzle embedding row, zero-padded to (P, D); embed_tokens[inputs]]; with learned positions
// e = 0.7071 (e + embed_pos). x (B, L, D), L = P + S; inputs (B, S); identifiers (B); tables (V, D), (ids, N), (L, D).
// Reverse: token_partials (chunks, V, D), the sum of dx over the rows of a chunk that hold token v; puzzle_rows
// (B, N), one gradient per slot. Position gradients are plain column sums (column_sums.wgsl).
// A thread owns one element of the result, f32. Without a puzzle embedding P = 0 and its bindings repeat the tokens'.

struct Params {
    count: u32, width: u32, length: u32, prefix: u32, emb_ndim: u32, vocab: u32, chunk: u32,
    positions: u32, learned: u32, scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inputs: array<u32>;
@group(0) @binding(2) var<storage, read> identifiers: array<u32>;
@group(0) @binding(3) var<storage, read> tokens: array<f32>;
@group(0) @binding(4) var<storage, read> puzzle_emb: array<f32>;
@group(0) @binding(5) var<storage, read> embed_pos: array<f32>;
@group(0) @binding(6) var<storage, read> dx: array<f32>;
@group(0) @binding(7) var<storage, read_write> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> token_partials: array<f32>;
@group(0) @binding(9) var<storage, read_write> puzzle_rows: array<f32>;

#import index

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let column = index % params.width;
    let row = index / params.width;
    let position = row % params.length;
    let sample = row / params.length;
    var value = 0.0;
    if position >= params.prefix {
        let token = inputs[sample * (params.length - params.prefix) + position - params.prefix];
        value = tokens[token * params.width + column];
    } else {
        let place = position * params.width + column;
        if place < params.emb_ndim {
            value = puzzle_emb[identifiers[sample] * params.emb_ndim + place];
        }
    }
    if params.learned != 0u {
        value += embed_pos[position * params.width + column];
    }
    x[index] = value * params.scale;
}

@compute @workgroup_size(64)
fn reverse_tokens(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let column = index % params.width;
    let token = index / params.width % params.vocab;
    let first = index / params.width / params.vocab * params.chunk;
    let last = min(first + params.chunk, params.positions);
    let tokens_per_sample = params.length - params.prefix;
    var total = 0.0;
    for (var at = first; at < last; at++) {
        if inputs[at] == token {
            let row = at / tokens_per_sample * params.length + params.prefix + at % tokens_per_sample;
            total += dx[row * params.width + column];
        }
    }
    token_partials[index] = total * params.scale;
}

@compute @workgroup_size(64)
fn reverse_puzzle(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let sample = index / params.emb_ndim;
    let place = index % params.emb_ndim;
    puzzle_rows[index] = dx[sample * params.length * params.width + place] * params.scale;
}
