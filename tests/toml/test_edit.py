"""A value changed in the text of a file, which else stays as it is."""

import tomllib

from oomkit.toml.load import with_value

TEXT = """\
# What it is for.
name = "a"

[machine]
ram = "4G"  # of the laptop
kernel = "6.12"

[[task]]
name = "web"
oom_score_adj = 0 # usual
steps = [ { touch = "1G" } ]

[[task]]
name = "job"
steps = [ { touch = "2G" } ]

# The end.
"""


def test_a_value_is_changed_where_it_stands_and_its_comment_stays() -> None:
    assert with_value(TEXT, "machine.ram", "8G") == TEXT.replace(
        'ram = "4G"  # of', 'ram = "8G"  # of'
    )
    assert with_value(TEXT, "machine.kernel", "5.10") == TEXT.replace('"6.12"', '"5.10"')
    assert with_value(TEXT, "task.web.oom_score_adj", "-900") == TEXT.replace(
        "oom_score_adj = 0 #", "oom_score_adj = -900 #"
    )


def test_a_value_that_is_missing_is_added_to_its_table() -> None:
    found = with_value(TEXT, "task.job.oom_score_adj", "300")
    assert tomllib.loads(found)["task"][1] == {
        "name": "job", "steps": [{"touch": "2G"}], "oom_score_adj": 300,
    }  # fmt: skip
    assert found.endswith("oom_score_adj = 300\n\n# The end.\n")
    assert tomllib.loads(with_value(TEXT, "machine.swap", "1G"))["machine"]["swap"] == "1G"


def test_a_table_that_is_missing_is_added() -> None:
    found = with_value(TEXT, "vm.swappiness", "10")
    assert found == f"{TEXT}\n[vm]\nswappiness = 10\n"
    assert with_value("", "vm.swappiness", "10") == "[vm]\nswappiness = 10\n"


def test_what_is_not_there_is_left_alone() -> None:
    assert with_value(TEXT, "task.nobody.oom_score_adj", "1") == TEXT
