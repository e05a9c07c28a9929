//! The one comparator: what a kernel found against what an f64 reference expects.
//!
//! The measure is the normalised mean square error (NMSE), the sum of squared errors over the sum of squares of
//! the expected values. Everything is asked as `!(error <= bound)`, so that a NaN fails, also one that both
//! sides have. A failure says where it is worst, with both values, and how the errors are distributed.

use libtest_mimic::Trial;

use crate::data::trials;

/// The NMSE of a result whose values went through `count` roundings to f32, each of half an ulp and all in the
/// same direction. Roundings mostly cancel, so this holds with room to spare where `count` is honest.
pub fn roundings(count: usize) -> f64 {
    (count as f64 * 2f64.powi(-24)).powi(2)
}

/// Fails with a report unless the NMSE is within `bound`. Expected zeros alone must be met exactly.
pub fn close(found: &[f32], expected: &[f64], bound: f64) -> Result<(), String> {
    close_rows(found, expected, expected.len(), bound)
}

/// [`close`] for every `row` values by themselves, so that large rows cannot hide small ones.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN is not within any bound")]
pub fn close_rows(found: &[f32], expected: &[f64], row: usize, bound: f64) -> Result<(), String> {
    if found.len() != expected.len() || expected.is_empty() {
        return Err(format!("{} values found, {} expected", found.len(), expected.len()));
    }
    let (many, rows) = (row < expected.len(), found.chunks(row).zip(expected.chunks(row)).enumerate());
    for (index, (found, expected)) in rows {
        let error = nmse(found, expected);
        if !(error <= bound) {
            let place = if many { format!("row {index}: ") } else { String::new() };
            return Err(format!("{place}NMSE {error:.2e} > {bound:.2e}; {}", report(found, expected)));
        }
    }
    Ok(())
}

/// The largest number that an f16 holds.
pub const LARGEST_HALF: f64 = 65_504.0;

/// Fails unless each value is what conversion to f16 may leave: the expected one within a hundredth of the largest half,
/// and for those past that it or infinity, of the same sign.
pub fn halves(found: &[f32], expected: &[f64]) -> Result<(), String> {
    if found.len() != expected.len() || expected.is_empty() {
        return Err(format!("{} values found, {} expected", found.len(), expected.len()));
    }
    let kept = |(&found, &expected): (&f32, &f64)| {
        let room = LARGEST_HALF / 100.0;
        let past =
            expected.abs() > LARGEST_HALF - room && f64::from(found) == f64::INFINITY * expected.signum();
        past || (f64::from(found) - expected.clamp(-LARGEST_HALF, LARGEST_HALF)).abs() <= room
    };
    match found.iter().zip(expected).position(|pair| !kept(pair)) {
        None => Ok(()),
        Some(at) => Err(format!("{:e} against {:e} at {at} of {}", found[at], expected[at], found.len())),
    }
}

/// Fails with a report unless all integers are equal.
pub fn equal(found: &[i32], expected: &[i32]) -> Result<(), String> {
    if found.len() != expected.len() || expected.is_empty() {
        return Err(format!("{} values found, {} expected", found.len(), expected.len()));
    }
    let differing: Vec<usize> = (0..found.len()).filter(|&index| found[index] != expected[index]).collect();
    match differing.first() {
        None => Ok(()),
        Some(&first) => Err(format!(
            "{} of {} differ, first at {first}: {} against {}",
            differing.len(),
            found.len(),
            found[first],
            expected[first]
        )),
    }
}

pub fn nmse(found: &[f32], expected: &[f64]) -> f64 {
    let errors = found.iter().zip(expected).map(|(&found, &expected)| f64::from(found) - expected);
    let error: f64 = errors.map(|error| error * error).sum();
    let size: f64 = expected.iter().map(|value| value * value).sum();
    if error == 0.0 { 0.0 } else { error / size }
}

/// The worst value and how many errors lie in each decade of the expected root mean square.
fn report(found: &[f32], expected: &[f64]) -> String {
    let error = |index: usize| (f64::from(found[index]) - expected[index]).abs();
    // NaN counts as the largest error of all.
    let rank = |index: usize| if error(index).is_nan() { f64::INFINITY } else { error(index) };
    let worst = (0..found.len()).max_by(|&a, &b| rank(a).total_cmp(&rank(b))).unwrap_or(0);
    let scale = (expected.iter().map(|value| value * value).sum::<f64>() / expected.len() as f64).sqrt();
    let mut decades = std::collections::BTreeMap::<i32, usize>::new();
    let mut exact = 0;
    for index in 0..found.len() {
        match rank(index) {
            0.0 => exact += 1,
            rank => *decades.entry((rank / scale).log10().floor().clamp(-9.0, 9.0) as i32).or_default() += 1,
        }
    }
    let decades: Vec<String> =
        decades.iter().map(|(decade, count)| format!("{count} from 1e{decade}")).collect();
    format!(
        "worst at {worst} of {}: {:e} against {:e}; errors over rms: {exact} exact, {}",
        found.len(),
        found[worst],
        expected[worst],
        decades.join(", ")
    )
}

