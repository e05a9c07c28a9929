//! The matrix product against f64: shapes around the tile, transposes, paddings, batches, reductions, and every epilogue.

use trm::Result;
use trm::ops::gemm::{Gemm, Operand};
use trm::ops::product::{Epilogue, KERNEL, Product};
use trm::ops::rope;
use trm::plan::{Axis, Element, Purpose, Role, SHARED_BYTES, Tape, Target, Tile, Tiles};

use crate::check::roundings;
use crate::harness::{
    KernelTests, Lab, Mutant, Needs, Test, in_bf16, in_f16, in_tiles, loud_in_f16, on_tile,
};

/// Tests and mutants of `product`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    // Quick ones first: a mutant is run until one of them catches it.
    tests: &[
        ("shapes", shapes),
        ("shapes_128x128", |lab| on_tile(lab, Tile::LARGE, shapes)),
        ("transposes_and_paddings", transposes_and_paddings),
        ("batches_and_reductions", batches_and_reductions),
        ("addends", addends),
        ("gates", gates),
        ("gradients_of_gates", gradients_of_gates),
        ("saturated_gates", saturated_gates),
        ("turns", turns),
        ("past_the_largest_half", past_the_largest_half),
        ("shapes_in_bf16", |lab| in_bf16(lab, shapes)),
        ("transposes_and_paddings_in_f16", |lab| in_f16(lab, transposes_and_paddings)),
        ("batches_and_reductions_in_bf16", |lab| in_bf16(lab, batches_and_reductions)),
        ("addends_in_f16", |lab| in_f16(lab, addends)),
        ("gates_in_bf16", |lab| in_bf16(lab, gates)),
        ("gradients_of_gates_in_f16", |lab| in_f16(lab, gradients_of_gates)),
        ("turns_in_f16", |lab| in_f16(lab, turns)),
        ("shapes_64x128", |lab| on_tile(lab, Tile::ALL[1], shapes)),
        ("shapes_128x64", |lab| on_tile(lab, Tile::ALL[2], shapes)),
        ("transposes_and_paddings_64x128", |lab| on_tile(lab, Tile::ALL[1], transposes_and_paddings)),
        ("transposes_and_paddings_128x64", |lab| on_tile(lab, Tile::ALL[2], transposes_and_paddings)),
        ("transposes_and_paddings_128x128", |lab| on_tile(lab, Tile::LARGE, transposes_and_paddings)),
        ("batches_and_reductions_128x128", |lab| on_tile(lab, Tile::LARGE, batches_and_reductions)),
        ("addends_128x128", |lab| on_tile(lab, Tile::LARGE, addends)),
        ("addends_128x128_in_f16", |lab| in_tiles(lab, Tile::LARGE, Element::F16, addends)),
        ("gates_64x128", |lab| on_tile(lab, Tile::ALL[1], gates)),
        ("gates_128x128_in_f16", |lab| in_tiles(lab, Tile::LARGE, Element::F16, gates)),
        ("gradients_of_gates_128x128", |lab| on_tile(lab, Tile::LARGE, gradients_of_gates)),
        ("turns_128x128", |lab| on_tile(lab, Tile::LARGE, turns)),
        ("long_sums", long_sums),
        ("long_sums_128x128", |lab| on_tile(lab, Tile::LARGE, long_sums)),
        ("few_workgroups_take_the_small_tile", few_workgroups),
    ],
    mutants: &[
        Mutant {
            name: "wraps_round_past_the_largest_half",
            from: "return pack2x16float(pair);",
            to: "return pack2x16float(select(pair, -pair, abs(pair) > vec2<f32>(65504.0)));",
        },
        Mutant { name: "skips_the_last_of_k", from: ", depth < params.k);", to: ", depth + 1u < params.k);" },
        Mutant {
            name: "skips_the_last_row",
            from: "min(line, params.m - 1u)",
            to: "min(line, params.m - 2u)",
        },
        Mutant {
            name: "skips_the_last_column",
            from: "min(line, params.n - 1u)",
            to: "min(line, params.n - 2u)",
        },
        Mutant { name: "ignores_the_batch_of_a", from: "batch * params.a_batch", to: "0u * params.a_batch" },
        Mutant { name: "ignores_the_batch_of_b", from: "batch * params.b_batch", to: "0u * params.b_batch" },
        Mutant { name: "repeats_a_reduction", from: "r * params.a_step", to: "0u * params.a_step" },
        Mutant {
            name: "reduces_once",
            from: "r < params.reductions; r++",
            to: "r < params.reductions; r += params.reductions",
        },
        Mutant { name: "subtracts_the_addend", from: "four.values + added", to: "four.values - added" },
        Mutant {
            name: "repeats_the_addend's_first_row",
            from: "four.row * params.addend_row",
            to: "0u * params.addend_row",
        },
        Mutant {
            name: "swaps_neighbours_in_halves",
            from: "narrowed_pair(values, C_ELEMENT)",
            to: "narrowed_pair(values.yx, C_ELEMENT)",
        },
        Mutant {
            name: "reads_half_its_tile",
            from: "depth * PITCH_A + local / 16u * (ROWS / 4u)",
            to: "depth * PITCH_A + local / 32u * (ROWS / 4u)",
        },
        Mutant {
            name: "multiplies_its_upper_rows_twice",
            from: "add_rows(4u, sh_a[at_a + 1u], columns)",
            to: "add_rows(4u, rows, columns)",
        },
        Mutant {
            name: "multiplies_its_left_columns_twice",
            from: "add_rows(ROWS, rows, sh_b[at_b + 16u])",
            to: "add_rows(ROWS, rows, columns)",
        },
        Mutant {
            name: "mixes_the_corner",
            from: "add_rows(ROWS + 4u, sh_a[at_a + 1u], sh_b[at_b + 16u])",
            to: "add_rows(ROWS + 4u, rows, sh_b[at_b + 16u])",
        },
        Mutant {
            name: "stages_half_of_a",
            from: "sh_a[place_of_a(local + 256u)]",
            to: "sh_a[place_of_a(local)]",
        },
        Mutant {
            name: "stages_half_of_b",
            from: "sh_b[place_of_b(local + 256u)]",
            to: "sh_b[place_of_b(local)]",
        },
        Mutant { name: "stays_at_its_first_step", from: "k + DEPTH, local)", to: "k, local)" },
        Mutant {
            name: "swaps_gate_and_up",
            from: "return gate * sigmoids(gate) * up;",
            to: "return up * sigmoids(up) * gate;",
        },
        Mutant {
            name: "takes_the_wrong_partner",
            from: "line / 2u % 2u * params.half",
            to: "line / 2u % 2u * (params.half + 1u)",
        },
        Mutant { name: "meets_the_next_row", from: "acc[i ^ 2u]", to: "acc[i ^ 1u]" },
        Mutant {
            name: "keeps_gates_for_ups",
            from: "store_four_of_kept(it.both + it.apart, it.up, it.count)",
            to: "store_four_of_kept(it.both + it.apart, it.gate, it.count)",
        },
        Mutant { name: "forgets_the_slope", from: "(1.0 + gate * (1.0 - s))", to: "(1.0 + gate * s)" },
        Mutant {
            name: "mixes_samples_of_gates",
            from: "select(params.n, params.m * params.n, OVER_L == 1u)",
            to: "select(params.n, params.n, OVER_L == 1u)",
        },
        Mutant { name: "wrong_sigmoid", from: "min(-v, vec4<f32>(80.0))", to: "min(v, vec4<f32>(80.0))" },
        Mutant { name: "turns_backwards", from: "u * cosine - v * sine", to: "u * cosine + v * sine" },
        Mutant { name: "turns_values", from: "pair < params.rotated", to: "pair < params.rotated + 1u" },
    ],
};

