"""``gar-video serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.errors import GARVideoError

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

ACCESS = "Who may ask"
LIMITS = "What a request may cost"

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.", rich_help_panel=ACCESS)
]
Port = Annotated[
    int,
    typer.Option(
        "--port", metavar="N", min=0, max=65535, help="0 for any.", rich_help_panel=ACCESS
    ),
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--token-file", metavar="FILE", rich_help_panel=ACCESS,
        help="Tokens, one a line; also GAR_VIDEO_TOKEN. Needed unless only this machine can ask.",
    ),
]  # fmt: skip
Folders = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-folder", metavar="FOLDER", rich_help_panel=ACCESS,
        help="Videos in it may be referred to by name.",
    ),
]  # fmt: skip
Fetch = Annotated[
    bool,
    typer.Option(
        "--allow-fetch", rich_help_panel=ACCESS,
        help="Fetch pictures and videos from public http(s) addresses.",
    ),
]  # fmt: skip
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", metavar="NAME", rich_help_panel=opt.MODELS,
        help="local, or vllm for the language model.",
    ),
]  # fmt: skip
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="FOLDER", help="For what is uploaded; temporary by default."),
]


def _number(flag: str, text: str, low: int) -> object:
    return typer.Option(flag, metavar="N", min=low, help=text, rich_help_panel=LIMITS)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    allow_folder: Folders = None,
    allow_fetch: Fetch = False,
    model: opt.Model = "nano",
    sam2: opt.Sam2 = "nano",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    engine: EngineName = "local",
    store: Store = None,
    max_body_mb: Annotated[int, _number("--max-body-mb", "Longest JSON body.", 1)] = 64,
    max_upload_mb: Annotated[int, _number("--max-upload-mb", "Largest video.", 1)] = 2048,
    max_frames: Annotated[int, _number("--max-frames", "Longest video.", 1)] = 100_000,
    max_objects: Annotated[int, _number("--max-objects", "Most objects at once.", 1)] = 32,
    max_new_tokens: Annotated[int, _number("--max-new-tokens", "Longest answer.", 1)] = 1024,
    per_minute: Annotated[int, _number("--per-minute", "Of one caller; 0: no limit.", 0)] = 1200,
    queue: Annotated[int, _number("--queue", "Requests at once; more get 429.", 1)] = 64,
    batch: Annotated[int, _number("--batch", "Answers generated at once.", 1)] = 32,
    cache_mb: Annotated[int, _number("--cache-mb", "Encoded clips that are kept.", 0)] = 1024,
    keep_minutes: Annotated[int, _number("--keep-minutes", "Uploads unused so long go.", 1)] = 60,
    grace: Annotated[int, _number("--grace", "Seconds to finish when stopped.", 0)] = 20,
    quiet: opt.Quiet = False,
) -> None:
    """Answer over HTTP: OpenAI's chat interface and our own; see docs/serve.md.

    Ctrl-C and SIGTERM end it well: what is being answered is finished, and the status is 0.
    """
    try:
        from gar_video.server.running import Server, bind, load_service
        from gar_video.server.settings import Limits, Settings
    except ImportError as error:
        raise GARVideoError(
            f"serving needs {error.name}; install it with pip install 'gar-video[serve]'"
        ) from None
    mib = 2**20
    limits = Limits(
        body_bytes=max_body_mb * mib, upload_bytes=max_upload_mb * mib, frames=max_frames,
        objects=max_objects, new_tokens=max_new_tokens, per_minute=per_minute, queue=queue,
        batch=batch, prefix_bytes=cache_mb * mib, keep_s=keep_minutes * 60.0, grace_s=grace,
    )  # fmt: skip
    settings = Settings(
        model=model, sam2=sam2, device=device, dtype=dtype, engine=engine, host=host, port=port,
        tokens=_tokens(token_file), folders=tuple(map(Path, allow_folder or ())),
        fetch=allow_fetch, store=None if store is None else Path(store), limits=limits,
    )  # fmt: skip
    voice = Voice(quiet)
    with bind(host, port) as sock:
        with voice.progress("loading"):
            quiet_libraries(voice)
            service = load_service(settings)
        number = sock.getsockname()[1]
        where = f"http://{f'[{host}]' if ':' in host else host}:{number}"

        def started() -> None:
            voice.note(f"answering at {where}/v1 with {service.model}; what it takes: {where}/docs")

        Server(service, started).run(sockets=[sock])


def _tokens(file: str | None) -> tuple[str, ...]:
    """Read the tokens; never from the command line, where every user of the machine sees them."""
    tokens = [os.environ.get("GAR_VIDEO_TOKEN", "").strip()]
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise GARVideoError(f"cannot read the tokens in {file}: {reason}") from None
        tokens += [line.strip() for line in lines if not line.lstrip().startswith("#")]
        if not any(tokens):
            raise GARVideoError(f"{file} holds no token; expected one a line")
    return tuple(dict.fromkeys(token for token in tokens if token))
