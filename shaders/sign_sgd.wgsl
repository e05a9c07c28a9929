// Puzzle embeddings: row = row (1 - lr wd) - lr sign(g), g the sum of the gradients of all slots that used the row.
// puzzle_emb (held, N) holds the rows of the identifiers from first_identifier on; rows (B, N) and identifiers (B) have
// a part for each micro-batch. Rows not used in this step stay as they are, and all where skip (1) is not 0: a gradient or loss is not finite.
// A thread owns one element of a slot's row; the first slot of several with the same identifier does the work. f32.

struct Params {
    count: u32, batch: u32, emb_ndim: u32, first_identifier: u32, held: u32, micro_batch: u32, row_stride: u32,
    identifier_stride: u32, weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> clock: Clock;
@group(0) @binding(2) var<storage, read> identifiers: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<f32>;
@group(0) @binding(4) var<storage, read_write> puzzle_emb: array<f32>;
@group(0) @binding(5) var<storage, read> skip: array<u32>;

#import clock
#import index

// Where the `words` words of a slot start in a buffer that has a part for each micro-batch, parts being `stride` words
// apart.
fn first_word(slot: u32, words: u32, micro_batch: u32, stride: u32) -> u32 {
    return slot / micro_batch * stride + slot % micro_batch * words;
}

fn identifier_of(slot: u32) -> u32 {
    return identifiers[first_word(slot, 1u, params.micro_batch, params.identifier_stride)];
}

@compute @workgroup_size(64)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count || skip[0] != 0u {
        return;
    }
    let slot = index / params.emb_ndim;
    let column = index % params.emb_ndim;
    let identifier = identifier_of(slot);
    var first = true;
    var g = 0.0;
    for (var other = 0u; other < params.batch; other++) {
        if identifier_of(other) == identifier {
            first = first && other >= slot;
            g += rows[first_word(other, params.emb_ndim, params.micro_batch, params.row_stride) + column];
        }
    }
    // An identifier below the first wraps around to a number that no part holds.
    let row = identifier - params.first_identifier;
    if first && row < params.held {
        let at = row * params.emb_ndim + column;
        let lr = clock.puzzle_emb_lr;
        puzzle_emb[at] = puzzle_emb[at] * (1.0 - lr * params.weight_decay) - lr * sign(g);
    }
}
