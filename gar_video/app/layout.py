"""Where things stand on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from gar_video.app import exports, page
from gar_video.app.feed import EMPTY

if TYPE_CHECKING:
    from gar_video.app.page import Page

_MOUNT = "gv.mount(element, server, props, watch);"
_ABOUT = (
    '<div class="gv-about"><span class="gv-looks">Looks at the whole clip</span>'
    '<span class="gv-insert" data-into="{into}"></span></div>'
)


def lay_out(answering: Page) -> gr.Blocks:
    """Build the widgets and tie them to what answers their events."""
    with gr.Blocks(
        title="gar-video", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)
    ) as blocks:
        with gr.Row(elem_id="gv-top"):
            head = gr.HTML(page.head_html(answering.models), elem_id="gv-head")
            opener = gr.UploadButton(
                "Open a clip", elem_id="gv-open", type="filepath", min_width=120, scale=0
            )
            rendered = gr.Button("Rendered clip", elem_id="gv-rendered", min_width=144, scale=0)
        with gr.Row(elem_classes="gv-page", equal_height=False):
            with gr.Column(scale=8, min_width=340):
                stage = _left(answering)
            with gr.Column(scale=5, min_width=330):
                feed = _right(answering, stage, head)
        opener.upload(answering.open_file, opener, [stage, feed], show_progress="minimal")
        rendered.click(answering.open_rendered, None, [stage, feed], show_progress="minimal")
        blocks.load(answering.arrive, None, [stage, feed], show_progress="hidden")
        blocks.unload(answering.leave)
    blocks.queue(default_concurrency_limit=16, max_size=256, api_open=False)
    return blocks


def _left(answering: Page) -> gr.HTML:
    # Gradio marks what the page may call, which it cannot do to methods.
    def gesture(call: dict[str, Any]) -> dict[str, Any]:
        return answering.gesture(call)

    def preview(call: dict[str, Any]) -> dict[str, Any]:
        return answering.preview(call)

    with gr.Column(elem_classes="gv-panel", elem_id="gv-stage-panel"):
        stage = gr.HTML(
            None,
            html_template=page.stage_html(),
            js_on_load=_MOUNT,
            head='<script src="/page.js"></script>',
            apply_default_css=False,
            server_functions=[gesture, preview],
            elem_id="gv-stage",
        )
        with gr.Row(elem_id="gv-track-row"):
            track = gr.Button("Track", variant="primary", elem_id="gv-track", min_width=120)
            cancel = gr.Button("Cancel", elem_id="gv-cancel", min_width=90)
        rows = "".join(f"<dt>{keys}</dt><dd>{does}</dd>" for keys, does in page.KEYS)
        gr.HTML(
            '<details class="gv-more"><summary>Keys</summary>'
            f'<dl class="gv-keys">{rows}</dl></details>'
        )
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    track.click(answering.track, None, stage, concurrency_limit=8, **quiet)
    cancel.click(answering.cancel, None, None, queue=False, **quiet)
    return stage


def _right(answering: Page, stage: gr.HTML, head: gr.HTML) -> gr.HTML:
    with gr.Column(elem_classes="gv-panel", elem_id="gv-tabs"), gr.Tabs():
        with gr.Tab("Ask"):
            ask = _ask_tab(answering)
        with gr.Tab("Choose"):
            choose = _choose_tab()
        with gr.Tab("Load"):
            _clip_tab(answering, stage, feed := gr.HTML(EMPTY, elem_id="gv-answers", render=False))
        with gr.Tab("Export"):
            _export_tab(answering, stage)
        with gr.Tab("Models"):
            _models_tab(answering, head, ask["remember"])
    with gr.Column(elem_classes="gv-panel", elem_id="gv-answers-panel"):
        feed.render()
    _tie_words(answering, feed, ask, choose)
    return feed


def _ask_tab(answering: Page) -> dict[str, Any]:
    found: dict[str, Any] = {}
    gr.HTML(_ABOUT.format(into="gv-question"))
    found["question"] = gr.Textbox(
        placeholder="What does <1> do?   Where is <1> from <2>?", lines=1, max_lines=4,
        show_label=False, label="Question", elem_id="gv-question", container=False,
    )  # fmt: skip
    with gr.Row():
        found["ask"] = gr.Button("Ask", variant="primary", elem_id="gv-ask", min_width=70)
        found["describe"] = gr.Button("Describe all", elem_id="gv-describe", min_width=110)
        found["stop"] = gr.Button("Stop", elem_id="gv-stop", min_width=60)
    found["remember"] = gr.Checkbox(
        value=answering.models.gar_names[0] != "nano",
        label="A conversation: remember what was asked before",
        info="Better left off with nano, which learned questions one at a time.",
        elem_id="gv-remember", container=False,
    )  # fmt: skip
    return found


def _choose_tab() -> dict[str, Any]:
    found: dict[str, Any] = {}
    gr.HTML(_ABOUT.format(into="gv-choice"))
    found["question"] = gr.Textbox(
        placeholder="What color is <1>?", lines=1, max_lines=4, show_label=False,
        label="Question", elem_id="gv-choice", container=False,
    )  # fmt: skip
    found["options"] = gr.Textbox(
        placeholder="One option a line", lines=4, max_lines=10, show_label=False,
        label="Options", elem_id="gv-options", container=False,
    )  # fmt: skip
    found["choose"] = gr.Button("Choose", variant="primary", elem_id="gv-choose")
    return found


def _clip_tab(answering: Page, stage: gr.HTML, feed: gr.HTML) -> None:
    quiet: dict[str, Any] = {"show_progress": "minimal"}
    with gr.Accordion("Camera", open=False):
        camera = gr.Image(sources=["webcam"], type="numpy", show_label=False, elem_id="gv-camera")
    gr.HTML(
        '<div class="gv-note"><p>Tracks made elsewhere, in place of the objects here: a file of '
        "any format that gar-video reads, or a zip of a folder.</p></div>"
    )
    with gr.Row(equal_height=True):
        formats = gr.Dropdown(
            page.format_choices(), value="auto", show_label=False, label="Format", container=False,
            min_width=120, elem_id="gv-load-format",
        )  # fmt: skip
        loader = gr.UploadButton("Load tracks", elem_id="gv-load", type="filepath", min_width=130)
    out = [stage, feed]
    camera.change(answering.open_snapshot, camera, out, **quiet)
    loader.upload(answering.load_tracks, [loader, formats], out, **quiet)


def _export_tab(answering: Page, stage: gr.HTML) -> None:
    with gr.Row(equal_height=True):
        formats = gr.Dropdown(
            exports.format_names(), value="json", show_label=False, label="Format",
            container=False, min_width=110, elem_id="gv-export-format",
        )  # fmt: skip
        tracks = gr.Button("Tracks", elem_id="gv-export-tracks", min_width=90)
        every = gr.Button("All formats", elem_id="gv-export-all", min_width=100)
    with gr.Row():
        video = gr.Button("Annotated video", elem_id="gv-export-video", min_width=145)
        sheet = gr.Button("Contact sheet", elem_id="gv-export-sheet", min_width=120)
        words = gr.Button("Transcript", elem_id="gv-export-transcript", min_width=100)
    files = gr.HTML(elem_id="gv-files")
    for button in (tracks, every, video, sheet, words):
        name = gr.State(button.value)
        button.click(answering.export, [name, formats], [stage, files], show_progress="hidden")


def _models_tab(answering: Page, head: gr.HTML, remember: gr.Checkbox) -> None:
    models = answering.models
    gar = gr.Dropdown(
        list(models.gar_names), value=models.gar_names[0], label="Words: GAR", elem_id="gv-gar"
    )
    sam2 = gr.Dropdown(
        list(models.sam2_names), value=models.sam2_names[0], label="Tracking: SAM 2",
        elem_id="gv-sam2",
    )  # fmt: skip
    for menu in (gar, sam2):
        menu.change(answering.pick_models, [gar, sam2], [head, remember], show_progress="hidden")


def _tie_words(answering: Page, feed: gr.HTML, ask: dict[str, Any], choose: dict[str, Any]) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    asked = [ask["question"], ask["remember"]]
    for event in (ask["ask"].click, ask["question"].submit):
        event(answering.ask, asked, [feed, ask["question"]], **quiet)
    ask["describe"].click(answering.describe, None, feed, **quiet)
    ask["stop"].click(answering.cancel, None, None, queue=False, **quiet)
    chosen = [choose["question"], choose["options"]]
    choose["choose"].click(answering.choose, chosen, feed, show_progress="minimal")
