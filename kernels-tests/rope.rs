//! Rotary positions against f64: q and k turned, v untouched, and the gradient turned back.

use trm::Result;
use trm::ops::rope::{KERNEL, rope, table};
use trm::plan::Shape;

use crate::check::roundings;
use crate::harness::{KernelTests, Lab, Mutant, Needs, in_bf16, in_f16};

/// Tests and mutants of `rope`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("turns", turns),
        ("turns_in_bf16", |lab| in_bf16(lab, turns)),
        ("turns_in_f16", |lab| in_f16(lab, turns)),
    ],
    mutants: &[
        Mutant {
            name: "turns_neighbours",
            from: "let at = (row * 3u * params.heads + head) * 2u * params.half + i;",
            to: "let at = (row * 3u * params.heads + head) * 2u * params.half + (i + 1u) % params.half;",
        },
        Mutant {
            name: "turns_both_halves_by_one_angle",
            from: "let next = table[at_turn + 1u]",
            to: "let next = table[at_turn]",
        },
        Mutant {
            name: "turns_by_the_row",
            from: "row % params.length * params.half",
            to: "(row % params.length + 1u) % params.length * params.half",
        },
        Mutant { name: "turns_the_wrong_way", from: "params.sign * turn.y", to: "-params.sign * turn.y" },
        Mutant { name: "never_turns_back", from: "params.sign * turn.y", to: "turn.y + 0.0 * params.sign" },
        Mutant {
            name: "leaves_k",
            from: "let head = index / params.half % (2u * params.heads)",
            to: "let head = index / params.half % params.heads",
        },
    ],
};

/// (B, L, 3, heads, d) turned by +-position * theta^(-2i/d), element by element.
fn reference(qkv: &[f32], length: usize, heads: usize, head_dim: usize, theta: f64, sign: f64) -> Vec<f64> {
    let half = head_dim / 2;
    let element = |at: usize| {
        let (feature, head) = (at % head_dim, at / head_dim % (3 * heads));
        let position = at / (head_dim * 3 * heads) % length;
        if head >= 2 * heads {
            return f64::from(qkv[at]);
        }
        let exponent = -2.0 * (feature % half) as f64 / head_dim as f64;
        let angle = sign * position as f64 * theta.powf(exponent);
        let (own, partner) = match feature < half {
            true => (qkv[at], -qkv[at + half]),
            false => (qkv[at], qkv[at - half]),
        };
        f64::from(own) * angle.cos() + f64::from(partner) * angle.sin()
    };
    (0..qkv.len()).map(element).collect()
}

/// Heads of as few features as there can be, of odd halves and of halves in fours.
fn turns(lab: &mut Lab) -> Result<()> {
    for (batch, length, heads, head_dim) in [
        (1, 1, 1, 2),
        (2, 3, 1, 2),
        (3, 7, 2, 6),
        (1, 5, 3, 4),
        (1, 97, 5, 14),
        (3, 31, 3, 24),
        (2, 65, 1, 64),
    ] {
        if lab.halves() && head_dim % 4 != 0 {
            continue;
        }
        for theta in [10_000.0, 100.0] {
            lab.case(format!("B {batch} L {length}, {heads} heads of {head_dim}, theta {theta}"));
            let shape = Shape { batch, length, width: heads * head_dim };
            let (qkv, dqkv) = (lab.normal(3 * shape.words()), lab.normal(3 * shape.words()));
            let qkv = lab.stored(&qkv);
            let turned = reference(&qkv, length, heads, head_dim, theta, 1.0);
            let turned_back = reference(&dqkv, length, heads, head_dim, theta, -1.0);
            let angles = lab.floats("table", &table(length, head_dim, theta));
            let (x, dy) = (lab.activation("qkv", &qkv), lab.floats("dqkv", &dqkv));
            let op = |tape: &mut trm::plan::Tape| rope(tape, shape, heads, angles, x).map(|()| x);
            let (y, dx) = lab.with_reverse(x, dy, op)?;
            // cos and sin are rounded once, then two products and a sum.
            lab.expect("qkv", y, turned, roundings(4));
            lab.expect("dqkv", dx, turned_back, roundings(4));
        }
    }
    Ok(())
}
