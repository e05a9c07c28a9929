//! Samples in their variants: exactly those that the random numbers of each say, where a slot has halted.

use trm::Result;
use trm::data::dihedral::Dihedral;
use trm::data::sudoku::Shape;
use trm::data::symmetry::{Symmetries, VariantDraw};
use trm::ops::carry::Samples;
use trm::ops::symmetry::{KERNEL, Variants, take_variants_where};
use trm::rng::philox;

use crate::harness::{KernelTests, Lab, Mutant, Needs};

/// Tests and mutants of `symmetry`.
pub const TESTS: KernelTests = KernelTests {
    kernel: &KERNEL,
    needs: Needs::Adapter,
    tests: &[
        ("sudokus", sudokus),
        ("mazes", mazes),
        ("far_counters", far_counters),
        ("numbers_drawn_again", numbers_drawn_again),
    ],
    mutants: &[
        Mutant {
            name: "takes_for_the_running",
            from: "let taken = halted[sample] != 0u",
            to: "let taken = halted[sample] == 0u",
        },
        Mutant {
            name: "draws_all_samples_alike",
            from: "next = variants[sample]",
            to: "next = variants[0u * sample]",
        },
        Mutant {
            name: "forgets_the_carry",
            from: "select(0u, 1u, next.block.x",
            to: "select(0u, 0u, next.block.x",
        },
        Mutant {
            name: "keeps_biased_numbers",
            from: "while product.y < biased",
            to: "while product.y < 0u * biased",
        },
        Mutant { name: "keeps_the_last_in_place", from: "below(last + 1u)", to: "below(last)" },
        Mutant {
            name: "tears_blocks_apart",
            from: "shuffle(first + i * block, block)",
            to: "shuffle(first, block)",
        },
        Mutant {
            name: "draws_a_turn_of_oblong_boxes",
            from: "params.box_rows == params.box_columns",
            to: "params.box_rows <= params.box_columns",
        },
        Mutant { name: "never_transposes", from: "transposed == 1u", to: "transposed == 2u" },
        Mutant {
            name: "renames_what_is_no_digit",
            from: "if digit < params.columns",
            to: "if digit <= params.columns",
        },
        Mutant {
            name: "labels_with_inputs",
            from: "renamed(incoming_labels[sample * cells + source])",
            to: "renamed(incoming_inputs[sample * cells + source] + 0u * incoming_labels[0])",
        },
        Mutant {
            name: "keeps_identifiers",
            from: "if local == 0u {\n        identifiers",
            to: "if local == 64u {\n        identifiers",
        },
        Mutant {
            name: "turns_a_maze_for_the_running",
            from: "if halted[sample] == 0u",
            to: "if halted[sample] != 0u",
        },
        Mutant { name: "turns_oblong_mazes_on_their_side", from: "0u, 2u, 4u, 5u", to: "0u, 1u, 4u, 5u" },
        Mutant { name: "mirrors_where_it_rotates", from: "among(0xACu, turn)", to: "among(0xA8u, turn)" },
    ],
};

/// Blocks of seed 5, stream 0, in each of which one number of the order of nine digits is drawn again.
const AGAIN: [u64; 3] = [350_066_166, 563_095_775, 1_201_279_956];

/// What random numbers say, one after the other.
struct Numbers {
    draw: VariantDraw,
    used: u64,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        let block = self.draw.block + self.used / 4;
        let low_and_high = |number: u64| [number as u32, (number >> 32) as u32];
        let [[a, b], [c, d]] = [block, self.draw.stream].map(low_and_high);
        let word = philox(low_and_high(self.draw.seed), [a, b, c, d])[(self.used % 4) as usize];
        self.used += 1;
        word.into()
    }

    /// Of the 2^32 numbers the first `2^32 mod bound` that would fall short are those whose product has a small remainder.
    fn below(&mut self, bound: u64) -> usize {
        loop {
            let product = self.next() * bound;
            if product % (1 << 32) >= (1 << 32) % bound {
                return (product >> 32) as usize;
            }
        }
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last as u64 + 1));
        }
        order
    }

    fn lines(&mut self, size: usize, block: usize) -> Vec<usize> {
        let blocks = self.order(size / block);
        let inside = |first: &usize| self.order(block).into_iter().map(|line| first * block + line).collect();
        blocks.iter().map(inside).collect::<Vec<Vec<usize>>>().concat()
    }
}

/// The variant of `tokens` that `draw` says.
fn varied(symmetries: Symmetries, draw: VariantDraw, tokens: &[i32]) -> Vec<i32> {
    let mut numbers = Numbers { draw, used: 0 };
    match symmetries {
        Symmetries::Sudoku(shape) => {
            let size = shape.size();
            let digits = numbers.order(size);
            let transposed = shape.box_rows() == shape.box_columns() && numbers.below(2) == 1;
            let rows = numbers.lines(size, shape.box_rows());
            let columns = numbers.lines(size, shape.box_columns());
            let renamed = |token: i32| match usize::try_from(token - 2) {
                Ok(digit) if digit < size => digits[digit] as i32 + 2,
                _ => token,
            };
            let cells = rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column)));
            let moved = cells.map(|(row, column)| match transposed {
                true => tokens[column * size + row],
                false => tokens[row * size + column],
            });
            moved.map(renamed).collect()
        }
        Symmetries::Maze { rows, cols } => {
            let turns: &[usize] = if rows == cols { &[0, 1, 2, 3, 4, 5, 6, 7] } else { &[0, 2, 4, 5] };
            let turn = turns[numbers.below(turns.len() as u64)];
            Dihedral::new(turn).unwrap().apply(rows, cols, tokens)
        }
    }
}