/// C[b][i][j] = sum over r and k of A B (+ addend), index by index.
fn reference(gemm: &Gemm, a: &[f32], b: &[f32], addend: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let mut c = Vec::new();
    for batch in 0..gemm.batch {
        for i in 0..gemm.m {
            for j in 0..gemm.n {
                let mut total = addend(batch, i, j);
                for step in 0..gemm.reductions {
                    let start = |s: &Operand| batch * s.batch + step * s.step;
                    for k in 0..gemm.k {
                        let at_a = start(&gemm.a) + i * gemm.a.row + k * gemm.a.col;
                        let at_b = start(&gemm.b) + k * gemm.b.row + j * gemm.b.col;
                        total += f64::from(a[at_a]) * f64::from(b[at_b]);
                    }
                }
                c.push(total);
            }
        }
    }
    c
}

/// Words that an operand of `rows` x `cols` reaches.
fn reach(gemm: &Gemm, operand: &Operand, rows: usize, cols: usize) -> usize {
    let last = |count: usize, stride: usize| (count - 1) * stride;
    let matrix = last(rows, operand.row) + last(cols, operand.col) + last(gemm.batch, operand.batch);
    matrix + last(gemm.reductions, operand.step) + 1
}

#[derive(Clone, Copy, PartialEq)]
pub enum Added {
    Nothing,
    Whole,
    Bias,
}

