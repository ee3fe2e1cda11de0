"""A detector that needs no model: whatever moves before a camera that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import supervision as sv


class MotionDetector:
    """Finds what moves, by OpenCV's background subtraction (MOG2).

    It sees motion, not things: what stands still is ground after a while, what touches is one
    detection, and a place that something has left stays one for some frames.

    Args:
        min_share: Smallest detection, as a share of the frame.
        most: Most detections in a frame, the largest first.
        history: Frames after which what stands still is ground.
        threshold: How far a pixel must be from the ground to count (MOG2's ``varThreshold``).
    """

    def __init__(
        self,
        *,
        min_share: float = 0.001,
        most: int = 50,
        history: int = 120,
        threshold: float = 25.0,
    ) -> None:
        self.min_share, self.most = min_share, most
        self._history = history
        self._began = False
        self._subtractor: Any = cv2.createBackgroundSubtractorMOG2(history, threshold, False)

    def __call__(self, frame: npt.NDArray[np.uint8]) -> sv.Detections:
        """Return what moves in a frame.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB.

        Returns:
            Detections with ``mask`` ``(N, H, W)`` bool, ``xyxy`` and ``confidence`` 1.
        """
        import supervision as sv

        # The first frame is all ground; OpenCV's own rate would also take in at once what is new
        # while the stream is young.
        rate = 1 / self._history if self._began else 1.0
        moving = self._subtractor.apply(frame, learningRate=rate)
        if not self._began:
            self._began = True
            return sv.Detections.empty()
        side = max(3, min(frame.shape[:2]) // 120 | 1)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, kernel)
        moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, kernel, iterations=2)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(moving)
        areas = stats[1:, cv2.CC_STAT_AREA]
        order = [int(k) + 1 for k in np.argsort(-areas)[: self.most]
                 if areas[k] >= self.min_share * moving.size]  # fmt: skip
        if not order:
            return sv.Detections.empty()
        x, y, wide, tall = stats[order, :4].T.astype(np.float64)
        return sv.Detections(
            xyxy=np.stack([x, y, x + wide, y + tall], axis=1),
            mask=labels[None] == np.array(order)[:, None, None],
            confidence=np.ones(len(order)),
        )
