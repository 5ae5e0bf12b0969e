"""The networks: shapes, initial weights, what comes out of them."""

import pytest
import torch
from torch import nn

from aae.model import AAE, Autoencoder
from aae.priors import SAMPLE_PRIOR, sample_categorical, unlabelled

# B batch, X pixels, Z style dim, K classes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(x_dim=36, z_dim=3, num_classes=10, hidden_dims=(200, 100), init_std=0.01, leaky_slope=0.0, seed=0, **shape) -> AAE:
    shape = {"num_heads": num_classes, "decoder_classes": num_classes} | shape
    return AAE(x_dim, z_dim, hidden_dims, init_std=init_std, leaky_slope=leaky_slope, generator=seeded(seed), **shape)


def test_shapes_of_all_four_networks():
    model, x_BX = network(), torch.rand(7, 36)
    logits_BK, z_BZ = model.encoder(x_BX)
    assert (logits_BK.shape, z_BZ.shape) == ((7, 10), (7, 3))
    assert model.decoder(logits_BK.softmax(-1), z_BZ).shape == (7, 36)
    assert model.disc_z(z_BZ).shape == model.disc_y(logits_BK.softmax(-1)).shape == (7,)


def test_the_encoders_heads_share_a_trunk_and_are_linear():
    """z is unbounded and y comes as logits: softmax is the caller's, once."""
    model = network(init_std=1.0)
    logits_BK, z_BZ = (code.detach() for code in model.encoder(torch.rand(50, 36)))
    assert float(z_BZ.min()) < -1 and float(z_BZ.max()) > 1
    assert float(logits_BK.min()) < 0 and not torch.allclose(logits_BK.sum(-1), torch.ones(50))
    assert isinstance(model.encoder.heads, nn.Linear) and model.encoder.heads.out_features == 13


def test_pixels_lie_between_0_and_1_and_discriminators_give_logits():
    model = network(init_std=1.0)
    pixels_BX = model.decoder(torch.eye(10), torch.randn(10, 3)).detach()
    assert 0 <= float(pixels_BX.min()) < float(pixels_BX.max()) <= 1
    logits_B = model.disc_z(10 * torch.randn(100, 3, generator=seeded())).detach()
    assert float(logits_B.min()) < 0 or float(logits_B.max()) > 1


def test_without_classes_there_is_neither_a_head_nor_a_discriminator_of_y():
    model = network(num_classes=0)
    logits_BK, z_BZ = model.encoder(torch.rand(7, 36))
    assert logits_BK.shape == (7, 0) and model.disc_y is None
    assert model.decoder(logits_BK.softmax(-1), z_BZ).shape == (7, 36)


@pytest.mark.parametrize("std", [0.01, 0.03])
def test_weights_start_normal_with_the_given_spread_and_biases_at_zero(std):
    for module in network(init_std=std, hidden_dims=(400, 300)).modules():
        if isinstance(module, nn.Linear):
            assert not module.bias.any()
            if module.weight.numel() > 5000:
                assert float(module.weight.detach().std()) == pytest.approx(std, rel=0.05)
                assert abs(float(module.weight.detach().mean())) < std / 10


def test_without_a_spread_weights_start_by_hes_rule():
    model = network(init_std=None, hidden_dims=(400, 300))
    assert float(model.encoder.trunk[0].weight.detach().std()) == pytest.approx((2 / 36) ** 0.5, rel=0.05)
    assert float(model.encoder.trunk[2].weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.05)


def test_initial_weights_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = network(seed=3)
    torch.manual_seed(2)
    same, other = network(seed=3), network(seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.encoder.heads.weight, other.encoder.heads.weight)


def test_the_slope_is_of_the_discriminators_alone():
    model = network(leaky_slope=0.2)
    kinds = {name: {type(m) for m in part.modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)} for name, part in model.named_children()}
    assert kinds == {"encoder": {nn.ReLU}, "decoder": {nn.ReLU}, "disc_z": {nn.LeakyReLU}, "disc_y": {nn.LeakyReLU}}
    assert model.disc_z.trunk[1].negative_slope == 0.2


def test_an_autoencoder_takes_the_encoder_and_decoder_of_a_training():
    model, kept = network(), Autoencoder(36, 3, [200, 100], num_heads=10, decoder_classes=10)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("disc")}
    kept.load_state_dict(weights)
    x_BX = torch.rand(5, 36)
    assert all(torch.equal(a, b) for a, b in zip(kept.encoder(x_BX), model.encoder(x_BX), strict=True))


def test_losses_and_softmax_see_float32_under_autocast():
    model = network()
    with torch.autocast("cpu", torch.bfloat16):
        logits_BK, z_BZ = model.encoder(torch.rand(7, 36))
        outputs = [logits_BK, z_BZ, model.decoder(logits_BK.softmax(-1), z_BZ), model.disc_z(z_BZ)]
    assert all(output.dtype == torch.float32 for output in outputs)


# ---- priors


@pytest.mark.parametrize("std", [1.0, 5.0])
def test_the_gaussian_prior_has_its_moments(std):
    z_BZ = SAMPLE_PRIOR["gaussian"](unlabelled(100_000), 2, 10, std, seeded())
    assert z_BZ.shape == (100_000, 2)
    assert torch.allclose(z_BZ.mean(0), torch.zeros(2), atol=0.02 * std)
    assert torch.allclose(torch.cov(z_BZ.T), std**2 * torch.eye(2), atol=0.02 * std**2)


def test_the_categorical_prior_is_one_hot_and_uniform():
    y_BK = sample_categorical(100_000, 10, seeded())
    assert torch.equal(y_BK.sum(-1), torch.ones(100_000)) and set(y_BK.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(y_BK.mean(0), torch.full((10,), 0.1), atol=0.005)


def test_prior_samples_depend_on_their_generator_alone():
    torch.manual_seed(1)
    first = SAMPLE_PRIOR["gaussian"](unlabelled(5), 2, 10, 1.0, seeded()), sample_categorical(5, 10, seeded())
    torch.manual_seed(2)
    second = SAMPLE_PRIOR["gaussian"](unlabelled(5), 2, 10, 1.0, seeded()), sample_categorical(5, 10, seeded())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