/// The words of A and B.
pub fn reaches(gemm: &Gemm) -> [usize; 2] {
    [reach(gemm, &gemm.a, gemm.m, gemm.k), reach(gemm, &gemm.b, gemm.k, gemm.n)]
}

fn lay(lab: &mut Lab, gemm: Gemm, added: Added) -> Result<()> {
    let [a, b] = reaches(&gemm).map(|words| lab.normal(words));
    lay_product(lab, gemm, (&a, &b), added)
}

/// The product of these numbers as the target stores them; none of odd lines in halves.
pub fn lay_product(lab: &mut Lab, gemm: Gemm, (a, b): (&[f32], &[f32]), added: Added) -> Result<()> {
    let (words_of_c, n) = (gemm.batch * gemm.m * gemm.n, gemm.n);
    if lab.halves() && n % 2 == 1 {
        return Ok(());
    }
    let (a, b) = (lab.stored(a), lab.stored(b));
    let addend = lab.normal(if added == Added::Bias { n } else { words_of_c });
    let addend = lab.stored(&addend);
    let value = |batch: usize, i: usize, j: usize| match added {
        Added::Nothing => 0.0,
        Added::Whole => f64::from(addend[(batch * gemm.m + i) * n + j]),
        Added::Bias => f64::from(addend[j]),
    };
    let expected = reference(&gemm, &a, &b, value);
    let (a, b, c) = (lab.activation("a", &a), lab.activation("b", &b), lab.tape.activation(words_of_c));
    let epilogue = match added {
        Added::Nothing => Epilogue::Store,
        Added::Whole => Epilogue::Add(lab.activation("addend", &addend)),
        Added::Bias => Epilogue::Bias(lab.activation("addend", &addend)),
    };
    plain_product(gemm, epilogue).push(&mut lab.tape, a, b, c)?;
    // One rounding for each product and one for each sum; a lone result may be far smaller than its terms.
    let terms = gemm.k * gemm.reductions;
    lab.expect("c", c, expected, roundings(2 * terms + 8));
    Ok(())
}

pub fn plain((m, n, k): (usize, usize, usize)) -> Gemm {
    let (a, b) = (Operand::rows_of(k), Operand::rows_of(n));
    Gemm { m, n, k, batch: 1, reductions: 1, a, b, purpose: Purpose::Forward }
}

/// A product whose epilogue knows no pairs.
fn plain_product(gemm: Gemm, epilogue: Epilogue) -> Product {
    Product { gemm, over: Axis::Width, epilogue }
}

