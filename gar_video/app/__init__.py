"""A page to click on: ``gar-video app``.

``Session`` holds what one visitor has loaded, pointed at, tracked and asked, and knows nothing of
browsers; ``page`` and ``serving`` are the thin layer of Gradio around it.
"""
