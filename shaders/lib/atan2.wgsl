// atan2(y, x) for x >= 0, to 2 ulp: WGSL's own may be off by 4,096. atan2(0, 0) = 0 as in PyTorch.
// The quotient is folded to |t| <= tan(pi/8), where a degree-9 odd polynomial (Cephes' atanf) holds.
fn atan2_right(y: f32, x: f32) -> f32 {
    let a = abs(y);
    if a == 0.0 {
        return 0.0;
    }
    var t = a / x;
    var base = 0.0;
    if a > 2.414213562373095 * x {
        t = -x / a;
        base = 1.5707963267948966;
    } else if a > 0.4142135623730950 * x {
        t = (a - x) / (a + x);
        base = 0.7853981633974483;
    }
    let z = t * t;
    let tail = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1;
    let angle = base + (tail * z * t + t);
    return select(angle, -angle, y < 0.0);
}