/// Around the tile of 64 x 64 x 16, primes, vectors.
pub fn shapes(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 1, 517),
        (1, 7, 13),
        (13, 1, 5),
        (2, 3, 16),
        (64, 64, 16),
        (65, 63, 17),
        (63, 65, 15),
        (128, 64, 33),
        (3, 66, 31),
        (131, 127, 1),
        (5, 191, 97),
    ] {
        lab.case(format!("{m} x {n} x {k}"));
        lay(lab, plain((m, n, k)), Added::Nothing)?;
    }
    Ok(())
}

/// A product of four small workgroups, or of one large one, where a GPU is busy with two.
fn few_workgroups(lab: &mut Lab) -> Result<()> {
    for (small_below, width) in [(2, 64), (1, 128)] {
        let tiles = Tiles::all(Tile::LARGE, small_below);
        let mut tape = Tape::new(Target { tiles, shared_bytes: 2 * SHARED_BYTES, ..Target::default() });
        let [a, b, c] = ["a", "b", "c"].map(|name| tape.buffer(name, Role::Activation, 128 * 128));
        plain_product(plain((128, 128, 128)), Epilogue::Store).push(&mut tape, a, b, c)?;
        let grid = tape.finish()?.dispatches[0].grid;
        assert_eq!(grid, [128 / width, 128 / width, 1], "small below {small_below}");
    }
    lab.case("128 x 128, small below 2");
    let tiles = Tiles::all(Tile::LARGE, 2);
    lab.target(Target { tiles, shared_bytes: 2 * SHARED_BYTES, ..Target::default() });
    lay(lab, plain((128, 128, 3)), Added::Nothing)
}

/// A^T, B^T, and matrices whose rows lie further apart than their length.
pub fn transposes_and_paddings(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(3, 2, 5), (67, 70, 19), (64, 1, 33)] {
        for (a_transposed, b_transposed) in [(true, false), (false, true), (true, true)] {
            for padding in [0, 3] {
                lab.case(format!("{m} x {n} x {k}, {a_transposed} {b_transposed}, padded {padding}"));
                let operand = |rows: usize, cols: usize, transposed: bool| match transposed {
                    true => Operand::rows_of(rows + padding).transposed(),
                    false => Operand::rows_of(cols + padding),
                };
                let (a, b) = (operand(m, k, a_transposed), operand(k, n, b_transposed));
                lay(lab, Gemm { a, b, ..plain((m, n, k)) }, Added::Nothing)?;
            }
        }
    }
    Ok(())
}

/// Several C, one shared operand, and sums over (outer, inner) with strides of their own.
pub fn batches_and_reductions(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(1, 1, 1), (5, 7, 3), (65, 66, 18)] {
        let shape = (m, n, k);
        let (rows_a, rows_b) = (Operand::rows_of(k), Operand::rows_of(n));
        lab.case(format!("{m} x {n} x {k}, each of 3"));
        let each = Gemm { batch: 3, a: rows_a.each(m * k), b: rows_b.each(k * n), ..plain(shape) };
        lay(lab, each, Added::Nothing)?;
        lab.case(format!("{m} x {n} x {k}, A shared by 3"));
        lay(lab, Gemm { a: rows_a, ..each }, Added::Nothing)?;
        lab.case(format!("{m} x {n} x {k}, 3 summed, padded"));
        let a = rows_a.summed(m * k + 5);
        let b = rows_b.summed(k * n + 1);
        lay(lab, Gemm { reductions: 3, a, b, ..plain(shape) }, Added::Nothing)?;
        lab.case(format!("{m} x {n} x {k}, 4 summed for each of 2"));
        let a = rows_a.summed(m * k).each(4 * m * k);
        let b = rows_b.summed(k * n).each(4 * k * n);
        lay(lab, Gemm { reductions: 4, batch: 2, a, b, ..plain(shape) }, Added::Nothing)?;
    }
    let (m, n, k) = (131, 70, 33);
    let (a, b) = (Operand::rows_of(k), Operand::rows_of(n));
    for (name, a, b) in [("A", a, b.each(k * n)), ("B", a.each(m * k), b)] {
        lab.case(format!("{m} x {n} x {k}, {name} shared by 3, with an addend"));
        lay(lab, Gemm { batch: 3, a, b, ..plain((m, n, k)) }, Added::Whole)?;
    }
    Ok(())
}

