//! Elementary functions of the CPU twins, written without branches so that the compiler vectorises them.

pub(super) use crate::vectors::vectorised;

/// e^v to 2 ulp for v in [-87, 88], clamped outside (Cephes' expf polynomial).
#[inline(always)]
pub fn exp(v: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let v = v.clamp(-87.0, 88.0);
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits of the sum.
    let rounded = v.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, v));
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = r.mul_add(p, c);
    }
    let mantissa = (r * r).mul_add(p, r) + 1.0;
    mantissa * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// 1 / (1 + e^-v).
#[inline(always)]
pub fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + exp(-v))
}

/// log(1 + e^v).
pub fn softplus(v: f32) -> f32 {
    v.max(0.0) + (-v.abs()).exp().ln_1p()
}

/// atan2(y, x) for x >= 0 to 2 ulp, 0 at the origin: the formula of `shaders/lib/atan2.wgsl`.
#[inline(always)]
pub fn atan2_right(y: f32, x: f32) -> f32 {
    use std::f32::consts::{FRAC_PI_2, FRAC_PI_4};
    let a = y.abs();
    let (steep, middle) = (a > 2.414_213_6 * x, a > 0.414_213_57 * x);
    let numerator = if steep {
        -x
    } else if middle {
        a - x
    } else {
        a
    };
    let denominator = if steep {
        a
    } else if middle {
        a + x
    } else {
        x
    };
    let base = if steep {
        FRAC_PI_2
    } else if middle {
        FRAC_PI_4
    } else {
        0.0
    };
    let t = if a == 0.0 { 0.0 } else { numerator / denominator };
    let z = t * t;
    let tail = ((8.053_744_5e-2 * z - 1.387_768_6e-1) * z + 1.997_771_1e-1) * z - 3.333_295e-1;
    (base + (tail * z * t + t)).copysign(y)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_within_two_ulp_of_f64() {
        for step in -87_000..=88_000 {
            let v = (step as f32 * 1e-3).clamp(-87.0, 88.0);
            let exact = f64::from(v).exp();
            let error = (f64::from(super::exp(v)) - exact).abs() / exact;
            assert!(error <= 2.4e-7, "exp({v}): relative error {error:e}");
        }
    }

    #[test]
    fn atan2_is_within_three_ulp_of_f64() {
        assert_eq!(super::atan2_right(0.0, 0.0), 0.0);
        for power in -60..60 {
            for step in 0..1000 {
                let y = (1.0 + step as f32 * 1e-3) * 2f32.powi(power);
                for (y, x) in [(y, 1.0), (-y, 1.0), (1.0, y), (-1.0, y), (y, 0.0)] {
                    let exact = f64::from(y).atan2(f64::from(x));
                    let error = (f64::from(super::atan2_right(y, x)) - exact).abs() / exact.abs();
                    assert!(error <= 3.6e-7, "atan2({y}, {x}): relative error {error:e}");
                }
            }
        }
    }
}
