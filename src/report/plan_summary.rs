//! A plan in numbers: what it launches, by kernel and by block, and what it holds, by role.

use std::collections::BTreeMap;
use std::fmt;

use indicatif::HumanCount;
use serde::Serialize;

use super::Table;
use crate::plan::{Cost, Pass, Plan, Role};
use crate::text::BinaryBytes;

/// What `trm plan` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanSummary {
    /// Launches of one supervision step.
    pub dispatches: usize,
    /// Floating-point operations of one supervision step, a multiply-add as two.
    pub flops: u64,
    /// Bytes that the dispatches read and write.
    pub bytes: u64,
    /// Bytes of all buffers together.
    pub peak_memory_bytes: u64,
    /// The least that any placement of the same tensors takes: see `Plan::least_bytes`.
    pub least_memory_bytes: u64,
    /// `peak_memory_bytes / least_memory_bytes`.
    pub peak_to_least: f64,
    /// Bytes of the largest range that one dispatch binds; adapters limit it.
    pub largest_binding_bytes: u64,
    /// The buffer that range lies in.
    pub largest_binding_buffer: String,
    /// By kernel and entry point, the most work first.
    pub kernels: Vec<KernelRow>,
    /// By block and pass.
    pub blocks: Vec<BlockRow>,
    /// By role.
    pub buffers: Vec<RoleRow>,
}

/// The launches of one entry point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelRow {
    /// `kernel.entry`.
    pub kernel: String,
    /// How many.
    pub dispatches: usize,
    /// Their floating-point operations.
    pub flops: u64,
    /// Bytes that they read and write.
    pub bytes: u64,
}

/// The launches of one block in one kind of pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockRow {
    /// The prefix of its tensors' names, `L_level.layers.0`.
    pub block: String,
    /// Without gradients, recorded, or in reverse.
    pub pass: Pass,
    /// How often the recursion runs it in one supervision step.
    pub evaluations: usize,
    /// Launches of each.
    pub dispatches_per_evaluation: usize,
}

/// The buffers of one role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoleRow {
    /// What they are for.
    pub role: Role,
    /// How many.
    pub buffers: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl PlanSummary {
    /// Counts `plan`.
    pub fn of(plan: &Plan) -> PlanSummary {
        let (cost, (largest_binding_bytes, buffer)) = (plan.cost(), plan.largest_binding());
        PlanSummary {
            dispatches: plan.sequence().count(),
            flops: cost.flops,
            bytes: cost.bytes,
            peak_memory_bytes: plan.bytes(),
            least_memory_bytes: plan.least_bytes,
            peak_to_least: plan.bytes() as f64 / plan.least_bytes.max(1) as f64,
            largest_binding_bytes,
            largest_binding_buffer: buffer.to_owned(),
            kernels: kernels(plan),
            blocks: blocks(plan),
            buffers: roles(plan),
        }
    }
}

fn kernels(plan: &Plan) -> Vec<KernelRow> {
    let mut totals = BTreeMap::<String, (usize, Cost)>::new();
    for dispatch in plan.sequence().map(|(index, _)| &plan.dispatches[index]) {
        let (count, cost) = totals.entry(dispatch.name()).or_default();
        (*count, *cost) = (*count + 1, *cost + dispatch.cost);
    }
    let row = |(kernel, (dispatches, cost)): (String, (usize, Cost))| KernelRow {
        kernel,
        dispatches,
        flops: cost.flops,
        bytes: cost.bytes,
    };
    let mut rows: Vec<KernelRow> = totals.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.flops, row.bytes)));
    rows
}

/// The block that a label belongs to; weight gradients carry the names of weights.
fn block_of(label: &str) -> Option<&str> {
    let (net, rest) = label.split_once(".layers.")?;
    let (layer, part) = rest.split_once('.').unwrap_or((rest, ""));
    (!part.ends_with(".weight")).then(|| &label[..net.len() + ".layers.".len() + layer.len()])
}

fn blocks(plan: &Plan) -> Vec<BlockRow> {
    let mut totals = BTreeMap::<(&str, Pass), (usize, usize)>::new();
    for dispatch in plan.sequence().map(|(index, _)| &plan.dispatches[index]) {
        let Some(block) = block_of(&dispatch.label) else { continue };
        let (evaluations, dispatches) = totals.entry((block, dispatch.pass)).or_default();
        *dispatches += 1;
        // Each evaluation of a block has one product of this name.
        let product = dispatch.kernel.name.starts_with("product");
        let last = product && dispatch.label.ends_with(".mlp.down_proj");
        *evaluations += usize::from(last);
    }
    let row = |((block, pass), (evaluations, dispatches)): ((&str, Pass), (usize, usize))| BlockRow {
        block: block.to_owned(),
        pass,
        evaluations,
        dispatches_per_evaluation: dispatches / evaluations.max(1),
    };
    totals.into_iter().map(row).collect()
}