/// A whole C is added, or a bias to each of its rows.
pub fn addends(lab: &mut Lab) -> Result<()> {
    for (m, n, k) in [(1, 1, 1), (9, 2, 11), (66, 65, 17), (5, 68, 33)] {
        for (name, added) in [("whole", Added::Whole), ("bias", Added::Bias)] {
            lab.case(format!("{m} x {n} x {k}, {name}"));
            let (a, b) = (Operand::rows_of(k).each(m * k), Operand::rows_of(n).each(k * n));
            lay(lab, Gemm { batch: 2, a, b, ..plain((m, n, k)) }, added)?;
        }
    }
    Ok(())
}

/// As long as the engine lets a sum be on a software adapter, which ends long loops silently: the end of a longer one
/// would be missing. Small integers, so that every sum is exact.
pub fn long_sums(lab: &mut Lab) -> Result<()> {
    let k = 174_000;
    for (name, a) in [("A", Operand::rows_of(k)), ("A transposed", Operand::rows_of(3).transposed())] {
        lab.case(format!("3 x 2 x {k}, {name}"));
        let gemm = Gemm { a, ..plain((3, 2, k)) };
        let [a, b] = reaches(&gemm)
            .map(|words| lab.below(words, 5).iter().map(|&value| value as f32 - 2.0).collect::<Vec<f32>>());
        let expected = reference(&gemm, &a, &b, |_, _, _| 0.0);
        let (a, b, c) = (lab.floats("a", &a), lab.floats("b", &b), lab.output("c", 6));
        plain_product(gemm, Epilogue::Store).push(&mut lab.tape, a, b, c)?;
        lab.expect("c", c, expected, 0.0);
    }
    Ok(())
}

/// Shapes (B, L, D) to I pairs of lines over an axis, and the products that make them: pairs around a tile, odd ones.
fn gated_forms(lab: &Lab) -> Vec<(String, Axis, Gemm)> {
    let mut forms = Vec::new();
    for (batch, length, width) in [(1, 1, 2), (3, 1, 6), (2, 7, 10), (1, 65, 4), (3, 33, 66), (2, 97, 36)] {
        for inner in if lab.halves() { [2, 36] } else { [1, 35] } {
            for over in [Axis::Width, Axis::Length] {
                let case = format!("B {batch} L {length} D {width}, I {inner} over {over:?}");
                let gemm = match over {
                    Axis::Width => Gemm {
                        b: Operand::rows_of(width).transposed(),
                        ..plain((batch * length, 2 * inner, width))
                    },
                    Axis::Length => Gemm {
                        batch,
                        b: Operand::rows_of(width).each(length * width),
                        ..plain((2 * inner, width, length))
                    },
                };
                forms.push((case, over, gemm));
            }
        }
    }
    forms
}

/// Elements from a gate to what it opens, in (g, u) whose product this is.
fn apart(over: Axis, gemm: &Gemm) -> usize {
    if over == Axis::Width { gemm.n / 2 } else { gemm.m / 2 * gemm.n }
}

/// Gates, with what they open, that lie `apart`.
fn pairs(both: &[f64], apart: usize) -> Vec<(f64, f64)> {
    let halves = both.chunks_exact(2 * apart).map(|both| both.split_at(apart));
    halves.flat_map(|(gates, ups)| gates.iter().copied().zip(ups.iter().copied())).collect()
}

