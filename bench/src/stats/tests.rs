use super::*;

#[test]
fn percentiles_are_values_that_were_measured() {
    let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(percentile(&sorted, 0.5), Some(50.0));
    assert_eq!(percentile(&sorted, 0.99), Some(99.0));
    assert_eq!(percentile(&sorted, 1.0), Some(100.0));
    assert_eq!(percentile(&sorted, 0.0), Some(1.0));
    assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
    assert_eq!(percentile(&[], 0.5), None);
}

#[test]
fn a_median_lies_within_its_interval() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(Median { value: 3.0, low: 3.0, high: 3.0 }));
    assert_eq!(median(&[4.0, 1.0]).map(|m| m.value), Some(2.5));
    let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
    assert_eq!(median(&values), Some(Median { value: 50.0, low: 40.0, high: 61.0 }));
}