/// Lays samples down that are drawn by `draws`, and what is to come of them.
fn lay(lab: &mut Lab, symmetries: Symmetries, draws: &[VariantDraw], halted: &[i32]) -> Result<()> {
    let (cells, tokens) = match symmetries {
        Symmetries::Sudoku(shape) => (shape.cells(), shape.vocab_size()),
        Symmetries::Maze { rows, cols } => (rows * cols, 6),
    };
    let batch = draws.len();
    let flags = lab.ints("halted", halted);
    let mut sample = |name: &str, each: usize, ignored: bool| {
        // Some are no token of the data, which is not for the kernel to say.
        let (mut from, to) = (lab.below(batch * each, tokens + 2), lab.below(batch * each, tokens));
        if ignored {
            from.iter_mut().step_by(3).for_each(|label| *label = -100);
        }
        let tensors = (lab.ints(&format!("incoming {name}"), &from), lab.ints(name, &to));
        let rows = from.chunks(each).zip(to.chunks(each)).enumerate();
        let taken = rows.flat_map(|(slot, (from, to))| match halted[slot] {
            0 => to.to_vec(),
            _ if each == 1 => from.to_vec(),
            _ => varied(symmetries, draws[slot], from),
        });
        (tensors, taken.collect::<Vec<i32>>())
    };
    let (inputs, expected_inputs) = sample("inputs", cells, false);
    let (labels, expected_labels) = sample("labels", cells, true);
    let (identifiers, expected_identifiers) = sample("identifiers", 1, false);
    let incoming = Samples { inputs: inputs.0, labels: labels.0, identifiers: identifiers.0 };
    let running = Samples { inputs: inputs.1, labels: labels.1, identifiers: identifiers.1 };
    let words: Vec<i32> = draws.iter().flat_map(VariantDraw::words).map(|word| word as i32).collect();
    let variants = Variants { symmetries, draws: lab.ints("variants", &words) };
    take_variants_where(&mut lab.tape, (batch, cells), flags, variants, incoming, running)?;
    lab.expect_ints("inputs", running.inputs, expected_inputs);
    lab.expect_ints("labels", running.labels, expected_labels);
    lab.expect_ints("identifiers", running.identifiers, expected_identifiers);
    Ok(())
}

/// Any draws, those of a sampler's size.
fn some_draws(lab: &mut Lab, count: usize) -> Vec<VariantDraw> {
    let mut word = || u64::from(lab.rng.next_u32());
    (0..count).map(|_| VariantDraw { seed: word(), stream: word() << 16, block: 16 * word() }).collect()
}

fn sudokus(lab: &mut Lab) -> Result<()> {
    for shape in Shape::ALL {
        for batch in [1, 3, 67] {
            lab.case(format!("{shape} B {batch}"));
            let (draws, mut halted) = (some_draws(lab, batch), lab.below(batch, 2));
            halted[0] = 1;
            lay(lab, Symmetries::Sudoku(shape), &draws, &halted)?;
        }
    }
    Ok(())
}

fn mazes(lab: &mut Lab) -> Result<()> {
    for (rows, cols) in [(1, 1), (5, 5), (5, 7), (7, 5), (1, 6), (9, 9), (30, 30)] {
        for batch in [1, 31] {
            lab.case(format!("{rows} x {cols} B {batch}"));
            let (draws, mut halted) = (some_draws(lab, batch), lab.below(batch, 2));
            halted[0] = 1;
            lay(lab, Symmetries::Maze { rows, cols }, &draws, &halted)?;
        }
    }
    Ok(())
}

/// Words at their ends, and blocks whose next one carries into the high word.
fn far_counters(lab: &mut Lab) -> Result<()> {
    let last = u64::from(u32::MAX);
    let blocks = [0, last, last - 1, last - 5, last + 1, (5 << 32) + last - 2, (1 << 62) - 32];
    let numbers = [0, 1, last, last + 1, u64::MAX];
    let draws: Vec<VariantDraw> = blocks
        .into_iter()
        .flat_map(|block| numbers.map(|number| VariantDraw { seed: number, stream: !number ^ block, block }))
        .collect();
    for shape in Shape::ALL {
        lab.case(format!("{shape}"));
        lay(lab, Symmetries::Sudoku(shape), &draws, &vec![1; draws.len()])?;
    }
    lab.case("mazes");
    lay(lab, Symmetries::Maze { rows: 3, cols: 3 }, &draws, &vec![1; draws.len()])
}

/// Draws among whose numbers is one that would make some orders likelier than others: found by trying.
fn numbers_drawn_again(lab: &mut Lab) -> Result<()> {
    let draws = AGAIN.map(|block| VariantDraw { seed: 5, stream: 0, block });
    for draw in draws {
        let mut numbers = Numbers { draw, used: 0 };
        numbers.order(9);
        assert_eq!(numbers.used, 9, "8 numbers and one more");
    }
    lab.case("9x9");
    lay(lab, Symmetries::Sudoku(Shape::ALL[2]), &draws, &[1; AGAIN.len()])
}