/// silu(g) * u alone, and with g and u.
fn gates(lab: &mut Lab) -> Result<()> {
    for (case, over, gemm) in gated_forms(lab) {
        lab.case(case);
        let [a, b] = reaches(&gemm).map(|count| lab.normal(count));
        let (a, b) = (lab.stored(&a), lab.stored(&b));
        lay_gates(lab, over, gemm, (&a, &b), None)?;
    }
    Ok(())
}

pub fn lay_gates(
    lab: &mut Lab,
    over: Axis,
    gemm: Gemm,
    (a, b): (&[f32], &[f32]),
    bound: Option<(usize, f64)>,
) -> Result<()> {
    let both = reference(&gemm, a, b, |_, _, _| 0.0);
    let pairs = pairs(&both, apart(over, &gemm));
    let expected: Vec<f64> = pairs.into_iter().map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
    let (row, bound) = bound.unwrap_or((expected.len(), roundings(2 * gemm.k + 40)));
    let (a, b) = (lab.activation("a", a), lab.activation("b", b));
    for keeps in [false, true] {
        let kept = keeps.then(|| lab.tape.activation(both.len()));
        let c = lab.tape.activation(expected.len());
        Product { gemm, over, epilogue: Epilogue::Gate { kept } }.push(&mut lab.tape, a, b, c)?;
        lab.expect_rows(if keeps { "kept, a" } else { "a" }, c, expected.clone(), row, bound);
        if let Some(kept) = kept {
            lab.expect("g and u", kept, both.clone(), roundings(2 * gemm.k + 8));
        }
    }
    Ok(())
}

/// Every epilogue's.
fn past_the_largest_half(lab: &mut Lab) -> Result<()> {
    loud_in_f16(lab, 100.0, addends)?;
    for (loudness, test) in [(100.0, turns as Test), (100.0, gates), (6.0, gates), (20.0, gradients_of_gates)]
    {
        lab.loud(loudness);
        test(lab)?;
    }
    Ok(())
}

/// The release's definition: derivatives of silu(gate) * up with respect to gate and up, times da.
fn slopes(gate: f64, up: f64, da: f64) -> [f64; 2] {
    let sigmoid = 1.0 / (1.0 + (-gate).exp());
    [da * up * (sigmoid + gate * sigmoid * (1.0 - sigmoid)), da * gate * sigmoid]
}

/// The product that is da of the same (g, u): of half as many lines.
pub fn gradient_of(over: Axis, form: Gemm) -> Gemm {
    match over {
        Axis::Width => Gemm { n: form.n / 2, b: Operand::rows_of(form.n / 2), ..form },
        Axis::Length => Gemm { m: form.m / 2, a: Operand::rows_of(form.m / 2).transposed(), ..form },
    }
}

/// From the product that is da to the gradients of g and u.
fn gradients_of_gates(lab: &mut Lab) -> Result<()> {
    for (case, over, form) in gated_forms(lab) {
        lab.case(case);
        let gemm = gradient_of(over, form);
        let [a, b] = reaches(&gemm).map(|count| lab.normal(count));
        let gate_up = lab.normal(2 * gemm.batch * gemm.m * gemm.n);
        let (a, b, gate_up) = (lab.stored(&a), lab.stored(&b), lab.stored(&gate_up));
        let bound = roundings(2 * gemm.k + 40);
        lay_gradients(lab, over, gemm, (&a, &b, &gate_up), (gate_up.len(), bound))?;
    }
    Ok(())
}

