// Sum over a workgroup of 64 threads, in an order fixed by the thread index; every thread gets the total.
// All threads must call it: it has barriers.
var<workgroup> sh_reduce: array<f32, 64>;

fn workgroup_sum(value: f32, local: u32) -> f32 {
    sh_reduce[local] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half >>= 1u) {
        if local < half {
            sh_reduce[local] += sh_reduce[local + half];
        }
        workgroupBarrier();
    }
    let total = sh_reduce[0];
    workgroupBarrier();
    return total;
}
