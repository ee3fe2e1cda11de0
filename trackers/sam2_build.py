"""Building SAM 2 modules from a configuration, beside other users of Hydra.

``import sam2`` initialises Hydra for the whole process, after which nobody else can. Every import
of sam2 in this package goes through :func:`import_sam2`, which leaves Hydra as it found it.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gar_video.errors import CheckpointError

if TYPE_CHECKING:
    from gar_video.trackers.sam2_config import Config
    from sam2.sam2_video_predictor import SAM2VideoPredictor

_PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictor"
_IMPORT_LOCK = threading.RLock()

# What sam2's own builder sets on top of its YAML files, so that both give the same masks. None of
# those files sets them itself; a configuration that does is followed.
_DECODER_DEFAULTS = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


class _RunInitLater(MetaPathFinder):
    """Runs ``sam2/__init__.py`` when somebody else imports sam2 for themselves.

    They get the module object that the submodules are already bound to, and Hydra initialised as
    sam2's own builder needs it: by their doing, not by ours.
    """

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find sam2; looking alone changes nothing, loading it ends this finder's work."""
        spec = PathFinder.find_spec(fullname) if fullname == "sam2" else None
        if spec is not None and spec.loader is not None:
            spec.loader.create_module = self._hand_over  # type: ignore[method-assign]
        return spec

    def _hand_over(self, spec: ModuleSpec) -> ModuleType:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        return self.module


@contextmanager
def _hydra_untouched() -> Iterator[None]:
    """Leave Hydra's global state, and whether sam2 was imported, as they were."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.version import VersionBase

    was_initialized = GlobalHydra.instance().is_initialized()
    was_imported = "sam2" in sys.modules
    version = VersionBase.instance().getbase()
    try:
        yield
    finally:
        if not was_initialized:
            GlobalHydra.instance().clear()
            VersionBase.instance().version_base = version
        if not was_imported and "sam2" in sys.modules:
            sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _RunInitLater)]
            sys.meta_path.insert(0, _RunInitLater(sys.modules.pop("sam2")))


def import_sam2(name: str) -> ModuleType:
    """Import a module of sam2 (or of its ``training`` package) without touching Hydra."""
    with _IMPORT_LOCK:
        if name in sys.modules:
            return sys.modules[name]
        with _hydra_untouched():
            return importlib.import_module(name)


def instantiate(config: Any) -> Any:
    """Build what a configuration tree describes; only classes of sam2 and ``torch.nn``.

    Raises:
        CheckpointError: If ``_target_`` names anything else, or the arguments do not fit.
    """
    if isinstance(config, list):
        return [instantiate(item) for item in config]
    if not isinstance(config, dict):
        return config
    arguments = {key: instantiate(value) for key, value in config.items() if key != "_target_"}
    if "_target_" not in config:
        return arguments
    target = _target_class(config["_target_"])
    try:
        return target(**arguments)
    except (TypeError, ValueError, AssertionError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"SAM 2 config: {config['_target_']} cannot be built: {reason}"
        ) from None


def _target_class(path: object) -> type:
    """Return the ``torch.nn.Module`` subclass that a ``_target_`` names."""
    import torch

    refusal = CheckpointError(
        f"SAM 2 config: _target_ {path!r} is not allowed; expected a module of sam2 or torch.nn"
    )
    if not isinstance(path, str) or "." not in path:
        raise refusal
    module_name, _, class_name = path.rpartition(".")
    allowed = module_name in ("torch.nn", "sam2.sam2_video_predictor", "training.model.sam2")
    if not (allowed or module_name.startswith("sam2.modeling.")):
        raise refusal
    try:
        found = getattr(import_sam2(module_name), class_name, None)
    except ModuleNotFoundError:
        raise refusal from None
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        raise refusal
    return found


def build_predictor(config: Config) -> SAM2VideoPredictor:
    """Build the video predictor of a configuration, with the settings of sam2's own builder.

    Args:
        config: A ``model`` tree; its own ``_target_`` may be the plain model's.

    Returns:
        The predictor with freshly initialised weights, on the CPU, in evaluation mode.
    """
    tree = dict(config, _target_=_PREDICTOR)
    tree["sam_mask_decoder_extra_args"] = {
        **_DECODER_DEFAULTS,
        **(tree.get("sam_mask_decoder_extra_args") or {}),
    }
    tree["binarize_mask_from_pts_for_mem_enc"] = True
    tree["fill_hole_area"] = 8
    predictor = instantiate(tree)
    return predictor.eval()
