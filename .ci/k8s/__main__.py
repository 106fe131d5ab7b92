"""Renders k8s/ in every way that it can be put together, and checks each result.

Against the schemas of Kubernetes and of the Prometheus Operator, the pod security standard, and this project's own rules;
and breaks each of these once, for a rule that cannot fail checks nothing.
Needs the packages of .ci/requirements.txt, and no cluster.
"""

import sys

import files
import mutations
import network
import rules
import schemas
from render import NotRendered, ROOT, Workshop, choices, rendered, shipped

RULES = rules.RULES | network.RULES


def main():
    problems = list(files.mistakes())
    project = rules.Project()
    stacks = {}
    try:
        for folder in shipped():
            stacks[str(folder.relative_to(ROOT))] = rules.Stack(rendered(folder))
        with Workshop() as workshop:
            for components in choices():
                stacks["base + " + ", ".join(components)] = rules.Stack(workshop.choice(components))
            problems += files.rolling(workshop)
    except NotRendered as error:
        problems.append(f"kustomize: {error}")

    # Most objects are the same in many of them.
    known = []
    for name, stack in stacks.items():
        for found in stack.objects:
            if found not in known:
                known.append(found)
                problems += [f"{name}: {found['kind']}: {mistake}" for mistake in schemas.mistakes(found)]

    # The rules take the shape of a manifest for granted.
    if not problems:
        for name, stack in stacks.items():
            for rule, judge in RULES.items():
                problems += [f"{name}: {rule}: {problem}" for problem in judge(stack, project)]
    broken = 0
    if not problems:
        full = stacks["base + secret, operator, sentinel, network-policy, receivers"]
        broken, survived = mutations.survived(full, project, RULES)
        problems += survived

    for problem in problems:
        print(f"manifests: {problem}")
    if not problems:
        print(
            f"manifests: {len(stacks)} renderings, {len(known)} different objects, "
            f"Kubernetes {schemas.VERSIONS[0]} to {schemas.VERSIONS[-1]}, {len(RULES)} rules, {broken} ways to break them"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