pub fn lay_gradients(
    lab: &mut Lab,
    over: Axis,
    gemm: Gemm,
    (a, b, gate_up): (&[f32], &[f32], &[f32]),
    (row, bound): (usize, f64),
) -> Result<()> {
    let apart = if over == Axis::Width { gemm.n } else { gemm.m * gemm.n };
    let da = reference(&gemm, a, b, |_, _, _| 0.0);
    let mut expected = vec![0.0; gate_up.len()];
    for (at, da) in da.into_iter().enumerate() {
        let gate = at / apart * 2 * apart + at % apart;
        let [dgate, dup] = slopes(f64::from(gate_up[gate]), f64::from(gate_up[gate + apart]), da);
        (expected[gate], expected[gate + apart]) = (dgate, dup);
    }
    let (a, b) = (lab.activation("a", a), lab.activation("b", b));
    let gate_up = lab.activation("g and u", gate_up);
    let c = lab.tape.activation(expected.len());
    Product { gemm, over, epilogue: Epilogue::Ungate { gate_up } }.push(&mut lab.tape, a, b, c)?;
    lab.expect_rows("gradients", c, expected, row, bound);
    Ok(())
}

/// Gates far outside: silu is 0 or the identity there, and nothing overflows. Each value counts by itself.
fn saturated_gates(lab: &mut Lab) -> Result<()> {
    // WGSL's exp may be off by 3 + 2 |v| ulp, two roundings each, and gates go to 60 before sigmoid is 0.
    let bound = roundings(2 * (3 + 2 * 60) + 16);
    let gates = [0.0, 1e-3, -1e-3, 12.0, -12.0, 60.0, -60.0, 1e4, 3e37, 30.0, 1.0, -1.0];
    lab.case("saturated");
    let gate_up: Vec<f32> = gates.iter().copied().chain([0.5; 12]).collect();
    lay_gates(lab, Axis::Width, plain((1, 24, 1)), (&[1.0], &gate_up), Some((1, bound)))?;
    lab.case("saturated, gradients");
    let da = lab.normal(12);
    lay_gradients(lab, Axis::Width, plain((1, 12, 1)), (&[1.0], &da, &gate_up), (1, bound))
}

/// q and k turned, v as it is.
fn turns(lab: &mut Lab) -> Result<()> {
    for shape in [(1, 1, 1, 1), (2, 5, 3, 2), (1, 67, 2, 16), (2, 33, 1, 32), (3, 9, 2, 35)] {
        if !lab.halves() || shape.3 % 2 == 0 {
            lay_turns(lab, shape)?;
        }
    }
    Ok(())
}

pub fn lay_turns(lab: &mut Lab, (batch, length, heads, half): (usize, usize, usize, usize)) -> Result<()> {
    let width = 2 * heads * half;
    lab.case(format!("B {batch} L {length} heads {heads} d {}", 2 * half));
    let gemm = Gemm { b: Operand::rows_of(width).transposed(), ..plain((batch * length, 3 * width, width)) };
    let [a, b] = reaches(&gemm).map(|count| lab.normal(count));
    let (a, b) = (lab.stored(&a), lab.stored(&b));
    let mut expected = reference(&gemm, &a, &b, |_, _, _| 0.0);
    rotate(&mut expected, (length, width), 2 * half);
    let table = lab.floats("table", &rope::table(length, 2 * half, 100.0));
    let (a, b, c) = (lab.activation("a", &a), lab.activation("b", &b), lab.tape.activation(expected.len()));
    plain_product(gemm, Epilogue::Turn { table, length, half }).push(&mut lab.tape, a, b, c)?;
    lab.expect("qkv", c, expected, roundings(2 * width + 40));
    Ok(())
}

/// Turns q and k of (B L, 3, heads, d) by position * theta^(-2i/d).
fn rotate(qkv: &mut [f64], (length, width): (usize, usize), d: usize) {
    for (row, line) in qkv.chunks_exact_mut(3 * width).enumerate() {
        for head in line[..2 * width].chunks_exact_mut(d) {
            for i in 0..d / 2 {
                let angle = (row % length) as f64 * 100f64.powf(-2.0 * i as f64 / d as f64);
                let (u, v) = (head[i], head[i + d / 2]);
                head[i] = u * angle.cos() - v * angle.sin();
                head[i + d / 2] = v * angle.cos() + u * angle.sin();
            }
        }
    }
}
