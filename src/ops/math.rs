//! Elementary functions of the CPU twins, written without branches so that the compiler vectorises them.

/// e^v to 2 ulp for v in [-87, 88], clamped outside (Cephes' expf polynomial).
#[inline(always)]
pub fn exp(v: f32) -> f32 {
    let v = v.clamp(-87.0, 88.0);
    // Adding and subtracting 1.5 * 2^23 rounds to an integer without a call.
    let n = (v * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = v - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1] {
        p = p * r + c;
    }
    let mantissa = p * r * r + r + 1.0;
    mantissa * f32::from_bits(((n as i32 + 127) as u32) << 23)
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

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_within_two_ulp_of_f64() {
        for step in -87_000..=88_000 {
            let v = step as f32 * 1e-3;
            let exact = f64::from(v).exp();
            let error = (f64::from(super::exp(v)) - exact).abs() / exact;
            assert!(error <= 2.4e-7, "exp({v}): relative error {error:e}");
        }
    }
}
