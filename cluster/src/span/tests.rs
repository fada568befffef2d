use super::*;

#[test]
fn spans_as_kubectl_writes_them() {
    // Of Kubernetes' own tests of duration.HumanDuration.
    for (seconds, text) in [
        (0, "0s"),
        (5, "5s"),
        (150, "2m30s"),
        (442_800, "5d3h"),
        (70, "70s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (25_201, "7h"),
        (27_000, "7h30m"),
        (28_800, "8h"),
        (169_200, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ] {
        assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
    }
}

#[test]
fn what_is_yet_to_come_is_invalid() {
    for (seconds, text) in [(5, "5s"), (0, "0s"), (-1, "0s"), (-2, "<invalid>"), (i64::MIN, "<invalid>")] {
        assert_eq!(ago(seconds), text);
    }
}

#[test]
fn exact_spans_lose_no_millisecond() {
    for (milliseconds, text) in [
        (0, "0s"),
        (1, "1ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (1005, "1.005s"),
        (59_999, "59.999s"),
        (60_000, "1m"),
        (60_001, "1m0.001s"),
        (90_000, "1m30s"),
        (3_600_000, "1h"),
        (3_601_000, "1h1s"),
        (5_400_000, "1h30m"),
        (90_061_250, "25h1m1.25s"),
    ] {
        assert_eq!(exact(Duration::from_millis(milliseconds)), text);
    }
    assert_eq!(exact(Duration::from_micros(1500)), "1ms");
}
