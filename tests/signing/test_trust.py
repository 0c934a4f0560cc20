"""A signed folder is trusted as it was signed, and in no other state."""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.errors import ConfigError, ModelError
from edgeai.signing import files as files_module
from edgeai.signing.bundle import MAX_BUNDLE_BYTES
from edgeai.signing.files import ALWAYS_IGNORED, SIGNATURE
from edgeai.signing.keys import PrivateKey, PublicKey
from edgeai.signing.trust import Verified, misfit, sign_folder
from tests.support.signing import CURVES, FILES, leaves, new_keys, sign_payload, trusting
from tests.support.signing import write_folder as write


class Signed(NamedTuple):
    """A signed folder, and the keys."""

    folder: Path
    private: PrivateKey
    public: PublicKey

    def verify(self) -> Verified | None:
        return trusting(self.public).verify(self.folder)

    def still_is(self, right: Verified | None) -> bool:
        """Whether the signature is taken, then with the same result; else it is refused by name."""
        try:
            found = self.verify()
        except ModelError as error:
            if not str(error).startswith(f"{self.folder / SIGNATURE}: "):
                raise
            return False
        assert found == right
        return True

    def refused(self) -> str:
        with pytest.raises(ModelError) as caught:
            self.verify()
        text = str(caught.value)
        assert "\n" not in text
        return text


