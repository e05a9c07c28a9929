//! Lays a small plan down, runs it on a device and compares what comes out with a reference.
//!
//! A [`Lab`] is one plan that holds all cases of a test, so that a kernel is compiled once for all its shapes.
//! Every test runs on the CPU engine and on the best adapter, software ones included. Where there is none, GPU
//! tests are reported as ignored, or fail if `TRM_REQUIRE_GPU=1`.

use std::sync::OnceLock;

use libtest_mimic::{Failed, Trial};
use trm::engine::{Device, Run, select};
use trm::ops::sum::gradient;
use trm::plan::{
    Buffer, Element, Kernel, Matrices, Plan, Role, SHARED_BYTES, Tape, Target, Tensor, Tile, Tiles,
};
use trm::rng::Rng;
use trm::{Error, Result};

use crate::check;

/// Lays the cases of a test down.
pub type Test = fn(&mut Lab) -> Result<()>;

/// The tests of one kernel and the mutants that they must catch.
pub struct KernelTests {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// What an adapter must have to run it.
    pub needs: Needs,
    /// By name.
    pub tests: &'static [(&'static str, Test)],
    /// Deliberate mistakes.
    pub mutants: &'static [Mutant],
}

/// One deliberate mistake: the first `from` in the shader's text, imports resolved, becomes `to`.
pub struct Mutant {
    /// What goes wrong.
    pub name: &'static str,
    /// Text of the shader.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

/// What a tensor must hold.
enum Expected {
    /// Each `row` values within an NMSE.
    Close { values: Vec<f64>, row: usize, bound: f64 },
    /// What halves hold of it: within a hundredth of the largest half, or past that the infinity of its sign.
    Halves(Vec<f64>),
    /// Integers.
    Equal(Vec<i32>),
}

/// A plan under construction, its inputs, and what must come out.
pub struct Lab {
    /// Where ops lay themselves down.
    pub tape: Tape,
    /// Fixed numbers for inputs.
    pub rng: Rng,
    /// The cooperative matrices of the device, or those of most devices.
    pub cooperative: Matrices,
    /// How large [`Lab::normal`] is. Where it is not 1, what is stored in f16 may be more than that holds.
    loudness: f32,
    prefix: String,
    case: String,
    inputs: Vec<(String, Vec<u32>)>,
    expected: Vec<(String, Expected)>,
}

impl Lab {
    fn new(target: Target) -> Lab {
        Lab {
            tape: Tape::new(target),
            rng: Rng::new(1, 0),
            cooperative: Matrices::default(),
            loudness: 1.0,
            prefix: String::new(),
            case: String::new(),
            inputs: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Lays down for other kernel variants than those of the device; before anything else.
    pub fn target(&mut self, target: Target) {
        self.tape = Tape::new(target);
    }

    /// Whether activations are stored in halves. Tests leave shapes out that halves do not have.
    pub fn halves(&self) -> bool {
        self.tape.target().precision != Element::F32
    }

    /// Largest NMSE that comes of storing as the target does.
    pub fn storing(&self) -> f64 {
        storing(self.tape.target().precision)
    }

    /// The numbers as the target stores them, the largest half for those past it.
    pub fn stored(&self, values: &[f32]) -> Vec<f32> {
        let precision = self.tape.target().precision;
        let mut words = vec![0.0; precision.words(values.len())];
        let most = if precision == Element::F16 { check::LARGEST_HALF as f32 } else { f32::MAX };
        let held: Vec<f32> = values.iter().map(|value| value.clamp(-most, most)).collect();
        precision.narrow(&held, &mut words);
        let mut stored = precision.widened(&words);
        stored.truncate(values.len());
        stored
    }

    /// A buffer that starts with these values, stored as activations are.
    pub fn activation(&mut self, name: &str, values: &[f32]) -> Tensor {
        let precision = self.tape.target().precision;
        let mut words = vec![0.0f32; precision.words(values.len())];
        precision.narrow(values, &mut words);
        let name = format!("{}: {name}", self.case);
        self.inputs.push((name.clone(), words.iter().map(|word| word.to_bits()).collect()));
        self.tape.buffer_of(&name, Role::Activation, values.len(), precision)
    }

    /// Names what follows: `B 2 L 3`.
    pub fn case(&mut self, case: impl Into<String>) {
        self.case = self.prefix.clone() + &case.into();
    }

    /// From now on, lays down for this variant, by whose name cases begin.
    pub fn variant(&mut self, name: &str, target: Target) {
        self.prefix = format!("{name}: ");
        self.tape.set_target(target);
    }

    /// From here on normal numbers are so many times as large: results are those that halves hold, or past them.
    pub fn loud(&mut self, loudness: f32) {
        self.loudness = loudness;
        self.prefix = format!("{}times {loudness}, ", self.prefix);
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.loudness * self.rng.normal() as f32).collect()
    }

    /// Integers in `0..bound`.
    pub fn below(&mut self, count: usize, bound: usize) -> Vec<i32> {
        (0..count).map(|_| self.rng.below(bound) as i32).collect()
    }

    /// A buffer that starts with these values.
    pub fn floats(&mut self, name: &str, values: &[f32]) -> Tensor {
        self.input(name, values.iter().map(|value| value.to_bits()).collect())
    }

    /// A buffer that starts with these values.
    pub fn ints(&mut self, name: &str, values: &[i32]) -> Tensor {
        self.input(name, values.iter().map(|&value| value as u32).collect())
    }

    fn input(&mut self, name: &str, words: Vec<u32>) -> Tensor {
        let tensor = self.output(name, words.len());
        self.inputs.push((format!("{}: {name}", self.case), words));
        tensor
    }

    /// A buffer to be written.
    pub fn output(&mut self, name: &str, words: usize) -> Tensor {
        self.tape.buffer(&format!("{}: {name}", self.case), Role::Activation, words)
    }

    /// At the end, `tensor` must hold these values within an NMSE.
    pub fn expect(&mut self, name: &str, tensor: Tensor, values: Vec<f64>, bound: f64) {
        let row = values.len();
        self.expect_rows(name, tensor, values, row, bound);
    }

    /// At the end, every `row` values of `tensor` must be these within an NMSE.
    pub fn expect_rows(&mut self, name: &str, tensor: Tensor, values: Vec<f64>, row: usize, bound: f64) {
        let element = self.tape.element(tensor);
        let bound = bound + storing(element);
        self.expected(
            name,
            tensor,
            match self.loudness != 1.0 && element == Element::F16 {
                true => Expected::Halves(values),
                false => Expected::Close { values, row, bound },
            },
        );
    }

    /// At the end, `tensor` must hold just these values.
    pub fn expect_exactly(&mut self, name: &str, tensor: Tensor, values: Vec<f64>) {
        let exactly = Expected::Close { row: values.len(), bound: 0.0, values: values.clone() };
        let loud = self.loudness != 1.0;
        self.expected(name, tensor, if loud { Expected::Halves(values) } else { exactly });
    }

    /// At the end, `tensor` must hold these integers.
    pub fn expect_ints(&mut self, name: &str, tensor: Tensor, values: Vec<i32>) {
        self.expected(name, tensor, Expected::Equal(values));
    }

    fn expected(&mut self, name: &str, tensor: Tensor, expected: Expected) {
        let name = format!("{}: {name}, at the end", self.case);
        self.tape.name(&name, tensor);
        self.expected.push((name, expected));
    }

    /// Lays an op of `x` down with its reverse pass under the upstream gradient `dy`; returns y and dx.
    pub fn with_reverse(
        &mut self,
        x: Tensor,
        dy: Tensor,
        op: impl FnOnce(&mut Tape) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        self.tape.require_grad(x);
        self.tape.record(true);
        let y = op(&mut self.tape)?;
        self.tape.contribute(y, dy);
        self.tape.reverse()?;
        let dx = gradient(&mut self.tape, x)?;
        Ok((y, dx.ok_or_else(|| Error::kernel("test", "no gradient reached x"))?))
    }

    /// Runs on a device; returns one line for each expectation that is not met.
    fn run(self, device: &Device, alter: impl FnOnce(&mut Plan) -> Result<()>) -> Result<Vec<String>> {
        let mut plan = self.tape.finish()?;
        alter(&mut plan)?;
        let mut run = Run::new(device, plan)?;
        poison(&mut run, |_| true)?;
        for (name, words) in &self.inputs {
            run.write(name, words)?;
        }
        run.submit()?;
        let mut failures = Vec::new();
        for (name, expected) in &self.expected {
            let outcome = match expected {
                Expected::Close { values, row, bound } => {
                    let element = run.plan.view(name)?.element;
                    let found = element.widened(&run.read_floats(name)?);
                    check::close_rows(&found, values, *row, *bound)
                }
                Expected::Halves(values) => {
                    let found = run.plan.view(name)?.element.widened(&run.read_floats(name)?);
                    check::halves(&found, values)
                }
                Expected::Equal(values) => check::equal(&run.read_ints(name)?, values),
            };
            failures.extend(outcome.err().map(|failure| format!("{name}: {failure}")));
        }
        Ok(failures)
    }
}

/// Half a unit in the last of 8 or 11 significant bits, squared.
fn storing(element: Element) -> f64 {
    match element {
        Element::F32 => 0.0,
        Element::Bf16 => 2f64.powi(-2 * 8),
        Element::F16 => 2f64.powi(-2 * 11),
    }
}

/// Lays a test down for one tile throughout, on a device with as much shared memory as GPUs have.
pub fn on_tile(lab: &mut Lab, tile: Tile, test: Test) -> Result<()> {
    in_tiles(lab, tile, Element::F32, test)
}

/// As [`on_tile`], for activations in `precision`.
pub fn in_tiles(lab: &mut Lab, tile: Tile, precision: Element, test: Test) -> Result<()> {
    let target = Target { precision, shared_bytes: 2 * SHARED_BYTES, ..Target::default() };
    lab.target(Target { tiles: Tiles::all(tile, 0), ..target });
    test(lab)
}

/// Lays a test down for activations in bf16.
pub fn in_bf16(lab: &mut Lab, test: Test) -> Result<()> {
    lab.target(Target { precision: Element::Bf16, ..Target::default() });
    test(lab)
}

/// Lays a test down for activations in f16.
pub fn in_f16(lab: &mut Lab, test: Test) -> Result<()> {
    lab.target(Target { precision: Element::F16, ..Target::default() });
    test(lab)
}

/// Lays a test down for activations in f16 that are so many times as large as others, and in part more than f16 holds.
pub fn loud_in_f16(lab: &mut Lab, loudness: f32, test: Test) -> Result<()> {
    lab.loud(loudness);
    in_f16(lab, test)
}

/// Fills buffers with NaN: what a plan reads before it writes it, or forgets to write, is seen.
pub fn poison(run: &mut Run, which: fn(&Buffer) -> bool) -> Result<()> {
    for buffer in run.plan.clone().buffers.iter().filter(|buffer| which(buffer)) {
        run.write(&buffer.name, &vec![f32::NAN.to_bits(); buffer.words])?;
    }
    Ok(())
}

/// The plan of a test, for any device.
pub fn plan(test: Test) -> Result<Plan> {
    let mut lab = Lab::new(Target::default());
    test(&mut lab)?;
    lab.tape.finish()
}

/// Runs a test, its plan changed by `alter`; returns one line for each expectation that is not met.
pub fn run(device: &Device, test: Test, alter: impl FnOnce(&mut Plan) -> Result<()>) -> Result<Vec<String>> {
    let mut lab = Lab::new(device.target());
    lab.cooperative = device.cooperative().unwrap_or_default();
    test(&mut lab)?;
    lab.run(device, alter)
}

/// The adapter that GPU tests run on, opened once.
fn open_gpu() -> std::result::Result<&'static Device, &'static Error> {
    static GPU: OnceLock<Result<Device>> = OnceLock::new();
    GPU.get_or_init(|| select("gpu").map(|(device, _)| device)).as_ref()
}

/// What an adapter must have for a test.
#[derive(Clone, Copy, PartialEq)]
pub enum Needs {
    /// To be there.
    Adapter,
    /// Cooperative matrices, which are too rare to be required.
    Cooperative,
}

impl Needs {
    /// Whether the adapter has it. One that is there and cannot be opened is for the test to complain about.
    fn met(self) -> bool {
        let has = |device: &Device, name: &str| device.info().features.iter().any(|feature| feature == name);
        match open_gpu() {
            Ok(device) => match self {
                Needs::Adapter => true,
                Needs::Cooperative => has(device, "cooperative"),
            },
            Err(Error::Usage { .. }) => false,
            Err(_) => true,
        }
    }
}

/// A test that needs an adapter.
pub fn on_gpu(
    name: String,
    needs: Needs,
    test: impl FnOnce(&Device) -> std::result::Result<(), Failed> + Send + 'static,
) -> Trial {
    let required = std::env::var("TRM_REQUIRE_GPU").is_ok_and(|value| value == "1");
    let required = required && needs != Needs::Cooperative;
    let run = move || {
        let missing = |error| format!("{error}; \"make test\" installs a Vulkan driver where there is none");
        test(open_gpu().map_err(missing)?)
    };
    Trial::test(name, run).with_ignored_flag(!required && !needs.met())
}

/// A test on the CPU engine, `<name>::cpu`, and the same on the adapter, `<name>::gpu`.
pub fn on_each(
    name: &str,
    needs: Needs,
    test: impl Fn(&Device) -> std::result::Result<(), Failed> + Clone + Send + 'static,
) -> [Trial; 2] {
    let again = test.clone();
    let cpu = Trial::test(format!("{name}::cpu"), move || test(&Device::cpu()));
    [cpu, on_gpu(format!("{name}::gpu"), needs, again)]
}

/// The tests of a room on each device.
pub fn lab_trials(room: &str, needs: Needs, tests: &'static [(&'static str, Test)]) -> Vec<Trial> {
    let verdict = |device: &Device, test: Test| -> std::result::Result<(), Failed> {
        let failures = run(device, test, |_| Ok(()))?;
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
    };
    let both = |&(name, test): &(&str, Test)| {
        on_each(&format!("{room}::{name}"), needs, move |device| verdict(device, test))
    };
    tests.iter().flat_map(both).collect()
}
