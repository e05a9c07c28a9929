//! What is measured: a small plan whose variants can be exchanged, its inputs, and the results that must agree.

use std::collections::BTreeSet;

use crate::Result;
use crate::bench::{Mode, Subject};
use crate::engine::{Device, Run};
use crate::model::{ModelConfig, Params};
use crate::ops::product::Core;
use crate::ops::store_weight::Weight;
use crate::plan::{Axis, Element, LinearForm, Purpose, Role, Shape, Tape, Target, Tensor};
use crate::rng::Rng;

/// Something that a device can do in several ways.
pub struct Trial<'a> {
    /// What people call it: `products, forward`.
    pub name: &'static str,
    subject: &'a Subject,
    work: Work,
}

/// What is done in a trial.
enum Work {
    /// Products, whose results are compared.
    Products(Purpose),
    /// A training step, which is only timed.
    Step,
}

/// A trial on a device, ready to run.
pub struct Loaded {
    /// The plan.
    pub run: Run,
    found: Vec<(String, Element)>,
}

impl Loaded {
    /// What came out, in the same order for every variant.
    ///
    /// # Errors
    /// Device failures.
    pub fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        let read = |(name, element): &(String, Element)| Ok(element.widened(&self.run.read_floats(name)?));
        self.found.iter().map(read).collect()
    }
}

impl<'a> Trial<'a> {
    /// All products of one layer for `purpose`, at the subject's shapes.
    pub fn products(subject: &'a Subject, purpose: Purpose) -> Trial<'a> {
        let name = match purpose {
            Purpose::Forward => "products, forward",
            Purpose::Reverse => "products, reverse",
            Purpose::WeightGradient => "products, weight gradients",
        };
        Trial { name, subject, work: Work::Products(purpose) }
    }

    /// A whole training step.
    pub fn step(subject: &'a Subject) -> Trial<'a> {
        Trial { name: "training step", subject, work: Work::Step }
    }

    /// What multiplies these products on `target`: not only what it names, where that is for large ones.
    ///
    /// # Errors
    /// As plans of the model.
    pub fn kernels_of_products(subject: &Subject, purpose: Purpose, target: Target) -> Result<Vec<String>> {
        let mut bench = Workbench::new(target);
        bench.lay_products(subject, purpose)?;
        let plan = bench.tape.finish()?;
        let named = plan.dispatches.iter().filter_map(Core::name_of);
        Ok(named.collect::<BTreeSet<String>>().into_iter().collect())
    }

    /// Lays it down for `target` and gives it inputs that are the same for every target.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] where it does not fit the device, device failures.
    pub fn load(&self, device: &Device, target: Target) -> Result<Loaded> {
        match self.work {
            Work::Products(purpose) => {
                let mut bench = Workbench::new(target);
                bench.lay_products(self.subject, purpose)?;
                bench.load(device)
            }
            Work::Step => {
                Ok(Loaded { run: self.subject.prepare(Mode::Train, device, target)?, found: Vec::new() })
            }
        }
    }
}

/// The linear layers of one layer of the model, over the activations of `batch` samples.
fn forms(config: &ModelConfig, batch: usize) -> Vec<LinearForm> {
    let (length, width) = (config.length(), config.arch.hidden_size);
    let mut forms = Vec::new();
    for param in Params::of(config).table.iter().filter(|param| param.name.contains(".layers.0.")) {
        let [out, inputs] = param.shape[..] else { continue };
        let form = match param.name.contains(".mlp_t.") {
            true => LinearForm { axis: Axis::Length, input: Shape { batch, length: inputs, width }, out },
            false => LinearForm { axis: Axis::Width, input: Shape { batch, length, width: inputs }, out },
        };
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// A plan under construction.
struct Workbench {
    tape: Tape,
    given: Vec<Given>,
    found: Vec<(String, Element)>,
}

/// A tensor of random numbers: lines with zeros behind each.
struct Given {
    name: String,
    lines: usize,
    line: usize,
    padding: usize,
    element: Element,
}

impl Given {
    fn elements(&self) -> usize {
        self.lines * (self.line + self.padding)
    }

    /// The same numbers however many zeros there are.
    fn words(&self, rng: &mut Rng) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.elements());
        for _ in 0..self.lines {
            values.extend((0..self.line).map(|_| rng.normal() as f32));
            values.resize(values.len() + self.padding, 0.0);
        }
        let mut words = vec![0.0; self.element.words(values.len())];
        self.element.narrow(&values, &mut words);
        words
    }
}

impl Workbench {
    fn new(target: Target) -> Workbench {
        Workbench { tape: Tape::new(target), given: Vec::new(), found: Vec::new() }
    }

    fn given(&mut self, name: String, line: usize, element: Element) -> Tensor {
        self.give(Given { name, lines: 1, line, padding: 0, element })
    }

    /// W as a step stores it, once for all its products: its copy is no part of their time.
    fn given_weight(&mut self, name: String, form: &LinearForm) -> Tensor {
        let (target, line) = (self.tape.target(), form.inputs());
        let padding = Weight::padding(&target, line);
        self.give(Given { name, lines: form.out, line, padding, element: target.precision })
    }

    fn give(&mut self, given: Given) -> Tensor {
        let tensor = self.tape.buffer_of(&given.name, Role::Activation, given.elements(), given.element);
        self.given.push(given);
        tensor
    }

    /// A tensor that must agree.
    fn found(&mut self, name: String, elements: usize, element: Element) -> Tensor {
        let tensor = self.tape.buffer_of(&name, Role::Activation, elements, element);
        self.found.push((name, element));
        tensor
    }

    fn lay_products(&mut self, subject: &Subject, purpose: Purpose) -> Result<()> {
        let (stored, gradient) = (self.tape.target().precision, self.tape.target().gradient());
        for (index, form) in forms(&subject.config, subject.batch).iter().enumerate() {
            let (x, y, weight) = (form.input.elements(), form.output().elements(), form.out * form.inputs());
            let name = |what: &str| format!("{index}: {what}");
            let (operands, out) = match purpose {
                Purpose::Forward => (
                    [self.given(name("x"), x, stored), self.given_weight(name("weight"), form)],
                    self.found(name("y"), y, stored),
                ),
                Purpose::Reverse => (
                    [self.given(name("dy"), y, gradient), self.given_weight(name("weight"), form)],
                    self.found(name("dx"), x, gradient),
                ),
                Purpose::WeightGradient => (
                    [self.given(name("x"), x, stored), self.given(name("dy"), y, gradient)],
                    self.found(name("dW"), weight, Element::F32),
                ),
            };
            form.product_for(&mut self.tape, purpose, operands, out)?;
        }
        Ok(())
    }

    fn load(self, device: &Device) -> Result<Loaded> {
        let mut run = Run::new(device, self.tape.finish()?)?;
        let mut rng = Rng::new(1, 0);
        for given in &self.given {
            run.write_floats(&given.name, &given.words(&mut rng))?;
        }
        Ok(Loaded { run, found: self.found })
    }
}
