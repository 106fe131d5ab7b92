"""Manifests against the schemas of Kubernetes and of the Prometheus Operator; both come in packages of .ci/requirements.txt."""

import json

import kubernetes_validate
import pydantic
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

# Three years of Kubernetes, up to the newest that there is a schema for.
VERSIONS = ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]


def mistakes(manifest):
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from of_prometheus_operator(manifest)
    else:
        yield from of_kubernetes(manifest)


def of_kubernetes(manifest):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            yield f"not valid in Kubernetes {version}: {where}: {error.message}"
            return
        except kubernetes_validate.SchemaNotFoundError as error:
            yield error.message
            return


def of_prometheus_operator(manifest):
    model = getattr(prometheus_operator, manifest["kind"], None)
    if model is None:
        yield f"the Prometheus Operator has no {manifest['kind']}"
        return
    try:
        read = model.model_validate(manifest)
    except pydantic.ValidationError as error:
        for mistake in error.errors():
            yield f"{'.'.join(str(step) for step in mistake['loc'])}: {mistake['msg']}"
        return
    # The model leaves out what it does not know, as the operator would.
    understood = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if unknown := list(left_out(manifest, understood)):
        yield f"fields that the Prometheus Operator does not know: {unknown}"


def left_out(given, understood, path=""):
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key in understood:
                yield from left_out(value, understood[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}".lstrip(".")
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for index, (value, other) in enumerate(zip(given, understood)):
            yield from left_out(value, other, f"{path}[{index}]")
    elif json.dumps(given, sort_keys=True) != json.dumps(understood, sort_keys=True):
        yield f"{path}: {given!r} is understood as {understood!r}".lstrip(".")