def make(folder: Path) -> Signed:
    private, public = new_keys(folder)
    write(folder / "press")
    sign_folder(folder / "press", private)
    return Signed(folder / "press", private, public)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return make(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    """Signed once for many examples; every example leaves it as it was."""
    one = make(tmp_path_factory.mktemp("kept"))
    yield one
    assert one.verify() is not None


@pytest.mark.parametrize("curve", CURVES)
def test_what_is_signed_is_trusted(tmp_path: Path, curve: str) -> None:
    private, public = new_keys(tmp_path, curve=curve)
    folder = write(tmp_path / "press")
    sign_folder(folder, private)
    found = trusting(public).verify(folder)
    assert found is not None
    assert (found.key_id, found.key_file) == (public.id, public.file)
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert found.files.digests == expected
    assert set(found.files.ignored) == set(ALWAYS_IGNORED)
    assert not misfit(folder)


def test_the_id_of_a_key_is_the_hash_of_its_public_file(tmp_path: Path) -> None:
    """So that anybody can compare it: sha256sum key.pub.pem."""
    private, public = new_keys(tmp_path)
    assert private.id == public.id
    assert public.id == hashlib.sha256(Path(public.file).read_bytes()).hexdigest()


def test_a_folder_may_be_moved_renamed_and_led_to_by_a_link(signed: Signed) -> None:
    moved = signed.folder.with_name("other")
    signed.folder.rename(moved)
    signed.folder.symlink_to(moved)
    for folder in (moved, signed.folder):
        assert trusting(signed.public).verify(folder) is not None


# ---------------------------------------------------------------- the files


@given(st.data())
def test_any_changed_byte_of_any_file_is_seen(kept: Signed, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name, content in FILES.items() if content]))
    content = bytearray(FILES[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = kept.folder / name
    try:
        path.write_bytes(content)
        assert f"{name}: is not what was signed" in kept.refused()
        assert "no longer fits" in misfit(kept.folder)
    finally:
        path.write_bytes(FILES[name])


@given(st.sampled_from(list(FILES)), st.binary(min_size=1, max_size=20))
def test_appended_bytes_are_seen(kept: Signed, name: str, more: bytes) -> None:
    path = kept.folder / name
    try:
        path.write_bytes(FILES[name] + more)
        assert "is not what was signed" in kept.refused()
    finally:
        path.write_bytes(FILES[name])


def add(folder: Path) -> str:
    (folder / "training" / "extra").write_bytes(b"")
    return "training/extra: is not among the signed files"


def add_below_the_name_of_an_ignored_file(folder: Path) -> str:
    (folder / "training" / SIGNATURE).write_bytes(b"")
    return f"training/{SIGNATURE}: is not among the signed files"


def add_a_like_name(folder: Path) -> str:
    (folder / "model.sig2").write_bytes(b"")
    return "model.sig2: is not among the signed files"


def remove(folder: Path) -> str:
    (folder / "golden.npz").unlink()
    return "golden.npz: is among the signed files, but is not there"


def rename(folder: Path) -> str:
    (folder / "golden.npz").rename(folder / "Golden.npz")
    return "Golden.npz: is not among the signed files"


def exchange(folder: Path) -> str:
    (folder / "golden.npz").rename(folder / "x")
    (folder / "model.onnx").rename(folder / "golden.npz")
    (folder / "x").rename(folder / "model.onnx")
    return "golden.npz: is not what was signed"


def link(folder: Path) -> str:
    (folder / "golden.npz").rename(folder.parent / "golden.npz")
    (folder / "golden.npz").symlink_to(folder.parent / "golden.npz")
    return "golden.npz: is a link"


def link_a_folder(folder: Path) -> str:
    (folder / "more").symlink_to(folder / "training")
    return "more: is a link"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe: must be a plain file"


def folder_in_place_of_a_file(folder: Path) -> str:
    (folder / "golden.npz").unlink()
    (folder / "golden.npz").mkdir()
    return "golden.npz: is among the signed files, but is not there"


def no_name_of_utf_8(folder: Path) -> str:
    Path(os.fsdecode(bytes(folder) + b"/\xff")).write_bytes(b"")
    return "\\udcff: the name of a file must be UTF-8"


def line_break(folder: Path) -> str:
    (folder / "a\nb").write_bytes(b"")
    return "a\\nb: is not among the signed files"


def unsigned(folder: Path) -> str:
    (folder / SIGNATURE).unlink()
    return f"{SIGNATURE}: no such file, but models.require_signature asks for a signature"


def signature_is_a_pipe(folder: Path) -> str:
    (folder / SIGNATURE).unlink()
    os.mkfifo(folder / SIGNATURE)
    return f"{SIGNATURE}: must be a plain file"


def signature_is_a_folder(folder: Path) -> str:
    (folder / SIGNATURE).unlink()
    (folder / SIGNATURE).mkdir()
    return f"{SIGNATURE}: "


def signature_leads_nowhere(folder: Path) -> str:
    (folder / SIGNATURE).unlink()
    (folder / SIGNATURE).symlink_to("nowhere")
    return f"{SIGNATURE}: cannot be read: No such file"


def signature_is_large(folder: Path) -> str:
    (folder / SIGNATURE).write_bytes(b" " * (MAX_BUNDLE_BYTES + 1))
    return f"{SIGNATURE}: must not be larger than"


@pytest.mark.parametrize(
    "change",
    [
        add, add_below_the_name_of_an_ignored_file, add_a_like_name, remove, rename, exchange, link,
        link_a_folder, pipe, folder_in_place_of_a_file, no_name_of_utf_8, line_break, unsigned,
        signature_is_a_pipe, signature_is_a_folder, signature_leads_nowhere, signature_is_large,
    ],
)  # fmt: skip
def test_a_changed_folder_is_refused(signed: Signed, change: Callable[[Path], str]) -> None:
    expected = change(signed.folder)
    assert expected in signed.refused()


@pytest.mark.parametrize("change", [link, link_a_folder, pipe, no_name_of_utf_8])
def test_what_cannot_be_verified_is_not_signed(
    signed: Signed, change: Callable[[Path], str]
) -> None:
    expected = change(signed.folder)
    with pytest.raises(ModelError) as caught:
        sign_folder(signed.folder, signed.private)
    assert expected in str(caught.value)


def test_what_git_and_the_signature_hold_is_ignored(signed: Signed) -> None:
    write(
        signed.folder,
        {".git/objects/a": b"1", ".github/a": b"1", ".gitignore": b"1", ".gitattributes": b"1"},
    )
    (signed.folder / "empty").mkdir()
    assert signed.verify() is not None


def test_the_number_of_entries_and_bytes_is_bounded(
    signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "MAX_FILES", 6)  # six files and a folder
    assert "must not hold more than 6 files and folders" in signed.refused()
    monkeypatch.setattr(files_module, "MAX_FILES", 7)
    assert signed.verify() is not None
    size = sum(map(len, FILES.values()))
    monkeypatch.setattr(files_module, "MAX_PACKAGE_BYTES", size)
    assert signed.verify() is not None
    monkeypatch.setattr(files_module, "MAX_PACKAGE_BYTES", size - 1)
    assert f"must not hold more than {size - 1} bytes (found {size})" in signed.refused()


def test_unlisted_files_are_not_read(signed: Signed) -> None:
    """A large file beside the package must not cost its reading."""
    with (signed.folder / "sparse").open("wb") as file:
        file.truncate(8 * 1024**3)
    assert "sparse: is not among the signed files" in signed.refused()


# ---------------------------------------------------------------- the bundle

BELIEVED_IN_NOTHING = {
    ("verificationMaterial", "tlogEntries"),
    ("dsseEnvelope", "signatures", 0, "keyid"),
}
"""Places of a bundle that are not read."""
HINT = ("verificationMaterial", "publicKey", "hint")


def changed(bundle: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return a bundle with another value at a place; `...` removes it."""
    copied = copy.deepcopy(bundle)
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copied


OTHER_VALUES: list[Any] = [..., None, "", "x", "AAAA", "=", "é", 1, True, [], ["x"], {}, {"a": 1}]


def test_any_other_value_in_the_bundle_is_refused_or_not_read(kept: Signed) -> None:
    path = kept.folder / SIGNATURE
    content = path.read_bytes()
    bundle, right = json.loads(content), kept.verify()
    taken = set()
    try:
        for place in leaves(bundle):
            for value in OTHER_VALUES:
                path.write_text(json.dumps(changed(bundle, place, value)))
                if kept.still_is(right):
                    taken.add(place)
    finally:
        path.write_bytes(content)
    # Without a hint every trusted key is tried.
    assert taken == {*BELIEVED_IN_NOTHING, HINT, HINT[:-1], HINT[:-2]}


@given(st.data())
def test_any_changed_byte_of_the_signature_is_refused_or_not_read(
    kept: Signed, data: st.DataObject
) -> None:
    path = kept.folder / SIGNATURE
    content, right = path.read_bytes(), kept.verify()
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(damaged)
        kept.still_is(right)
    finally:
        path.write_bytes(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_in_place_of_a_signature_is_refused(kept: Signed, garbage: bytes) -> None:
    path = kept.folder / SIGNATURE
    content = path.read_bytes()
    try:
        path.write_bytes(garbage)
        assert "is no Sigstore bundle" in kept.refused()
    finally:
        path.write_bytes(content)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_a_signed_payload_of_garbage_is_refused(kept: Signed, garbage: bytes) -> None:
    path = kept.folder / SIGNATURE
    content = path.read_bytes()
    try:
        sign_payload(path, garbage, kept.private)
        assert "the signed statement is damaged" in kept.refused()
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("deep", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b'{"mediaType":' * 9999])
def test_deep_nesting_is_refused(signed: Signed, deep: bytes) -> None:
    (signed.folder / SIGNATURE).write_bytes(deep)
    assert "is no Sigstore bundle" in signed.refused()
    sign_payload(signed.folder / SIGNATURE, deep, signed.private)
    assert "the signed statement is damaged" in signed.refused()


@pytest.mark.parametrize("more", [" ", "\n", "!", "-", "=="])
@pytest.mark.parametrize("field", ["payload", "sig"])
def test_base64_with_other_characters_is_refused(signed: Signed, field: str, more: str) -> None:
    """A lax decoder skips them, so that one statement would have many texts."""
    path = signed.folder / SIGNATURE
    bundle = json.loads(path.read_bytes())
    envelope = bundle["dsseEnvelope"]
    place = envelope if field == "payload" else envelope["signatures"][0]
    place[field] = place[field][:8] + more + place[field][8:]
    path.write_text(json.dumps(bundle))
    assert "payload and signature must be base64" in signed.refused()


def test_two_signatures_in_one_bundle_are_refused(signed: Signed) -> None:
    path = signed.folder / SIGNATURE
    bundle = json.loads(path.read_bytes())
    bundle["dsseEnvelope"]["signatures"] *= 2
    path.write_text(json.dumps(bundle))
    assert "must hold one signature, but holds 2" in signed.refused()


# ---------------------------------------------------------------- the statement


def statement_of(signed: Signed) -> Any:
    bundle = json.loads((signed.folder / SIGNATURE).read_bytes())
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def root(resources: list[dict[str, str]]) -> str:
    digests = b"".join(bytes.fromhex(one["digest"]) for one in resources)
    return hashlib.sha256(digests).hexdigest()


def with_names(*names: str) -> dict[str, Any]:
    made = [{"name": name, "algorithm": "sha256", "digest": "00" * 32} for name in names]
    return {"resources": made}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1", "_type must be"),
        (("predicateType",), "https://model_signing/Digests/v0.1", "predicateType must be"),
        (("predicateType",), "https://slsa.dev/provenance/v1", "predicateType must be"),
        (("subject",), [], "must have one subject, but has 0"),
        (("subject", 0, "digest", "sha256"), "00" * 32, "the digest of the subject"),
        (("subject", 0, "digest"), {"sha512": "00" * 64}, "the digest of the subject"),
        (("predicate", "serialization", "method"), "shards", "serialization.method must be"),
        (("predicate", "serialization", "hash_type"), "blake3", "serialization.hash_type must be"),
        (("predicate", "serialization", "ignore_paths"), ["."], "names must be relative"),
        (("predicate", "serialization", "ignore_paths"), ["../x"], "names must be relative"),
        (("predicate", "serialization", "ignore_paths"), ["a"] * 101, "more than 100 paths"),
        (("predicate",), with_names(), "must sign 1 to 10000 files, but signs 0"),
        (("predicate",), with_names("/etc/passwd"), "names must be relative"),
        (("predicate",), with_names("a/../b"), "names must be relative"),
        (("predicate",), with_names("a//b"), "names must be relative"),
        (("predicate",), with_names(""), "names must be relative"),
        (("predicate",), with_names("a\0"), "names must be relative"),
        (("predicate",), with_names("a", "a"), "lists a twice"),
        (("predicate", "resources", 0, "algorithm"), "sha1", "must be 'sha256' (found 'sha1')"),
        (("predicate", "resources", 0, "digest"), "0" * 63, "is no SHA-256"),
        (("predicate", "resources", 0, "digest"), "AB" * 32, "is no SHA-256"),
        (("predicate", "resources", 0, "digest"), 1, "the signed statement is damaged"),
    ],
)
def test_a_statement_that_breaks_a_rule_is_refused(
    signed: Signed, place: tuple[str | int, ...], value: Any, said: str
) -> None:
    """Also if a trusted key has signed it."""
    statement = statement_of(signed)
    if place == ("predicate",):
        value = {**statement["predicate"], **value}
    statement = changed(statement, place, value)
    if place[0] == "predicate":
        with contextlib.suppress(ValueError, TypeError):  # a digest that is none
            statement["subject"][0]["digest"]["sha256"] = root(statement["predicate"]["resources"])
    sign_payload(signed.folder / SIGNATURE, json.dumps(statement).encode(), signed.private)
    assert said in signed.refused()


def test_what_a_signer_leaves_out_is_ignored_and_told(signed: Signed) -> None:
    statement = statement_of(signed)
    predicate = statement["predicate"]
    predicate["serialization"]["ignore_paths"].append("training")
    predicate["resources"] = [
        one for one in predicate["resources"] if not one["name"].startswith("training/")
    ]
    predicate["more"] = statement["more"] = {"of": "a later version"}
    statement["subject"][0]["digest"]["sha256"] = root(predicate["resources"])
    sign_payload(signed.folder / SIGNATURE, json.dumps(statement).encode(), signed.private)
    (signed.folder / "training" / "train.py").write_bytes(b"changed")
    found = signed.verify()
    assert found is not None
    assert "training" in found.files.ignored
    with pytest.raises(ModelError, match=r"train\.py: is used by the model, but its signer"):
        found.check_covers(signed.folder, "training/train.py")


# ---------------------------------------------------------------- keys and files of signatures


def test_another_key_is_refused_and_both_are_named(signed: Signed, tmp_path: Path) -> None:
    other, public = new_keys(tmp_path, "other")
    with pytest.raises(ModelError) as caught:
        trusting(public).verify(signed.folder)
    text = str(caught.value)
    assert f"{public.file} ({public.id[:16]})" in text
    assert f"(found '{signed.public.id[:16]}')" in text
    # A forger writes the trusted key's id into his own bundle.
    sign_payload(
        signed.folder / SIGNATURE,
        json.dumps(statement_of(signed)).encode(),
        other,
        hint=signed.public.id,
    )
    assert "the signature is wrong" in signed.refused()


@pytest.mark.parametrize("hint", [None, ""])
def test_of_several_trusted_keys_the_right_one_is_named(
    signed: Signed, tmp_path: Path, hint: str | None
) -> None:
    others = [new_keys(tmp_path, f"other-{curve}", curve)[1] for curve in CURVES]
    payload = json.dumps(statement_of(signed)).encode()
    sign_payload(signed.folder / SIGNATURE, payload, signed.private, hint)
    found = trusting(*others, signed.public).verify(signed.folder)
    assert found is not None
    assert found.key_id == signed.public.id


def test_an_unsigned_folder_is_taken_only_where_none_is_required(signed: Signed) -> None:
    lenient = trusting(signed.public, require_signature=False)
    assert lenient.verify(signed.folder) is not None
    (signed.folder / "golden.npz").write_bytes(b"changed")
    with pytest.raises(ModelError, match="is not what was signed"):
        lenient.verify(signed.folder)
    (signed.folder / SIGNATURE).unlink()
    assert lenient.verify(signed.folder) is None
    assert not misfit(signed.folder)
    (signed.folder / SIGNATURE).symlink_to("nowhere")
    with pytest.raises(ModelError, match="cannot be read"):
        lenient.verify(signed.folder)


@pytest.mark.parametrize("place", ["press/release.sig", "release.sig"])
def test_a_signature_of_another_name_or_place(signed: Signed, place: str) -> None:
    output = signed.folder.parent / place
    sign_folder(signed.folder, signed.private, output)
    trust = trusting(signed.public, signature=output)
    assert trust.verify(signed.folder) is not None
    assert output.stat().st_mode & 0o777 == 0o644
    before = output.read_bytes()
    sign_folder(signed.folder, signed.private, output)  # again, over it
    assert output.read_bytes() != before


def test_no_other_file_is_overwritten(signed: Signed) -> None:
    with pytest.raises(ConfigError, match=r"model\.onnx: is there and is no signature"):
        sign_folder(signed.folder, signed.private, signed.folder / "model.onnx")
    assert (signed.folder / "model.onnx").read_bytes() == FILES["model.onnx"]


def test_an_empty_folder_is_not_signed(tmp_path: Path) -> None:
    private, _ = new_keys(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no file to sign"):
        sign_folder(tmp_path / "empty", private)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_what_is_signed(signed: Signed, tmp_path: Path) -> None:
    """The signature is plain ECDSA over DSSE's encoding, by the word of another program."""
    bundle = json.loads((signed.folder / SIGNATURE).read_bytes())["dsseEnvelope"]
    payload = base64.b64decode(bundle["payload"])
    kind = bundle["payloadType"]
    encoded = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    (tmp_path / "data").write_bytes(encoded)
    (tmp_path / "sig").write_bytes(base64.b64decode(bundle["signatures"][0]["sig"]))
    command = ["openssl", "dgst", "-sha256", "-verify", signed.public.file]
    command += ["-signature", str(tmp_path / "sig"), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Verified OK"