fn roles(plan: &Plan) -> Vec<RoleRow> {
    let mut totals = BTreeMap::<Role, (usize, u64)>::new();
    for buffer in &plan.buffers {
        let (count, bytes) = totals.entry(buffer.role).or_default();
        (*count, *bytes) = (*count + 1, *bytes + buffer.words as u64 * 4);
    }
    let row = |(role, (buffers, bytes))| RoleRow { role, buffers, bytes };
    totals.into_iter().map(row).collect()
}

/// 12.3 G for 12.3e9.
fn scaled(count: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match units.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.2} {name}", count as f64 / *unit as f64),
        None => count.to_string(),
    }
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |count: u64| BinaryBytes(count).to_string();
        let mut kernels = Table::new(["kernel", "dispatches", "FLOP", "bytes"]);
        for row in &self.kernels {
            kernels.row([
                row.kernel.clone(),
                row.dispatches.to_string(),
                scaled(row.flops),
                bytes(row.bytes),
            ]);
        }
        let total = HumanCount(self.dispatches as u64).to_string();
        kernels.row(["total".to_owned(), total, scaled(self.flops), bytes(self.bytes)]);
        let mut blocks = Table::new(["block", "pass", "evaluations", "dispatches each"]);
        for row in &self.blocks {
            let (evaluations, each) = (row.evaluations, row.dispatches_per_evaluation);
            blocks.row([row.block.clone(), row.pass.to_string(), evaluations.to_string(), each.to_string()]);
        }
        let mut buffers = Table::new(["buffers", "count", "bytes"]);
        for row in &self.buffers {
            buffers.row([row.role.to_string(), row.buffers.to_string(), bytes(row.bytes)]);
        }
        let count: usize = self.buffers.iter().map(|row| row.buffers).sum();
        buffers.row(["peak memory".to_owned(), count.to_string(), bytes(self.peak_memory_bytes)]);
        let (least, ratio) = (bytes(self.least_memory_bytes), self.peak_to_least);
        let least_row =
            ["least possible".to_owned(), String::new(), format!("{least} (peak is {ratio:.3} of it)")];
        buffers.row(least_row);
        let (largest, buffer) = (bytes(self.largest_binding_bytes), &self.largest_binding_buffer);
        write!(f, "{kernels}\n{blocks}\n{buffers}\nlargest binding: {largest} of {buffer}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use crate::model::step::{eval_plan, train_plan};
    use crate::plan::Target;
    use crate::recipe::Recipe;

    fn summary(recipe: &str, train: bool) -> PlanSummary {
        planned(recipe, train, Target::default())
    }

    fn planned(recipe: &str, train: bool, target: Target) -> PlanSummary {
        let recipe = Recipe::load(recipe, &[]).unwrap();
        let config = ModelConfig {
            arch: recipe.arch,
            vocab_size: 11,
            seq_len: 81,
            num_puzzle_identifiers: 1,
            identifiers: None,
        };
        let plan = match train {
            true => train_plan(&config, &recipe.train.optimiser(), 2, target),
            false => eval_plan(&config, 2, target),
        };
        PlanSummary::of(&plan.unwrap())
    }

    #[test]
    fn rows_add_up_to_the_totals() {
        for summary in [summary("sudoku-mlp", true), summary("sudoku-att", false)] {
            assert_eq!(summary.kernels.iter().map(|row| row.dispatches).sum::<usize>(), summary.dispatches);
            assert_eq!(summary.kernels.iter().map(|row| row.flops).sum::<u64>(), summary.flops);
            assert_eq!(summary.kernels.iter().map(|row| row.bytes).sum::<u64>(), summary.bytes);
            assert_eq!(summary.buffers.iter().map(|row| row.bytes).sum::<u64>(), summary.peak_memory_bytes);
            assert!(summary.largest_binding_bytes <= summary.peak_memory_bytes);
        }
    }

    #[test]
    fn blocks_are_counted_by_evaluation() {
        let of = |train| -> Vec<(Pass, usize, usize)> {
            let blocks = summary("sudoku-mlp", train).blocks;
            blocks.iter().map(|row| (row.pass, row.evaluations, row.dispatches_per_evaluation)).collect()
        };
        // T (n + 1) updates of two SwiGLUs; those with gradients in n + 1.
        assert_eq!(of(false), [(Pass::Plain, 21, 6); 2]);
        // Two products and a norm; in reverse the same, gradients of weights apart.
        let recorded = [(Pass::Plain, 14, 6), (Pass::Recorded, 7, 6), (Pass::Reverse, 7, 6)];
        assert_eq!(of(true), [recorded, recorded].concat());
        // Computing again: a product more for each SwiGLU.
        let again = planned("sudoku-mlp", true, Target { recompute: true, ..Target::default() }).blocks;
        let reverse = again.iter().filter(|row| row.pass == Pass::Reverse);
        let reverse: Vec<_> = reverse.map(|row| (row.evaluations, row.dispatches_per_evaluation)).collect();
        assert_eq!(reverse, [(7, 8); 2]);
    }

    #[test]
    fn scales_counts() {
        assert_eq!([scaled(999), scaled(1_500), scaled(2_000_000_000)], ["999", "1.50 k", "2.00 G"]);
    }
}
