"""Judges: models that read an answer and say what it is worth.

Any server that speaks OpenAI's protocol, through the ``openai`` client, or a chat model that
transformers runs here. The key for a server comes from the environment only.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from gar_video.errors import GARVideoError
from gar_video.files import write_text

Message = dict[str, Any]
#: Where the key for a judge's server is looked for. OpenAI's own variable is sent to OpenAI only.
KEY_VARIABLE, OPENAI_KEY = "GAR_VIDEO_JUDGE_KEY", "OPENAI_API_KEY"
_MAX_TOKENS = 300


@dataclass(frozen=True)
class Reply:
    """What a judge said.

    Attributes:
        text: The words.
        prompt_tokens: Tokens read, as the server counts them; 0 from the cache.
        completion_tokens: Tokens written; 0 from the cache.
        cached: Whether it came from the cache.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


class JudgeRefused(GARVideoError):  # noqa: N818 - what a judge does, not a failure of ours
    """The judge would not answer this one question; others may be answered."""


class Judge(Protocol):
    """Who judges."""

    @property
    def identity(self) -> dict[str, Any]:
        """What of it determines its judgements."""

    def ask(self, messages: Sequence[Message]) -> Reply:
        """Return its reply to a conversation."""


class ServerJudge:
    """A model behind a server that speaks OpenAI's protocol.

    Args:
        url: The address up to and including ``/v1``.
        model: The model's name there.
        timeout_s: Seconds to wait for a reply.
        retries: How often to try again after a time-out, a lost connection, status 408, 409, 429 or
            5xx, waiting longer each time, or as long as the server says.

    Raises:
        GARVideoError: If the address is none, or the ``openai`` package is missing.
    """

    def __init__(self, url: str, model: str, *, timeout_s: float = 120, retries: int = 6) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GARVideoError(
                f"judge address {url!r}; expected http:// or https://, such as "
                "http://localhost:8000/v1"
            )
        if parts.username or parts.password:
            raise GARVideoError(f"the judge's address holds a password; set {KEY_VARIABLE} instead")
        try:
            import openai
        except ImportError:
            raise GARVideoError(
                "judging needs the openai package; install it with: pip install 'gar-video[bench]'"
            ) from None
        self._openai: Any = openai
        self._url, self._model = url, model
        self._client = openai.OpenAI(
            base_url=url, api_key=_key(parts.hostname), timeout=timeout_s, max_retries=retries
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Address, model and how it is asked."""
        return {"url": self._url, "model": self._model, "temperature": 0, "max_tokens": _MAX_TOKENS}

    def ask(self, messages: Sequence[Message]) -> Reply:
        """Return the reply to a conversation.

        Raises:
            JudgeRefused: If the server finds fault with this one question (400, 413, 422).
            GARVideoError: If the key is refused, there is no such model, or no reply came in spite
                of all tries.
        """
        errors = self._openai
        sent: Any = list(messages)
        try:
            done = self._client.chat.completions.create(
                model=self._model, messages=sent, temperature=0, max_tokens=_MAX_TOKENS
            )
        except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
            raise GARVideoError(
                f"the judge at {self._url} refuses the key (status {error.status_code}); set it in "
                f"{KEY_VARIABLE}"
            ) from None
        except errors.NotFoundError as error:
            raise GARVideoError(
                f"the judge at {self._url} knows no model {self._model!r}, or the address is wrong "
                f"({_said(error)})"
            ) from None
        except errors.APITimeoutError:
            raise self._gave_up("it did not answer in time") from None
        except errors.APIConnectionError as error:
            cause = error.__cause__ or error
            raise self._gave_up(f"no connection: {_said(cause)}") from None
        except errors.APIStatusError as error:
            if error.status_code in (400, 413, 422):
                raise JudgeRefused(f"the judge refused: {_said(error)}") from None
            raise self._gave_up(f"status {error.status_code}: {_said(error)}") from None
        except (errors.OpenAIError, ValueError) as error:
            raise self._gave_up(f"its reply cannot be read: {_said(error)}") from None
        choices = getattr(done, "choices", None)
        if not choices or choices[0].message is None:
            raise JudgeRefused("the judge's reply holds no message")
        usage = getattr(done, "usage", None)
        return Reply(
            choices[0].message.content or "",
            int(getattr(usage, "prompt_tokens", 0) or 0),
            int(getattr(usage, "completion_tokens", 0) or 0),
        )

    def _gave_up(self, why: str) -> GARVideoError:
        return GARVideoError(
            f"the judge at {self._url} was given up: {why}; what was judged is kept: run again to "
            "go on"
        )


def _key(host: str) -> str:
    own = os.environ.get(KEY_VARIABLE)
    openai = host == "openai.com" or host.endswith(".openai.com")
    # The client insists on some key; servers of one's own take any.
    return own or (os.environ.get(OPENAI_KEY) if openai else None) or "none"


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


class LocalJudge:
    """A chat model that transformers runs in this process; it reads text only.

    Args:
        name_or_path: A hub id or folder with safetensors weights and a chat template.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` ….

    Raises:
        GARVideoError: If it cannot be loaded or is no chat model.
    """

    def __init__(self, name_or_path: str, *, device: str = "auto") -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from gar_video.devices import resolve_device

        self._name = name_or_path
        where = resolve_device(device)
        half = where.type == "cuda"
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                name_or_path, trust_remote_code=False
            )
            model: Any = AutoModelForCausalLM.from_pretrained(
                name_or_path,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.bfloat16 if half else torch.float32,
            )
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise GARVideoError(f"cannot load the judge {name_or_path}: {_said(error)}") from None
        if not self._tokenizer.chat_template:
            raise GARVideoError(
                f"the judge {name_or_path} has no chat template; expected a chat model"
            )
        self._model = model.to(where).eval()
        self._one_at_a_time = threading.Lock()

    @property
    def identity(self) -> dict[str, Any]:
        """The model and how it is asked."""
        return {"local": self._name, "temperature": 0, "max_tokens": _MAX_TOKENS}

    def ask(self, messages: Sequence[Message]) -> Reply:
        """Return the reply to a conversation.

        Raises:
            GARVideoError: If the conversation holds pictures.
        """
        import torch

        if any(not isinstance(message["content"], str) for message in messages):
            raise GARVideoError("a local judge reads text only; leave out --judge-sees")
        with self._one_at_a_time, torch.inference_mode():
            ids = self._tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
            )["input_ids"].to(self._model.device)
            out = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=_MAX_TOKENS,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id or 0,
            )[0, ids.shape[1] :]
        text = self._tokenizer.decode(out, skip_special_tokens=True).strip()
        return Reply(text, int(ids.shape[1]), len(out))


class CachedJudge:
    """A judge that is asked the same thing once only.

    Args:
        judge: Who is asked.
        folder: Where replies are kept, a file each, named after all that was asked and of whom.
    """

    def __init__(self, judge: Judge, folder: str | os.PathLike[str]) -> None:
        self._judge, self._folder = judge, Path(folder)

    @property
    def identity(self) -> dict[str, Any]:
        """The judge's."""
        return self._judge.identity

    def ask(self, messages: Sequence[Message]) -> Reply:
        """Return the reply from the cache, or the judge's, which is kept."""
        asked = json.dumps([self.identity, list(messages)], sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
        path = self._folder / digest[:2] / f"{digest}.json"
        try:
            return Reply(str(json.loads(path.read_text(encoding="utf-8"))["text"]), cached=True)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there, or damaged: ask
        reply = self._judge.ask(messages)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GARVideoError(
                f"cannot write the judge's cache {self._folder}: {error.strerror or error}; give "
                "another --judge-cache"
            ) from None
        write_text(path, json.dumps({"text": reply.text}, ensure_ascii=False) + "\n")
        return reply


def default_cache() -> Path:
    """Return where judges' replies are kept by default."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "gar-video" / "judge"
