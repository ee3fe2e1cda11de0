from __future__ import annotations

import pytest
import torch

from gar_video.config import GARConfig
from gar_video.model import FeatureMap, GARModel, ModelInputs


def small_config(cls_token=True, pooling=2, prompts=5, **changes):
    """A model of the published layout, small enough to build in a test."""
    return GARConfig(
        mllm_config={
            "vision_config": {
                "model_type": "timm_wrapper",
                "architecture": "vit_pe_core_large_patch14_336",
                "model_args": {
                    "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": [112, 112],
                    "ref_feat_shape": [8, 8], "global_pool": "", "class_token": cls_token,
                    "init_values": 0.1, "use_post_transformer_norm": False,
                },
            },
            "text_config": {
                "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2,
                "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48,
                "vocab_size": 100, "max_position_embeddings": 2048,
            },
            "vision_use_cls_token": cls_token,
            "projector_pooling_ratio": pooling,
            "image_token_id": 3,
        },
        prompt_numbers=prompts,
        crop_tokens_ids=list(range(10, 10 + prompts)),
        **changes,
    )  # fmt: skip


@pytest.fixture(params=[True, False], ids=["class token", "no class token"])
def model(request):
    torch.manual_seed(0)
    return GARModel(small_config(request.param)).eval()


def inputs_of(frames, boxes, seed=0, batch=1):
    """Frames, then regions, then three words, in each row."""
    generator = torch.Generator().manual_seed(seed)
    regions = len(boxes) // batch
    length = (frames + regions) * 16 + 3
    image = torch.zeros(batch, length, dtype=torch.bool)
    image[:, : frames * 16] = True
    region = torch.zeros_like(image)
    region[:, frames * 16 : -3] = True
    return ModelInputs(
        input_ids=torch.randint(20, 100, (batch, length), generator=generator),
        pixel_values=torch.randn(batch * frames, 3, 112, 112, generator=generator),
        mask_values=(torch.rand(batch * frames, 1, 112, 112, generator=generator) > 0.7)
        .expand(-1, 3, -1, -1)
        .float(),
        image_positions=image,
        region_positions=region,
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5),
        feature_maps=tuple(FeatureMap(t) for t in range(batch * frames)),
    )


@pytest.mark.parametrize("pooling", [1, 2, 4])
def test_sizes_come_from_the_config(pooling):
    config = small_config(pooling=pooling, prompts=9)
    assert config.grid_size == 8 // pooling
    assert config.replay_spatial_scale == pytest.approx(1 / (14 * pooling))
    assert config.context_length == 2048
    model = GARModel(config).eval()
    with torch.no_grad():
        assert model.encode_tiles(torch.zeros(2, 3, 112, 112)).shape == (2, (8 // pooling) ** 2, 32)


def test_mask_embedding_is_added_and_taken_away_again(model):
    inputs = inputs_of(2, [])
    with torch.no_grad():
        bare = model.encode_tiles(inputs.pixel_values)
        masked = model.encode_tiles(inputs.pixel_values, inputs.mask_values)
        empty = model.encode_tiles(inputs.pixel_values, torch.zeros_like(inputs.mask_values))
        bare_again = model.encode_tiles(inputs.pixel_values)
    assert not torch.allclose(bare, masked, atol=1e-4)
    assert torch.equal(bare, empty)
    assert torch.equal(bare, bare_again)


def test_a_failed_pass_leaves_no_mask_behind(model):
    inputs = inputs_of(1, [])
    with torch.no_grad():
        bare = model.encode_tiles(inputs.pixel_values)
        with pytest.raises(RuntimeError):
            model.encode_tiles(torch.zeros(1, 5, 112, 112), inputs.mask_values)
        assert torch.equal(model.encode_tiles(inputs.pixel_values), bare)


def test_batch_equals_one_by_one(model):
    boxes = [[0, 0.1, 0.1, 0.6, 0.7], [1, 0.3, 0.2, 0.9, 0.8]]
    both = inputs_of(1, boxes, batch=2)
    with torch.no_grad():
        together = model(both).logits
        for row in range(2):
            alone = ModelInputs(
                both.input_ids[row : row + 1], both.pixel_values[row : row + 1],
                both.mask_values[row : row + 1], both.image_positions[row : row + 1],
                both.region_positions[row : row + 1],
                torch.tensor([[0, *boxes[row][1:]]]), (FeatureMap(0),),
            )  # fmt: skip
            assert torch.allclose(model(alone).logits[0], together[row], atol=1e-5)


def test_picture_in_tiles_replays_across_their_seam(model):
    """A box over the seam of two tiles sees both; frames would see one."""
    with torch.no_grad():
        features = torch.cat([torch.zeros(1, 16, 32), torch.ones(1, 16, 32)])
        model.config.replay_convention = "true"
        box = torch.tensor([[0, 0.25, 0.0, 0.75, 1.0]])
        seam = model.replay(features, box, (FeatureMap(0, rows=1, columns=2),))
    grid = seam[0, :, 0].reshape(4, 4)
    assert grid[:, 0].max() < 0.01
    assert grid[:, 3].min() > 0.99


def test_gradients_reach_every_part(model):
    model.train()
    inputs = inputs_of(2, [[0, 0.1, 0.1, 0.6, 0.7], [1, 0.2, 0.2, 0.9, 0.9]])
    labels = torch.full_like(inputs.input_ids, -100)
    labels[:, -3:] = inputs.input_ids[:, -3:]
    model(inputs, labels=labels).loss.backward()
    parts = {
        "mask embedding": model.mask_patch_embedding.weight,
        "vision": model.mllm.model.vision_tower.timm_model.patch_embed.proj.weight,
        "projector": model.mllm.model.multi_modal_projector.linear_1.weight,
        "language model": model.language_model.layers[0].mlp.up_proj.weight,
    }
    for name, parameter in parts.items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradient_checkpointing_changes_nothing(model):
    model.train()
    inputs = inputs_of(1, [[0, 0.1, 0.1, 0.6, 0.7]])

    def gradient():
        model.zero_grad()
        model(inputs, labels=inputs.input_ids).loss.backward()
        return model.mask_patch_embedding.weight.grad.clone()

    plain = gradient()
    model.gradient_checkpointing_enable()
    assert torch.allclose(gradient(), plain, atol=1e-6)


def test_inputs_move_pixels_to_the_models_type():
    moved = inputs_of(1, [[0, 0, 0, 1, 1]]).to("cpu", torch.bfloat16)
    assert moved.pixel_values.dtype == moved.mask_values.dtype == torch.bfloat16
    assert moved.boxes.dtype == torch.float32
    assert moved.input_ids.dtype == torch.int64
