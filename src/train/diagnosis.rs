//! What can be read off a model that has diverged.

use crate::model::{Param, Params};

/// Which gradients are not finite and where the largest weight is; both are laid out as trained tensors are.
///
/// By the time a loss is not finite, most gradients are not either, so that the largest weight often says more.
pub(super) fn describe(params: &Params, weights: &[f32], gradients: Option<&[f32]>) -> String {
    let trained = || params.table.iter().filter_map(|param| Some((param, values(param, weights)?)));
    let largest = |values: &[f32]| values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    let count = trained().count();
    let bad = |param: &Param| {
        let values = gradients.and_then(|gradients| values(param, gradients)).unwrap_or_default();
        values.iter().any(|value| !value.is_finite())
    };
    let bad: Vec<&str> = trained().filter(|(param, _)| bad(param)).map(|(param, _)| &*param.name).collect();
    let bad = match bad.as_slice() {
        [] => String::new(),
        all if all.len() == count => format!("; the gradients of all {count} tensors are not finite"),
        [first, ..] => {
            format!("; gradients of {} of {count} tensors are not finite, as of {first}", bad.len())
        }
    };
    let by_size = trained().map(|(param, values)| (largest(values), param));
    match by_size.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((most, param)) => format!("{bad}; the largest weight is {most:.3e}, in {}", param.name),
        None => bad,
    }
}

fn values<'a>(param: &Param, buffer: &'a [f32]) -> Option<&'a [f32]> {
    let trained = param.home == crate::model::params::Home::Trained;
    buffer.get(param.offset..param.offset + param.elements()).filter(|_| trained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use crate::model::init::Weights;
    use crate::recipe::Recipe;

    #[test]
    fn what_is_largest_and_not_finite_is_named() {
        let arch = Recipe::load("tiny-sudoku4", &[]).unwrap().arch;
        let config =
            ModelConfig { arch, vocab_size: 6, seq_len: 16, num_puzzle_identifiers: 1, identifiers: None };
        let params = Params::of(&config);
        let (mut weights, mut gradients) = (Weights::zeros(&params), Weights::zeros(&params));
        weights.get_mut(params.get("q_head.bias").unwrap())[1] = -3e9;
        let seen = |gradients: &Weights| describe(&params, &weights.trained, Some(&gradients.trained));
        assert_eq!(seen(&gradients), "; the largest weight is 3.000e9, in q_head.bias");
        gradients.get_mut(params.get("lm_head.weight").unwrap())[7] = f32::NAN;
        let named = "; gradients of 1 of 12 tensors are not finite, as of lm_head.weight; the largest";
        assert!(seen(&gradients).starts_with(named), "{}", seen(&gradients));
        gradients.trained.fill(f32::INFINITY);
        assert!(
            seen(&gradients).starts_with("; the gradients of all 12 tensors are not finite; the largest")
        );
    }
}
