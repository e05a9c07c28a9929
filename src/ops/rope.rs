//! Rotary positions: pairs (i, i + d/2) of a head are turned by the angle position * theta^(-2i/d), over all L positions,
//! the puzzle embedding's included. The product that makes q and k turns them; attention's reverse pass turns their
//! gradients back.

/// cos and sin of every angle, (L, d/2, 2), computed in f64.
pub fn table(length: usize, head_dim: usize, theta: f64) -> Vec<f32> {
    let half = head_dim / 2;
    let angle = |position: usize, i: usize| position as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
    let angles = (0..length).flat_map(|position| (0..half).map(move |i| angle(position, i)));
    angles.flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect()
}

/// Rotates one head by the angles of its position.
pub(super) fn turn(head: &mut [f32], turns: &[f32], sign: f32) {
    let (u, v) = head.split_at_mut(head.len() / 2);
    for ((u, v), turn) in u.iter_mut().zip(v).zip(turns.chunks_exact(2)) {
        let (cos, sin) = (turn[0], sign * turn[1]);
        (*u, *v) = (*u * cos - *v * sin, *v * cos + *u * sin);
    }
}
