// What matrix units can do: y[block] = the sum of 16 matrices C[i, j] += A[i] B[j], added up `rounds` times, i and j from
// 0 to 3: sixteen independent sums of a subgroup, whose operands stay in registers.
// y (BLOCKS of each workgroup, SIZE, SIZE). A workgroup owns BLOCKS blocks, a subgroup of it one, or several in turn.
// Operands are f16, sums f32; operands are eighths from -3/8 to 3/8, so that nothing is rounded up to 4096 rounds.
// Assumes whole subgroups; spare ones do nothing.

enable f16;
enable wgpu_cooperative_matrix;

struct Params { rounds: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

// SIZE is that of the aliases below, which change with it.
const SIZE: u32 = 16u;
const LANES: u32 = 128u;
const BLOCKS: u32 = 4u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const AREA: u32 = SIZE * SIZE;
// A[0] to A[3], then B[0] to B[3], each row by row.
var<workgroup> operands: array<f16, 8u * AREA>;

@compute @workgroup_size(LANES)
fn matrices(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    for (var at = local; at < 8u * AREA; at += LANES) {
        operands[at] = f16((f32(at * 3u % 7u) - 3.0) / 8.0);
    }
    workgroupBarrier();
    let a0 = coopLoadT<Left>(&operands[0], SIZE);
    let a1 = coopLoadT<Left>(&operands[AREA], SIZE);
    let a2 = coopLoadT<Left>(&operands[2u * AREA], SIZE);
    let a3 = coopLoadT<Left>(&operands[3u * AREA], SIZE);
    let b0 = coopLoadT<Right>(&operands[4u * AREA], SIZE);
    let b1 = coopLoadT<Right>(&operands[5u * AREA], SIZE);
    let b2 = coopLoadT<Right>(&operands[6u * AREA], SIZE);
    let b3 = coopLoadT<Right>(&operands[7u * AREA], SIZE);
    for (var block = subgroup; block < BLOCKS; block += subgroups) {
        var c00 = Sums(); var c01 = Sums(); var c02 = Sums(); var c03 = Sums();
        var c10 = Sums(); var c11 = Sums(); var c12 = Sums(); var c13 = Sums();
        var c20 = Sums(); var c21 = Sums(); var c22 = Sums(); var c23 = Sums();
        var c30 = Sums(); var c31 = Sums(); var c32 = Sums(); var c33 = Sums();
        for (var round = 0u; round < params.rounds; round++) {
            c00 = coopMultiplyAdd(a0, b0, c00); c01 = coopMultiplyAdd(a0, b1, c01);
            c02 = coopMultiplyAdd(a0, b2, c02); c03 = coopMultiplyAdd(a0, b3, c03);
            c10 = coopMultiplyAdd(a1, b0, c10); c11 = coopMultiplyAdd(a1, b1, c11);
            c12 = coopMultiplyAdd(a1, b2, c12); c13 = coopMultiplyAdd(a1, b3, c13);
            c20 = coopMultiplyAdd(a2, b0, c20); c21 = coopMultiplyAdd(a2, b1, c21);
            c22 = coopMultiplyAdd(a2, b2, c22); c23 = coopMultiplyAdd(a2, b3, c23);
            c30 = coopMultiplyAdd(a3, b0, c30); c31 = coopMultiplyAdd(a3, b1, c31);
            c32 = coopMultiplyAdd(a3, b2, c32); c33 = coopMultiplyAdd(a3, b3, c33);
        }
        let sum = c00 + c01 + c02 + c03 + c10 + c11 + c12 + c13 + c20 + c21 + c22 + c23 + c30 + c31 + c32 + c33;
        coopStoreT(sum, &y[(group.x * BLOCKS + block) * AREA], SIZE);
    }
}
