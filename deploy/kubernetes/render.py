#!/usr/bin/env python3
"""Renders the overlays and holds each object to the Kubernetes API's own schemas, unknown fields refused.

    render.py FOLDER    writes FOLDER/<overlay>.yaml, FOLDER/<overlay>.json and the policy bundle as pods see it, FOLDER/<overlay>-policies/

Needs kubectl (for kustomize), PyYAML and kubernetes-validate: `.ci/run deploy` installs them under target/.
"""

import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

HERE = Path(__file__).resolve().parent
VERSION = "1.37"
# Objects of operators, whose schemas come with them and not with Kubernetes.
OTHERS = {"external-secrets.io/v1"}


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    refused = 0
    for overlay in sorted((HERE / "overlays").iterdir()):
        command = ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(overlay)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        objects = [made for made in yaml.safe_load_all(text) if made]
        checked = 0
        for made in objects:
            name = f"{overlay.name}: {made['kind']} {made['metadata']['name']}"
            if made["apiVersion"] in OTHERS:
                continue
            try:
                kubernetes_validate.validate(made, VERSION, strict=True)
                checked += 1
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                print(f"{name}: {error}")
                refused += 1
        (folder / f"{overlay.name}.yaml").write_text(text)
        (folder / f"{overlay.name}.json").write_text(json.dumps(objects))
        unpack(objects, folder / f"{overlay.name}-policies")
        print(f"kubernetes: {overlay.name}: {checked} of {len(objects)} objects are valid for Kubernetes {VERSION}; the others are operators'")
    return 1 if refused else 0


def unpack(objects: list[dict], folder: Path) -> None:
    """The volume `policies` of the proxy, as kubelet lays it out."""
    maps = {made["metadata"]["name"]: made for made in objects if made["kind"] == "ConfigMap"}
    proxy = next(made for made in objects if made["kind"] == "Deployment")
    volume = next(one for one in proxy["spec"]["template"]["spec"]["volumes"] if one["name"] == "policies")
    for source in volume["projected"]["sources"]:
        for item in source["configMap"]["items"]:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(maps[source["configMap"]["name"]]["data"][item["key"]])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
