"""Generates the Python contracts from the protos, into `sdk/python/parade/v1`.

Run by `make gen`. Knows the compiler and its plugins; what is in the protos it does not care about.
"""

import shutil
import subprocess
import sys
import sysconfig
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUT = ROOT / "sdk" / "python"
GOOGLEAPIS = ROOT / ".tools" / "googleapis"
"""Where `buf` finds `google/api`: buf resolves imports from folders of its own only."""


def lay_out_googleapis() -> None:
    """Copies the `google/api` protos of the installed googleapis-common-protos to where buf looks for them."""
    source = Path(str(resources.files("google") / "api"))
    target = GOOGLEAPIS / "google" / "api"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("annotations.proto", "http.proto"):
        shutil.copyfile(source / name, target / name)


def compile_protos() -> None:
    """Writes messages, stubs, their types, and the descriptors with the comments, which the gateway turns into its reference."""
    target = OUT / "parade" / "v1"
    for stale in [*target.glob("*_pb2*.py*"), *target.glob("*.binpb")]:
        stale.unlink()
    wellknown = resources.files("grpc_tools") / "_proto"
    scripts = Path(sysconfig.get_path("scripts"))
    command = [
        sys.executable, "-m", "grpc_tools.protoc",
        f"-I{PROTOS}", f"-I{GOOGLEAPIS}", f"-I{wellknown}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={OUT}", f"--grpc_python_out={OUT}", f"--mypy_out=quiet:{OUT}", f"--mypy_grpc_out=quiet:{OUT}",
        f"--descriptor_set_out={target / 'descriptors.binpb'}", "--include_source_info", "--include_imports",
        *sorted(str(path) for path in (PROTOS / "parade" / "v1").glob("*.proto")),
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    lay_out_googleapis()
    compile_protos()
