"""Write a network into a folder that timm loads."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from archsearch import __version__
from archsearch.errors import OptionError
from archsearch.handover.contents import Content, find_content
from archsearch.handover.export_spec import Exported, ExportSpec
from archsearch.handover.full_training import training_command
from archsearch.handover.model_card import model_card
from archsearch.handover.model_file import identifier
from archsearch.handover.references import Subject, find_subject
from archsearch.handover.timm_config import ARCHITECTURE, CONFIG, OWN, Preprocessing, timm_config
from archsearch.handover.timm_form import TimmForm, check_logits, rebuild, timm_form
from archsearch.nn import load_mixers
from archsearch.nn.onnx_export import check_onnx, export_onnx

#: Names of the files besides the Python file.
WEIGHTS, CARD, ONNX = "model.safetensors", "README.md", "model.onnx"
#: What the configuration says of how its weights were trained, where that is known.
TRAINED = ("study", "trial", "seed", "data", "split", "accuracy")
#: What stands for the folder in the card, which moves with it.
ANY_FOLDER = Path("DIR")


def export(spec: ExportSpec) -> Exported:
    """Write a network into a folder that timm loads by ``timm.create_model("local-dir:DIR", pretrained=True)``.

    The folder appears in one step, once timm's network is known to have the logits of ours.

    Raises:
        UserError: The network, its weights or the folder are not to be had; the message says what would be right.
        ArchsearchError: timm's network has other logits.
    """
    with torch.random.fork_rng(devices=[]):  # networks draw weights before they load them
        return _export(spec)


def _export(spec: ExportSpec) -> Exported:
    for path in spec.mixers:
        load_mixers(path)
    if spec.name is not None and _is_timms(spec.name):
        raise OptionError(f"the name {spec.name} is a network of timm's; choose another, as net_{spec.name}")
    check_folder(spec.out, spec.force)
    if spec.onnx:
        check_onnx()
    subject = find_subject(spec.network, spec.storage)
    content = find_content(spec, subject)
    name = spec.name or model_name(subject, content)
    images = Preprocessing.of(content.arch, content.facts, content.options)
    form = timm_form(content.arch, content.model.state_dict(), name, images, content.deploy)
    target = spec.out.absolute()
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        scratch.mkdir(parents=True)
        made = _write(spec, subject, content, form, scratch)
        _put(scratch, target)
    except OSError as error:
        raise OptionError(f"--out {spec.out}: cannot write it: {error.strerror}; name another folder") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return made


def model_name(subject: Subject, content: Content) -> str:
    """Return a name for the generated file and its entry point, which is not yet one of timm's."""
    stem = Path(subject.name).stem if subject.origin is None else subject.name
    name = identifier(stem + "_proxy" * content.proxy + "_deploy" * content.deploy)
    return f"net_{name}" if _is_timms(name) else name


def _is_timms(name: str) -> bool:
    """Tell whether a name is that of a network in timm, not one that a generated file has registered."""
    return timm.is_model(name) and timm.models.model_entrypoint(name).__module__.startswith("timm.")


def check_folder(folder: Path, force: bool) -> None:
    """Check that a folder may be written: there is none, or an earlier export, or nothing in it, may be replaced.

    Raises:
        OptionError: It may not.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not force:
        raise OptionError(f"--out {folder} exists; --force replaces an earlier export, or name another folder")
    if not folder.is_dir() or folder.is_symlink():
        raise OptionError(f"--out {folder} is no folder; name another one")
    names = {path.name for path in folder.iterdir()} - {"__pycache__"}
    if foreign := sorted(names - _files_of(folder)):
        raise OptionError(f"--out {folder} holds {foreign[0]}, which no export wrote; move it, or name another folder")


def _files_of(folder: Path) -> set[str]:
    """Return the names of the files that an earlier export wrote; empty where there was none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return {*json.loads((folder / CONFIG).read_text(encoding="utf-8"))[OWN]["files"]}
    return set()


def _write(spec: ExportSpec, subject: Subject, content: Content, form: TimmForm, folder: Path) -> Exported:
    """Write all files into a folder, prove that they are the network, and return what they are."""
    size = content.arch.img_size
    onnx = export_onnx(content.model, size, folder / ONNX).names if spec.onnx else ()
    made = _record(spec, subject, content, form, onnx)
    own = {
        "version": __version__,
        "network": subject.name,
        "arch_key": content.arch.key,
        "form": "deploy" if content.deploy else "train",
        "weights": content.words,
        "trained": {key: content.facts[key] for key in TRAINED if key in content.facts},
        "files": made.files,
    }
    config = timm_config(form.entry, content.arch, form.args, form.cfg, content.facts.get("classes", ()), own)
    save_file({key: value.contiguous() for key, value in form.state.items()}, folder / WEIGHTS, {"format": "pt"})
    _write_json(folder / ARCHITECTURE, content.arch.to_dict())
    _write_json(folder / CONFIG, config)
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors keeps others from reading it
    if form.source is not None:
        (folder / f"{form.entry}.py").write_text(form.source, encoding="utf-8")
    check_logits(content.model, rebuild(folder, form), size)
    anywhere = _record(replace(spec, out=ANY_FOLDER), subject, content, form, onnx)
    (folder / CARD).write_text(model_card(spec, subject, anywhere, content.facts), encoding="utf-8")
    return made


def _record(spec: ExportSpec, subject: Subject, content: Content, form: TimmForm, onnx: tuple[str, ...]) -> Exported:
    """Return the record of an export into a folder, with the names of its files for ONNX."""
    folder, module = spec.out, form.module
    params = sum(value.numel() for value in content.model.parameters())
    own_files = [*([f"{module}.py"] if module else []), *onnx]
    path, place = (json.dumps(text, ensure_ascii=False) for text in (str(folder), f"local-dir:{folder}"))
    found = [f"import sys; sys.path.insert(0, {path}); import {module}"] if module else []
    kind = "Proxy network" if content.proxy else "Target network"
    subject_words = f"{kind} of {subject.name}" if subject.origin else subject.name
    return Exported(
        folder=folder,
        subject=subject_words + ", in its deploy form" * content.deploy,
        arch=content.arch,
        params=params,
        weights=content.words,
        entry=form.entry,
        module=module,
        reason=form.reason,
        files=(WEIGHTS, ARCHITECTURE, CONFIG, CARD, *own_files),
        loading=(*found, f"import timm; model = timm.create_model({place}, pretrained=True)"),
        training=None if content.proxy or content.deploy else training_command(folder, module, content.arch, params),
    )


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _put(scratch: Path, folder: Path) -> None:
    """Put a complete folder in its place; an earlier one stays until then."""
    if not folder.exists():
        scratch.replace(folder)
        return
    former = folder.with_name(f".{folder.name}.{os.getpid()}.former")
    folder.replace(former)
    try:
        scratch.replace(folder)
    except OSError:
        former.replace(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)
