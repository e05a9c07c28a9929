// C[b] = sum over r of A[b, r] B[b, r]  (+ addend[b]): every matrix product of the model, forward and reverse.
// A (m, k), B (k, n), C (m, n), each with a stride per row, column and batch, and A, B per reduction r, which
// splits in r / inner and r % inner. C's columns are contiguous. An addend row stride of 0 adds a bias.
// One workgroup owns a 64 x 64 tile of one C[b]; a thread owns 4 x 4 of it, 16 apart in columns.
// f32 throughout; the sum over k runs in one fixed order. Shapes need not be multiples of a tile.

struct Params {
    m: u32, n: u32, k: u32, reductions: u32, inner: u32,
    a_row: u32, a_col: u32, a_batch: u32, a_outer: u32, a_inner: u32,
    b_row: u32, b_col: u32, b_batch: u32, b_outer: u32, b_inner: u32,
    c_row: u32, c_batch: u32, addend_row: u32, addend_batch: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> addend: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
var<workgroup> sh_a: array<f32, 1024>;
var<workgroup> sh_b: array<f32, 1024>;
var<private> acc: array<vec4<f32>, 4>;

// Puts a tile element's place (line along m or n, depth along k) so that neighbouring threads read neighbouring words.
fn place(element: u32, depth_is_contiguous: bool) -> vec2<u32> {
    if depth_is_contiguous {
        return vec2<u32>(element / DEPTH, element % DEPTH);
    }
    return vec2<u32>(element % TILE, element / TILE);
}

fn load_tiles(group: vec3<u32>, local: u32, a_base: u32, b_base: u32, k0: u32) {
    for (var element = local; element < TILE * DEPTH; element += 256u) {
        let pa = place(element, params.a_col == 1u);
        let row = group.y * TILE + pa.x;
        let ka = k0 + pa.y;
        var va = 0.0;
        if row < params.m && ka < params.k {
            va = a[a_base + row * params.a_row + ka * params.a_col];
        }
        sh_a[pa.y * TILE + pa.x] = va;
        let pb = place(element, params.b_row == 1u);
        let col = group.x * TILE + pb.x;
        let kb = k0 + pb.y;
        var vb = 0.0;
        if col < params.n && kb < params.k {
            vb = b[b_base + kb * params.b_row + col * params.b_col];
        }
        sh_b[pb.y * TILE + pb.x] = vb;
    }
}

fn accumulate(group: vec3<u32>, local: u32) {
    let column = local % 16u;
    let row = local / 16u * 4u;
    for (var r = 0u; r < params.reductions; r++) {
        let outer = r / params.inner;
        let within = r % params.inner;
        let a_base = group.z * params.a_batch + outer * params.a_outer + within * params.a_inner;
        let b_base = group.z * params.b_batch + outer * params.b_outer + within * params.b_inner;
        for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
            load_tiles(group, local, a_base, b_base, k0);
            workgroupBarrier();
            for (var depth = 0u; depth < DEPTH; depth++) {
                let at_b = depth * TILE + column;
                let line = vec4<f32>(sh_b[at_b], sh_b[at_b + 16u], sh_b[at_b + 32u], sh_b[at_b + 48u]);
                let at_a = depth * TILE + row;
                acc[0] += sh_a[at_a] * line;
                acc[1] += sh_a[at_a + 1u] * line;
                acc[2] += sh_a[at_a + 2u] * line;
                acc[3] += sh_a[at_a + 3u] * line;
            }
            workgroupBarrier();
        }
    }
}

@compute @workgroup_size(256)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    accumulate(group, local);
    for (var i = 0u; i < 4u; i++) {
        let row = group.y * TILE + local / 16u * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let col = group.x * TILE + local % 16u + 16u * j;
            if row < params.m && col < params.n {
                c[group.z * params.c_batch + row * params.c_row + col] = acc[i][j];
            }
        }
    }
}

@compute @workgroup_size(256)
fn product_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    accumulate(group, local);
    for (var i = 0u; i < 4u; i++) {
        let row = group.y * TILE + local / 16u * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let col = group.x * TILE + local % 16u + 16u * j;
            if row < params.m && col < params.n {
                let added = addend[group.z * params.addend_batch + row * params.addend_row + col];
                c[group.z * params.c_batch + row * params.c_row + col] = acc[i][j] + added;
            }
        }
    }
}
