"""What every file of `lse/datasets` that is a recipe promises, and what a user's own may hold."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from labelled_traces import PROJECT, reviews

from lse.datasets import Field, Rules
from lse.datasets._building import build
from lse.datasets._recipes import find_recipe, recipe_names, recipe_summary
from lse.errors import ConfigurationError, UsageError
from lse.models import ProjectDay

DAY = ProjectDay(PROJECT, date(2025, 9, 13))
NAMES = recipe_names()


def test_the_recipes_that_users_know_are_there() -> None:
    assert NAMES == ["availability", "availability-best-100", "token-name", "website"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_described_and_named_for_the_command_line(name: str) -> None:
    assert recipe_summary(name).endswith(".")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_makes_examples_of_one_shape_without_personal_data(name: str) -> None:
    recipe = find_recipe(name)
    with build(iter([(DAY, (row for review in reviews(60) for row in review.rows()))]), recipe, "w") as built:
        found = [json.loads(line) for line in built.lines()]
    assert {tuple(one["inputs"]) for one in found} == {tuple(sorted(recipe.rules.inputs))}
    assert {tuple(one["outputs"]) for one in found} == {tuple(sorted(recipe.rules.outputs))}
    assert "Ada" not in json.dumps(found)
    assert recipe.rules.redact


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_a_hash_of_its_own_that_stays(name: str) -> None:
    assert find_recipe(name).sha256 == find_recipe(name.replace("-", "_")).sha256
    assert len({find_recipe(other).sha256 for other in NAMES}) == len(NAMES)


YAML = """
summary: Answers that users liked.
inputs:
  question: inputs.question
outputs:
  answer: {paths: [outputs.report, outputs.answer], kind: text, required: true}
  score: [feedback.user_score.score]
where: [name=agent]
feedback: {key: user_score, pass_from: 0.5, verdicts: [PASS]}
deduplicate: {by: ["inputs.question|lower"]}
sample: {total: 10, per: inputs.question}
split: {parts: {train: 0.8, test: 0.2}}
redact: [email]
chat: {system: Answer briefly.}
"""


def test_a_recipe_in_yaml_has_the_shape_of_one_in_python(tmp_path: Path) -> None:
    (tmp_path / "liked.yaml").write_text(YAML)
    recipe = find_recipe("liked", tmp_path)
    assert recipe.rules.inputs == {"question": Field(paths=("inputs.question",))}
    assert recipe.rules.outputs["score"] == Field(paths=("feedback.user_score.score",))
    assert recipe.rules.where == ("name=agent",)
    assert recipe_summary("liked", tmp_path) == "Answers that users liked."
    assert recipe_names(tmp_path) == sorted([*NAMES, "liked"])


def test_a_recipe_of_the_users_own_in_python_wins_over_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "website.py").write_text(
        '"""Mine."""\nfrom lse.datasets import Field, Rules\n'
        'RULES = Rules(inputs={"a": Field(paths=("inputs.a",))},'
        ' outputs={"b": Field(paths=("outputs.b",))})\n'
        'def derive(outputs, look):\n    return {"b": look("inputs.a")}\n'
    )
    recipe = find_recipe("website", tmp_path)
    assert recipe.rules == Rules(
        inputs={"a": Field(paths=("inputs.a",))}, outputs={"b": Field(paths=("outputs.b",))}
    )
    assert recipe.derive is not None
    assert recipe_summary("website", tmp_path) == "Mine."


def test_whatever_a_recipe_derives_its_values_with_is_in_its_hash(tmp_path: Path) -> None:
    def with_step(step: int) -> str:
        (tmp_path / "mine.py").write_text(
            "from lse.datasets import Field, Rules\n"
            'RULES = Rules(inputs={"a": Field(paths=("inputs.a",))}, outputs={"b": Field(paths=("b",))})\n'
            f"def helper():\n    return {step}\n"
            'def derive(outputs, look):\n    return {"b": helper()}\n'
        )
        return find_recipe("mine", tmp_path).sha256

    assert with_step(1) == with_step(1) != with_step(2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds no mapping"),
        ("inputs: {a: b}", "missing required field `outputs`"),
        ("inputs: {a: 'x['}\noutputs: {}", "'x\\[' is not a path"),
        ("inputs: {}\noutputs: {}\nsurprise: 1", "unknown field `surprise`"),
        ("inputs: {}\noutputs: {}\nredact: [shoe]", "nothing to redact called shoe"),
        ("inputs: {}\noutputs: {}\nwhere: [colour=red]", "not a condition"),
        ("inputs: {}\noutputs: {}\nmetadata: {trace_id: a}", "metadata.trace_id is written by lse"),
        ("inputs: {}\noutputs: {}\nfeedback: {key: a, comment_pattern: '('}", "no regular expression"),
        ("inputs: {}\noutputs: {}\nfeedback: {key: a, comment_pattern: 'a'}", "exactly one group"),
        ("inputs: {}\noutputs: {}\nsample: {total: 0}", "at least 1"),
        ("inputs: {}\noutputs: {}\nsplit: {parts: {a: 0}}", "weights above 0"),
        ("inputs: {}\noutputs: {}\ndeduplicate: {by: ['a|shout']}", "unknown form 'shout'"),
        ("a: [", "it is no YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_the_reason(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        find_recipe("mine", tmp_path)


@pytest.mark.parametrize("text", ["RULES = 1", "import nothing_of_this_name", "def ("])
def test_a_python_file_that_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigurationError, match=r"mine\.py is not a recipe"):
        find_recipe("mine", tmp_path)


def test_an_unknown_recipe_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        find_recipe("nothing", tmp_path)
    assert error.value.hint == f"Recipes: {', '.join(NAMES)}."


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        find_recipe("website", Path("/nowhere"))