/// The comparator's own tests.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 6] = [
        ("equal_values_pass", equal_values_pass),
        ("bounds_are_kept", bounds_are_kept),
        ("what_is_no_number_fails", what_is_no_number_fails),
        ("swapped_scaled_and_missing_values_fail", swapped_scaled_and_missing_values_fail),
        ("halves_end_in_infinity_or_the_largest", halves_end_in_infinity_or_the_largest),
        ("reports_say_where", reports_say_where),
    ];
    trials("check", &tests)
}

fn equal_values_pass() {
    assert_eq!(close(&[1.0, -2.0], &[1.0, -2.0], 0.0), Ok(()));
    assert_eq!(close(&[0.0, 0.0], &[0.0, 0.0], 0.0), Ok(()));
    assert_eq!(close(&[-0.0], &[0.0], 0.0), Ok(()));
    assert_eq!(equal(&[3, -100], &[3, -100]), Ok(()));
}

fn bounds_are_kept() {
    // One value off by 1 in a total of squares of 4: NMSE 1/4.
    let (found, expected) = ([1.0, 1.0, 1.0, 2.0], [1.0; 4]);
    assert_eq!(close(&found, &expected, 0.25), Ok(()));
    assert!(close(&found, &expected, 0.249).is_err());
    assert_eq!(close(&[1.0 + f32::EPSILON], &[1.0], roundings(2)), Ok(()));
    assert!(close(&[1.0 + f32::EPSILON], &[1.0], roundings(1)).is_err());
    // A large row does not hide a small one that is wrong.
    assert_eq!(close(&[1e4, 2.0], &[1e4, 1.0], 1e-7), Ok(()));
    assert!(close_rows(&[1e4, 2.0], &[1e4, 1.0], 1, 1e-7).is_err());
}

fn what_is_no_number_fails() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let anything = f64::MAX;
    for (found, expected) in [
        ([nan, 1.0], [1.0, 1.0]),
        ([1.0, 1.0], [f64::NAN, 1.0]),
        ([nan, 1.0], [f64::NAN, 1.0]),
        ([inf, 1.0], [1.0, 1.0]),
        ([1.0, 1.0], [f64::INFINITY, 1.0]),
        ([inf, 1.0], [f64::INFINITY, 1.0]),
        ([-inf, 1.0], [f64::INFINITY, 1.0]),
    ] {
        assert!(close(&found, &expected, anything).is_err(), "{found:?} against {expected:?}");
        assert!(close_rows(&found, &expected, 1, anything).is_err(), "{found:?} against {expected:?}");
    }
}

fn swapped_scaled_and_missing_values_fail() {
    let bound = roundings(1000);
    let expected = [0.5, -1.5, 2.5];
    assert!(close(&[-1.5, 0.5, 2.5], &expected, bound).is_err());
    assert!(close(&[0.501, -1.503, 2.505], &expected, bound).is_err());
    assert!(close(&[0.0; 3], &expected, bound).is_err());
    assert!(close(&[1e-20], &[0.0], bound).is_err(), "an expected zero is met exactly");
    assert!(close(&[0.5, -1.5], &expected, bound).is_err());
    assert!(close(&[], &[], bound).is_err(), "nothing was compared");
    assert!(equal(&[1, 2], &[1, 3]).is_err());
    assert!(equal(&[1], &[1, 2]).is_err());
    assert!(equal(&[], &[]).is_err());
}

fn halves_end_in_infinity_or_the_largest() {
    let (inf, most) = (f32::INFINITY, LARGEST_HALF as f32);
    for found in [[inf, -inf, 100.0], [most, -most, 101.0], [inf, -most, 99.0]] {
        assert_eq!(halves(&found, &[1e5, -1e9, 100.0]), Ok(()));
    }
    for found in [[-inf, -inf, 100.0], [inf, most, 100.0], [f32::NAN, -inf, 100.0], [0.0, -inf, 100.0]] {
        assert!(halves(&found, &[1e5, -1e9, 100.0]).is_err(), "{found:?}");
    }
    for wrong in [inf, f32::NAN, -100_000.0, most] {
        assert!(halves(&[wrong], &[100.0]).is_err(), "{wrong}");
    }
    assert!(halves(&[1.0], &[1.0, 1.0]).is_err() && halves(&[], &[]).is_err());
}

fn reports_say_where() {
    let message = close(&[1.0, f32::NAN, 9.0, 1.0], &[1.0; 4], 0.5).unwrap_err();
    assert!(message.contains("worst at 1 of 4: NaN against 1e0"), "{message}");
    let message = close_rows(&[1.0, 1.0, 1.25, 1.0], &[1.0; 4], 2, 1e-9).unwrap_err();
    let parts = ["row 1", "worst at 0 of 2: 1.25e0 against 1e0", "1 exact, 1 from 1e-1"];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}
