// Rows of a table of puzzle embeddings that is held in parts: rows (B, N) = table[identifiers], slots (B) = 0..B.
// part (held, N) holds the identifiers from first_identifier on; a slot whose identifier lies in another part is
// left alone, so that one dispatch for each part fills all rows. A thread owns one element of a row. Exact copies.

struct Params { count: u32, emb_ndim: u32, first_identifier: u32, held: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> identifiers: array<u32>;
@group(0) @binding(2) var<storage, read> part: array<f32>;
@group(0) @binding(3) var<storage, read_write> rows: array<f32>;
@group(0) @binding(4) var<storage, read_write> slots: array<u32>;

#import index

@compute @workgroup_size(64)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, local, 64u);
    if index >= params.count {
        return;
    }
    let slot = index / params.emb_ndim;
    let column = index % params.emb_ndim;
    // An identifier below the first wraps around to a number that no part holds.
    let row = identifiers[slot] - params.first_identifier;
    if row < params.held {
        rows[index] = part[row * params.emb_ndim + column];
        if column == 0u {
            slots[slot] = slot;
        }
    }
}
