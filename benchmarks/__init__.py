"""What the work costs: benchmarks against what people would run instead.

``python -m benchmarks NAME`` runs one, ``python -m benchmarks all`` every one; a benchmark is a
module here with ``run(options) -> Result``. Modules with a leading underscore are shared parts.
"""
