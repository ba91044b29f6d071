"""A case as the text that the journal keeps of it, and back. Pure."""

import json
from dataclasses import dataclass, replace

import cattrs

from casedrop.model import Case


@dataclass(frozen=True, slots=True)
class Record:
    """A case and its text, which is JSON; `plan_at` is where in it the plan begins, 0 where that is not known."""

    case: Case
    text: str
    plan_at: int = 0


def written(case: Case, before: Record | None = None) -> Record:
    """The plan goes last, so that its text is taken over from `before` while the case has the very same one.

    A plan of thousands of files is most of a record, and stays as it is while the rest is written at each step.
    """
    facts = cattrs.unstructure(replace(case, plan=None))
    del facts["plan"]
    start = f'{json.dumps(facts)[:-1]}, "plan": '
    if before and before.plan_at and before.case.plan is case.plan:
        end = before.text[before.plan_at :]
    else:
        end = json.dumps(cattrs.unstructure(case.plan)) + "}"
    return Record(case, start + end, len(start))


def read(text: str) -> Record:
    return Record(cattrs.structure(json.loads(text), Case), text)
