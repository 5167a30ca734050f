"""Models that are missing, unsafe, damaged, or of another kind: a sentence with the way out, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from limbeck_server.priors.model_files import DOWNLOAD_PATTERNS, HUB_NAMES, find_model
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.stable_diffusion import load_stable_diffusion
from safetensors.torch import load_file, save_file

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_stable_diffusion: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_stable_diffusion("epsilon"), tmp_path / "my-model"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no way out of this machine."""
    place = tmp_path / "hub"
    place.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(place))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return place


def put_into_cache(cache: Path, name: str, folder: Path) -> Path:
    repository, revision = cache / f"models--{name.replace('/', '--')}", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    return Path(shutil.copytree(folder, repository / "snapshots" / revision))


def refusal(model: Path | str, **options: bool) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_stable_diffusion(str(model), torch.device("cpu"), torch.float32, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- finding ----------------------------------------------------------------------------------------------------------


def test_a_local_folder_is_taken_as_it_is(folder: Path) -> None:
    files = find_model(str(folder))
    assert (files.name, files.folder) == ("my-model", folder)


def test_a_hub_id_is_found_in_the_cache(folder: Path, cache: Path) -> None:
    snapshot = put_into_cache(cache, "someone/some-model", folder)
    files = find_model("someone/some-model")
    assert (files.name, files.folder) == ("someone/some-model", snapshot)
    assert load_stable_diffusion("someone/some-model", torch.device("cpu"), torch.float32).name == "someone/some-model"


def test_the_first_known_name_that_is_there_is_taken(folder: Path, cache: Path) -> None:
    put_into_cache(cache, HUB_NAMES[-1], folder)
    assert find_model("stable-diffusion").name == HUB_NAMES[-1]
    broken = put_into_cache(cache, HUB_NAMES[1], folder)
    (broken / UNET).unlink()
    assert find_model("stable-diffusion").name == HUB_NAMES[-1]
    put_into_cache(cache, HUB_NAMES[0], folder)
    assert find_model("stable-diffusion").name == HUB_NAMES[0]


def test_a_broken_one_is_named_where_no_other_is_there(folder: Path, cache: Path) -> None:
    (put_into_cache(cache, HUB_NAMES[1], folder) / UNET).unlink()
    error = refusal("stable-diffusion")
    assert error.code == "MODEL_CORRUPT"
    assert f"{UNET} is missing" in str(error)
    assert f"hf download {HUB_NAMES[1]} " in str(error)


@pytest.mark.parametrize("model", ["stable-diffusion", "someone/some-model"])
def test_a_missing_model_says_the_command_that_gets_it(cache: Path, model: str) -> None:
    error = refusal(model)
    assert error.code == "MODEL_NOT_FOUND"
    name = HUB_NAMES[0] if model == "stable-diffusion" else model
    assert f"`hf download {name} " in str(error)
    assert all(f'"{pattern}"' in str(error) for pattern in DOWNLOAD_PATTERNS)
    assert "--allow-download" in str(error)


def test_the_command_asks_for_no_pickles() -> None:
    assert not [p for p in DOWNLOAD_PATTERNS if not p.endswith((".json", ".txt", ".safetensors"))]


def test_a_download_that_cannot_be_made_names_every_reason(cache: Path) -> None:
    error = refusal("stable-diffusion", allow_download=True)
    assert error.code == "MODEL_NOT_FOUND"
    assert all(name in str(error) for name in HUB_NAMES)
    assert "Check the connection" in str(error)


@pytest.mark.parametrize(
    "model", ["no-such-folder", "./no/such/folder", "~nobody-here/model", "a/b/c", "../x", "a b/c"]
)
def test_what_is_neither_folder_nor_hub_id_is_refused(cache: Path, model: str) -> None:
    error = refusal(model)
    assert error.code == "MODEL_NOT_FOUND"
    assert repr(model) in str(error)
    assert "'stable-diffusion'" in str(error)


# --- what is no model -------------------------------------------------------------------------------------------------


def test_a_folder_without_an_index_is_no_model(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.code == "MODEL_NOT_FOUND"
    assert "it has no model_index.json" in str(error)


@pytest.mark.parametrize(("file", "code"), [("sd.ckpt", "MODEL_UNSAFE"), ("sd.safetensors", "MODEL_NOT_FOUND")])
def test_a_single_file_is_no_folder(tmp_path: Path, file: str, code: str) -> None:
    (tmp_path / file).write_bytes(b"x")
    error = refusal(tmp_path / file)
    assert error.code == code
    assert file in str(error)


def test_another_kind_of_pipeline_is_named(folder: Path) -> None:
    change_json(
        folder / "model_index.json",
        _class_name="FluxPipeline",
        unet=None,
    )
    error = refusal(folder)
    assert error.code == "MODEL_NOT_FOUND"
    assert "FluxPipeline whose unet is None, not a UNet2DConditionModel" in str(error)


def test_two_text_encoders_are_one_too_many(folder: Path) -> None:
    change_json(
        folder / "model_index.json",
        _class_name="StableDiffusionXLPipeline",
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
    )
    error = refusal(folder)
    assert error.code == "MODEL_NOT_FOUND"
    assert "StableDiffusionXLPipeline with a second text encoder" in str(error)


def test_a_model_for_inpainting_is_refused(folder: Path) -> None:
    weights = load_file(folder / UNET)
    weights["conv_in.weight"] = torch.zeros(8, 9, 3, 3)
    save_file(weights, folder / UNET, {"format": "pt"})
    change_json(folder / "unet" / "config.json", in_channels=9)
    error = refusal(folder)
    assert error.code == "MODEL_NOT_FOUND"
    assert "takes 9 channels where its VAE makes 4" in str(error)


def test_a_model_that_predicts_something_else_is_refused(folder: Path) -> None:
    change_json(folder / "scheduler" / "scheduler_config.json", prediction_type="sample")
    assert "predicts 'sample'; known are epsilon and v_prediction" in str(refusal(folder))


# --- unsafe and damaged -----------------------------------------------------------------------------------------------


def test_pickled_weights_are_never_opened(folder: Path, tmp_path: Path) -> None:
    # The pickle would make a file if anybody read it.
    witness = tmp_path / "opened"
    pickle = b"cos\nsystem\n(S'touch " + str(witness).encode() + b"'\ntR."
    (folder / UNET).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle)
    error = refusal(folder)
    assert error.code == "MODEL_UNSAFE"
    assert "unet has no diffusion_pytorch_model.safetensors, only pickled weights" in str(error)
    assert not witness.exists()


def test_a_folder_of_checkpoints_is_unsafe(tmp_path: Path) -> None:
    (tmp_path / "v2-1.ckpt").write_bytes(b"x")
    assert refusal(tmp_path).code == "MODEL_UNSAFE"


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("kept", [0, 4, 1000, -10])
def test_truncated_weights_are_named(folder: Path, part: str, kept: int) -> None:
    file = next((folder / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:kept])
    error = refusal(folder)
    assert error.code == "MODEL_CORRUPT"
    assert f"{part}/{file.name} is damaged" in str(error)
    assert str(folder) not in str(error)


def test_weights_that_lack_a_tensor_are_not_filled_with_noise(folder: Path) -> None:
    for part, key in (("unet", "conv_in.bias"), ("vae", "encoder.conv_in.bias")):
        file = next((folder / part).glob("*.safetensors"))
        whole = load_file(file)
        save_file({name: value for name, value in whole.items() if name != key}, file, {"format": "pt"})
        error = refusal(folder)
        assert error.code == "MODEL_CORRUPT"
        assert f"1 weights of its {part} are missing, such as {key}" in str(error)
        save_file(whole, file, {"format": "pt"})


def test_a_text_encoder_that_lacks_a_tensor_is_refused(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    gone = next(name for name in weights if name.endswith("final_layer_norm.weight"))
    del weights[gone]
    save_file(weights, file, {"format": "pt"})
    error = refusal(folder)
    assert error.code == "MODEL_CORRUPT"
    assert "1 weights of its text_encoder are missing" in str(error)


@pytest.mark.parametrize(
    "file",
    ["unet/config.json", "vae/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json", UNET],
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    error = refusal(folder)
    assert error.code == "MODEL_CORRUPT"
    assert f"{file} is missing" in str(error)


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "tokenizer/tokenizer_config.json"])
def test_a_garbled_configuration_is_named(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content, encoding="latin-1")
    error = refusal(folder)
    assert error.code == "MODEL_CORRUPT"
    assert file.rpartition("/")[2] in str(error)
    assert str(folder) not in str(error)


@pytest.mark.parametrize(
    ("file", "content"),
    [("tokenizer/vocab.json", "{"), ("tokenizer/merges.txt", "#version: 0.2\nno such tokens\n")],
)
def test_a_garbled_vocabulary_is_refused(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content)
    error = refusal(folder)
    assert error.code == "MODEL_CORRUPT"
    assert str(folder) not in str(error)


@pytest.mark.parametrize("file", ["tokenizer/vocab.json", "tokenizer/merges.txt"])
def test_a_missing_vocabulary_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert f"{file} is missing" in str(refusal(folder))


def test_parts_that_do_not_belong_together_are_refused(folder: Path) -> None:
    change_json(folder / "unet" / "config.json", cross_attention_dim=24)
    assert refusal(folder).code == "MODEL_CORRUPT"


# --- layouts as on the hub --------------------------------------------------------------------------------------------


def test_half_precision_variants_serve_where_they_are_all_there_is(folder: Path) -> None:
    half = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    save_file({name: value.half() for name, value in load_file(folder / UNET).items()}, half, {"format": "pt"})
    (folder / UNET).unlink()
    assert find_model(str(folder)).variant == {"unet": "fp16", "vae": None, "text_encoder": None}
    prior = load_stable_diffusion(str(folder), torch.device("cpu"), torch.float32)
    assert prior.dtype == torch.float32


def test_the_names_that_old_files_give_their_weights_are_understood(folder: Path) -> None:
    """The files of 1.5 and 2.1 are older than today's names: attention in the VAE, a prefix in the text encoder."""
    expected = load_stable_diffusion(str(folder), torch.device("cpu"), torch.float32)
    file = folder / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(file).items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(weights, file, {"format": "pt"})
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        weights = {k.replace(f"attentions.0.{new}", f"attentions.0.{old}"): v for k, v in weights.items()}
    save_file(weights, file, {"format": "pt"})
    came = load_stable_diffusion(str(folder), torch.device("cpu"), torch.float32)
    for part in ("vae", "text_encoder"):
        one, two = (getattr(prior._networks, part).state_dict() for prior in (expected, came))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
