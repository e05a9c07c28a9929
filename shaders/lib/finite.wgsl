// Whether a number, by its bits, is not finite or so large (2^63) that AdamATan2's square of it would not be. Compilers
// may assume that no number is NaN or infinite, so bits are compared, never x with x.
fn unusable(bits: u32) -> bool {
    return (bits & 0x7fffffffu) >= 0x5f000000u;
}
