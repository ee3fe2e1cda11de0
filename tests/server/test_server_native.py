"""The native interface: uploads in pieces, tracks, answers."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import httpx
import pytest


@pytest.fixture(scope="module")
def http(house):
    with httpx.Client(base_url=house.url, timeout=300) as client:
        yield client


BOX = {"id": 1, "frame": 0, "box": [8, 40, 40, 72]}


def send(http, video_id, offset, piece):
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
    return http.patch(f"/v1/videos/{video_id}", content=piece, headers=headers)


def upload(http, path):
    data = path.read_bytes()
    begun = http.post("/v1/videos", json={"bytes": len(data), "name": path.name}).json()
    return send(http, begun["id"], 0, data).json()


@pytest.fixture(scope="module")
def video(http, short):
    return upload(http, short)


def test_an_upload_in_pieces_can_be_resumed(http, short):
    data = short.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    begun = http.post("/v1/videos", json={"bytes": len(data), "sha256": digest, "name": "a.mp4"})
    assert begun.status_code == 201
    told = begun.json()
    assert (told["status"], told["offset"], told["bytes"]) == ("uploading", 0, len(data))
    half = len(data) // 2
    assert send(http, told["id"], 0, data[:half]).json()["offset"] == half
    early = http.post("/v1/answers", json={"task": "ask", "video": told["id"], "questions": ["?"]})
    assert (early.status_code, early.json()["error"]["code"]) == (400, "video_incomplete")
    again = send(http, told["id"], 0, data[:half])
    assert (again.status_code, again.json()["error"]["code"]) == (400, "offset_mismatch")
    assert str(half) in again.json()["error"]["message"]
    # Whoever lost the connection asks how far it came.
    offset = http.get(f"/v1/videos/{told['id']}").json()["offset"]
    done = send(http, told["id"], offset, data[offset:]).json()
    assert (done["status"], done["frames"], done["width"], done["height"]) == ("ready", 6, 112, 112)
    assert done["name"] == "a.mp4"
    assert http.delete(f"/v1/videos/{told['id']}").json()["deleted"] is True
    assert http.get(f"/v1/videos/{told['id']}").status_code == 404


@pytest.mark.parametrize(
    ("announced", "data", "status", "code"),
    [
        pytest.param({"bytes": 4}, b"12345", 413, "too_large", id="longer than announced"),
        pytest.param(
            {"bytes": 4, "sha256": "0" * 64}, b"1234", 400, "digest_mismatch", id="other content"
        ),
        pytest.param({"bytes": 4}, b"junk", 422, "unprocessable", id="no video"),
    ],
)
def test_bad_uploads(http, announced, data, status, code):
    video_id = http.post("/v1/videos", json=announced).json()["id"]
    answer = send(http, video_id, 0, data)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({}, 400, id="neither bytes nor path"),
        pytest.param({"bytes": 4, "path": "a.mp4"}, 400, id="both"),
        pytest.param({"bytes": 0}, 400, id="empty"),
        pytest.param({"bytes": 2**40}, 413, id="too large"),
        pytest.param({"bytes": 9, "sha256": "xyz"}, 400, id="no digest"),
        pytest.param({"path": "nothing.mp4"}, 404, id="no such file"),
    ],
)
def test_uploads_that_cannot_begin(http, body, status):
    answer = http.post("/v1/videos", json=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_file_in_an_allowed_folder(http, house, short):
    (house.folder / "sub").mkdir(exist_ok=True)
    (house.folder / "sub" / "clip.mp4").write_bytes(short.read_bytes())
    told = http.post("/v1/videos", json={"path": "sub/clip.mp4"}).json()
    assert (told["status"], told["name"], told["frames"]) == ("ready", "clip.mp4", 6)


@pytest.fixture(scope="module")
def tracks(http, video):
    begun = http.post("/v1/tracks", json={"video": video["id"], "regions": [BOX]})
    assert begun.status_code == 202
    events = []
    with http.stream("GET", f"/v1/tracks/{begun.json()['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
    assert events[-1]["status"] == "done", events[-1]
    return events[-1]


def test_objects_are_followed(http, tracks):
    [found] = tracks["objects"]
    assert (found["id"], found["num_frames"], found["last_frame"]) == (1, 6, 5)
    assert tracks["frames_done"] == tracks["frames_total"] == 6
    assert http.get(f"/v1/tracks/{tracks['id']}").json() == tracks


def test_tracks_come_in_every_format(http, tracks, tmp_path):
    from gar_video import Tracks, formats

    for name in formats.names(writable=True):
        answer = http.get(f"/v1/tracks/{tracks['id']}/file", params={"format": name})
        assert answer.status_code == 200, (name, answer.text)
        file = answer.headers["content-disposition"].split('"')[1]
        target = tmp_path / f"{name}-{file}"
        target.write_bytes(answer.content)
        if file.endswith(".zip"):
            target = tmp_path / name
            zipfile.ZipFile(io.BytesIO(answer.content)).extractall(target)
        read = Tracks.load(target, format=name, resolution_wh=(112, 112), num_frames=6)
        assert len(read[read.object_ids[0]]) == 6, name
    wrong = http.get(f"/v1/tracks/{tracks['id']}/file", params={"format": "nonsense"})
    assert wrong.status_code == 400
    assert "mot" in wrong.json()["error"]["message"]


def test_answers_of_every_kind(http, tracks):
    def asked(**body):
        answer = http.post("/v1/answers", json={"tracks": tracks["id"], **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    [described] = asked(task="describe", max_tokens=24)["answers"]
    assert "red" in described["text"]
    assert described["objects"] == [1]
    color, shape = asked(
        task="ask", questions=["What color is <1>?", "What shape is <1>?"], max_tokens=8
    )["answers"]
    assert ("red" in color["text"], "square" in shape["text"]) == (True, True)
    [choice] = asked(
        task="choose", questions=["What color is <1>?"], options=[["blue", "red", "green"]]
    )["answers"]
    assert (choice["option"], choice["letter"]) == ("red", "B")
    assert sum(choice["probabilities"]) == pytest.approx(1)
    timeline = asked(task="timeline", every_s=0.5, max_tokens=12)["timeline"]
    assert {segment["object_id"] for segment in timeline["segments"]} == {1}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        pytest.param({"task": "ask"}, 400, "expected video, url or tracks", id="nothing"),
        pytest.param({"task": "sing", "video": "x"}, 400, "describe", id="unknown task"),
        pytest.param({"task": "describe", "video": "x"}, 404, "no such video", id="unknown video"),
        pytest.param({"task": "describe", "tracks": "x"}, 404, "no such tracks", id="unknown tracks"),
        pytest.param({"task": "ask", "video": "x"}, 400, "needs questions", id="no questions"),
        pytest.param(
            {"task": "choose", "video": "x", "questions": ["?"]}, 400, "options", id="no options"
        ),
        pytest.param(
            {"task": "ask", "video": "x", "questions": ["?"] * 65}, 413, "64", id="many questions"
        ),
    ],
)  # fmt: skip
def test_answers_that_cannot_be(http, body, status, said):
    answer = http.post("/v1/answers", json=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_describing_needs_objects(http, video):
    answer = http.post("/v1/answers", json={"task": "describe", "video": video["id"]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "regions")


def test_uploads_and_tracks_are_removed_after_a_time(http, house, short, monkeypatch):
    told = upload(http, short)
    upload_of = house.service.uploads.get(told["id"], "at 127.0.0.1")
    assert upload_of.path.exists()
    monkeypatch.setattr(upload_of, "expires", 0.0)
    house.service.uploads.sweep()
    assert not upload_of.path.exists()
    assert http.get(f"/v1/videos/{told['id']}").status_code == 404


def test_callers_see_only_what_is_theirs(http, house, video):
    from gar_video.server.problems import Problem

    with pytest.raises(Problem) as caught:
        house.service.uploads.get(video["id"], "token 1")
    assert caught.value.status_code == 404
