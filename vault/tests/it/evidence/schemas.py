#!/usr/bin/env python3
"""Hold the machine forms of a bundle against the schemas their makers published: BUNDLE-FOLDER."""
import pathlib, sys  # noqa: E401

from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from trestle.oscal.assessment_results import AssessmentResults
from trestle.oscal.component import ComponentDefinition

folder = pathlib.Path(sys.argv[1]) / "machine"
for name in ["sbom.cdx.json", "cbom.cdx.json"]:
    wrong = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_7).validate_str((folder / name).read_text())
    if wrong:
        sys.exit(f"{name}: {wrong}")
    print(f"{name} is valid")
for name, model in [("component-definition.oscal.json", ComponentDefinition), ("assessment-results.oscal.json", AssessmentResults)]:
    if model.oscal_read(folder / name) is None:
        sys.exit(f"{name} is not valid")
    print(f"{name} is valid")
