"""Run benchmarks: ``python -m benchmarks NAME``, ``all``, ``list`` or ``report``."""

from __future__ import annotations

import argparse
import ast
import importlib
import subprocess
import sys
from pathlib import Path

from benchmarks import _plots, _results, _tables

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def found() -> dict[str, str]:
    """Return the benchmarks: name to the first line of what its module says about itself."""
    benchmarks = {}
    for path in sorted(HERE.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if functions & {"run", "main"}:
            said = (ast.get_docstring(tree) or path.stem).splitlines()[0]
            benchmarks[path.stem] = said.rstrip(".")
    return benchmarks


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    command = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    command.add_argument("name", help="a benchmark's name, or all, list, report")
    command.add_argument(
        "--json", type=Path, metavar="FILE",
        help="where the result goes; of `all`, a folder (default: benchmarks/results)",
    )  # fmt: skip
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.add_argument("--repeats", type=int, help="rounds per case")
    command.add_argument("--threads", type=int, default=1, help="torch's CPU threads (1)")
    command.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; keeps no result"
    )
    return command


def main(argv: list[str] | None = None) -> int:
    """Run what the command line says; return the exit code."""
    arguments = parser().parse_args(argv)
    try:
        return _dispatch(arguments)
    except _results.BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _dispatch(arguments: argparse.Namespace) -> int:
    known = found()
    if arguments.name == "list":
        for name, said in known.items():
            print(f"{name:16} {said}")
        return 0
    if arguments.name == "report":
        return report(arguments.json or RESULTS)
    if (arguments.repeats is not None and arguments.repeats < 1) or arguments.threads < 1:
        raise _results.BenchmarkError("--repeats and --threads must be at least 1")
    if arguments.name != "all" and arguments.name not in known:
        raise _results.BenchmarkError(
            f"there is no benchmark {arguments.name!r}; expected all, list, report or one of "
            + ", ".join(known)
        )
    _results.check_device(arguments.device)
    if arguments.name == "all":
        return run_all(list(known), arguments)
    return run_one(arguments.name, arguments)


def run_one(name: str, arguments: argparse.Namespace) -> int:
    """Run a benchmark here; print its table, write its result and its plot."""
    module = importlib.import_module(f"benchmarks.{name}")
    if not hasattr(module, "run"):  # a script of its own
        target = ["--json", str(arguments.json)] if arguments.json else []
        return subprocess.run([sys.executable, module.__file__, *target], check=False).returncode
    options = _results.Options(
        arguments.quick, arguments.device, arguments.repeats, arguments.threads
    )
    import torch

    torch.set_num_threads(options.threads)
    result = module.run(options)
    document = _results.as_document(result, options)
    print(_tables.section(document), flush=True)
    path = arguments.json
    if path is None and not arguments.quick:
        path = RESULTS / (name + ("" if options.device == "cpu" else "-cuda") + ".json")
    if path is not None:
        _results.write(path, document)
        _plots.draw(document, path.with_suffix(".png"))
    return 0


def run_all(names: list[str], arguments: argparse.Namespace) -> int:
    """Run every benchmark in a process of its own; go on after a failure, and say so."""
    failed = []
    for name in names:
        command = [sys.executable, "-m", "benchmarks", name, "--device", arguments.device]
        command += ["--threads", str(arguments.threads)]
        command += ["--repeats", str(arguments.repeats)] if arguments.repeats else []
        command += ["--quick"] if arguments.quick else []
        command += ["--json", str(arguments.json / f"{name}.json")] if arguments.json else []
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"benchmarks: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def report(folder: Path) -> int:
    """Print all results of a folder as Markdown.

    Raises:
        BenchmarkError: If there are none, or they are of different machines.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise _results.BenchmarkError(f"no results in {folder}; run some benchmarks first")
    for document in _results.of_one_machine(_results.read(path) for path in paths):
        print(_tables.section(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
