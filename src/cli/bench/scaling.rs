//! `trm bench scaling`.

use clap::ValueEnum;

use crate::Result;
use crate::bench::scaling::{self, Quantity, Scaling};
use crate::report::{Lines, Table};

use super::super::common::ModelArgs;
use super::super::output::Output;
use super::Common;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    model: ModelArgs,

    /// What to vary [default: all of them]
    ///
    /// Names separated by commas.
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    over: Vec<Over>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Over {
    /// Samples
    #[value(name = "B")]
    Batch,
    /// Positions
    #[value(name = "L")]
    Length,
    /// Full recursions
    #[value(name = "T")]
    Cycles,
    /// Latent updates
    #[value(name = "n")]
    Updates,
}

impl Args {
    pub fn measure(&self, output: &Output) -> Result<()> {
        let mut subject = self.model.subject(None)?;
        let device = self.common.open_for(&mut subject)?;
        let over = |over: &Over| match over {
            Over::Batch => Quantity::B,
            Over::Length => Quantity::L,
            Over::Cycles => Quantity::T,
            Over::Updates => Quantity::N,
        };
        let chosen: Vec<Quantity> = self.over.iter().map(over).collect();
        let quantities = if chosen.is_empty() { &Quantity::ALL[..] } else { &chosen };
        let (mut scalings, mut all) = (Vec::new(), Vec::new());
        for &quantity in quantities {
            let (scaling, measured) =
                scaling::measure(&device, &subject, quantity, self.common.repetitions())?;
            scalings.push(scaling);
            all.extend(measured);
        }
        self.common.draw(|| {
            let mut lines =
                Lines::new(&format!("time of a step of {}", subject.name), "share of the largest", "ms");
            for scaling in &scalings {
                let most = scaling.points.last().map_or(1.0, |point| point.0);
                let points = scaling.points.iter().map(|(x, seconds)| (x / most, seconds * 1e3));
                lines.line(scaling.quantity.name(), points.collect());
            }
            lines.to_string()
        })?;
        output.lines(&all, |_| scaling_table(&scalings))
    }
}

fn scaling_table(scalings: &[Scaling]) -> String {
    let mut table = Table::new(["over", "value: ms", "slope ms", "intercept ms", "% of the largest"]);
    for scaling in scalings {
        let points = scaling.points.iter().map(|(value, seconds)| format!("{value}: {:.1}", seconds * 1e3));
        let largest = scaling.points.last().map_or(1.0, |point| point.1);
        table.row([
            scaling.quantity.name().to_owned(),
            points.collect::<Vec<_>>().join("  "),
            format!("{:.2}", scaling.slope * 1e3),
            format!("{:.2}", scaling.intercept * 1e3),
            format!("{:.1}", 100.0 * scaling.intercept / largest.max(1e-12)),
        ]);
    }
    table.to_string()
}
