import math

import pytest

from experiments.report.metrics import NONE_CORRECTED, Summary
from experiments.report.numbers import format_number, format_printed, format_spread, format_summary, listing


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (100.0, "100"),
        (1.9e-05, "1.9e-05"),
        (0.0224, "0.022"),
        (99.8594, "99.86"),
        (3.516, "3.52"),
        (0.1, "0.10"),
        (0.0996, "0.10"),
        (0.999, "1.0"),
        (-0.0033, "-0.0033"),
        (0.001, "0.0010"),
        (0.00099, "9.9e-04"),
        (1234.5, "1234"),
        (123456.0, "1.2e+05"),
        (1e300, "1.0e+300"),
        (54000, "54000"),
    ],
)
def test_numbers_read_as_a_person_would_write_them(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        format_number(value)


def test_spread_stands_only_where_there_is_one():
    assert format_spread(99.8594, 0.0224) == "99.86 ± 0.022"
    assert format_spread(100.0, None) == "100"


def test_printed_values_keep_the_digits_of_the_thesis():
    assert format_printed(6.19e-05, 0.00014) == "6.19e-05 ± 0.00014"
    assert format_printed(0.09, 0.07) == "0.09 ± 0.07"
    assert format_printed(17.93, None) == "17.93"


def test_a_summary_without_a_mean_says_why():
    assert format_summary(Summary(None, None, 0, "samples", note=NONE_CORRECTED)) == "none corrected"


def test_listing():
    assert [listing(list(text)) for text in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
