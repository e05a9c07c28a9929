// Index of an invocation in a one-dimensional grid that is folded into y past 65,535 workgroups of `size` threads.
fn linear_index(workgroup: vec3<u32>, local: u32, size: u32) -> u32 {
    return (workgroup.y * 65535u + workgroup.x) * size + local;
}
