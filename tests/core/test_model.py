"""The networks: shapes, initial weights, what comes out of them."""

import pytest
import torch
from torch import nn

from aae.model import AAE, Autoencoder, BatchNorm

# B batch, X pixels, H hidden units, Z style dim, K classes


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


def test_discriminators_may_have_widths_and_a_spread_of_their_own():
    """Fails where the encoder or the decoder takes them too, or one discriminator does not."""
    plain, own = network(), network(discriminator_dims=[80, 70, 60], discriminator_init_std=0.2)
    assert own.disc_z is not None and own.disc_y is not None
    for discriminator, in_dim in ((own.disc_z, 3), (own.disc_y, 10)):
        layers = [module for module in discriminator.modules() if isinstance(module, nn.Linear)]
        assert [tuple(layer.weight.shape) for layer in layers] == [(80, in_dim), (70, 80), (60, 70), (1, 60)]
        assert all(float(layer.weight.detach().std()) == pytest.approx(0.2, rel=0.2) for layer in layers)
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(plain, part).parameters(), getattr(own, part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    with_he = network(init_std=None, discriminator_dims=[400, 300])
    assert float(with_he.disc_z.trunk[2].weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.05)


def test_added_heads_may_start_with_a_spread_of_their_own():
    """Fails where the encoder's heads, another layer of that name, take it."""
    plain, own = network(added_heads=True, z_dim=40), network(added_heads=True, z_dim=40, heads_std=3.0)
    assert float(own.decoder.heads_KZ.detach().std()) == pytest.approx(3.0, rel=0.1)
    for (name, a), (_, b) in zip(plain.named_parameters(), own.named_parameters(), strict=True):
        assert torch.equal(a, b) or name == "decoder.heads.weight"


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


# ---- switches


def test_a_sampled_encoder_adds_softplus_of_its_third_head_times_the_noise():
    """Fails where the head is taken for the std as it is, or for its logarithm."""
    model, x_BX = network(sampled=True, init_std=1.0), torch.rand(50, 36)
    assert model.encoder.heads.out_features == 10 + 2 * 3
    _, mean_BZ = model.encoder(x_BX)
    raw_BZ = model.encoder.heads(model.encoder.trunk(x_BX))[:, 13:]
    std_BZ = torch.log1p(raw_BZ.double().exp()).float()
    for noise in (1.0, -2.0):
        assert torch.allclose(model.encoder(x_BX, torch.full((50, 3), noise))[1], mean_BZ + noise * std_BZ, rtol=1e-4, atol=1e-4)
    assert torch.equal(model.encoder(x_BX)[1], mean_BZ)


def test_an_encoder_that_is_not_sampled_takes_no_notice_of_noise():
    model, x_BX = network(), torch.rand(5, 36)
    assert torch.equal(model.encoder(x_BX, torch.ones(5, 3))[1], model.encoder(x_BX)[1])


def test_with_added_heads_the_decoder_reads_the_heads_place_plus_z():
    model, z_BZ = network(added_heads=True, init_std=1.0), torch.randn(10, 3, generator=seeded())
    assert model.decoder.trunk[0].in_features == 3 and model.decoder.heads.bias is None
    code_BZ = model.decoder.code(torch.eye(10), z_BZ)
    assert torch.allclose(code_BZ, model.decoder.heads_KZ + z_BZ) and model.decoder.heads_KZ.shape == (10, 3)
    mixed_BK = torch.full((10, 10), 0.1)
    assert torch.allclose(model.decoder.code(mixed_BK, z_BZ), model.decoder.heads_KZ.mean(0) + z_BZ, atol=1e-6)
    pixels_BX = torch.sigmoid(model.decoder.pixels(model.decoder.trunk(code_BZ)))
    assert torch.allclose(model.decoder(torch.eye(10), z_BZ), pixels_BX)


def test_the_class_code_is_inferred_else_the_one_hot_label_else_nothing():
    label_B = torch.tensor([3, 0])
    inferred, told, neither = network(), network(num_heads=0), network(num_heads=0, decoder_classes=0)
    logits_BK = torch.randn(2, 10, generator=seeded())
    assert torch.equal(inferred.class_code(logits_BK, label_B), logits_BK.softmax(-1))
    assert torch.equal(told.class_code(torch.zeros(2, 0), label_B), torch.eye(10)[label_B])
    assert neither.class_code(torch.zeros(2, 0), label_B).shape == (2, 0)


@pytest.mark.parametrize("shape", [{}, {"sampled": True}, {"num_heads": 0}, {"num_heads": 0, "decoder_classes": 0}, {"added_heads": True}])
def test_every_shape_has_the_widths_that_its_switches_say(shape):
    model = network(label_classes=11, **shape)
    logits_BK, z_BZ = model.encoder(torch.rand(4, 36), torch.ones(4, 3))
    assert logits_BK.shape == (4, shape.get("num_heads", 10)) and z_BZ.shape == (4, 3)
    assert model.decoder(model.class_code(logits_BK, torch.arange(4)), z_BZ).shape == (4, 36)
    assert model.disc_z.trunk[0].in_features == 3 + 11 and (model.disc_y is None) == (not logits_BK.shape[1])


# ---- batch norm


def test_batch_norm_is_in_the_encoders_hidden_layers_alone_and_before_the_relu():
    model = network(batch_norm=True)
    assert [type(layer) for layer in model.encoder.trunk] == 2 * [nn.Linear, BatchNorm, nn.ReLU]
    assert not any(isinstance(layer, BatchNorm) for part in (model.decoder, model.disc_z, model.disc_y) for layer in part.modules())


def test_a_pass_of_training_normalises_by_its_batch_and_leaves_no_trace():
    """Seen to fail with nn.BatchNorm1d in its place, whose running statistics every pass moves."""
    encoder, x_BX = network(batch_norm=True, init_std=None).encoder, torch.rand(50, 36)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    hidden_BH = encoder.trunk[:2](x_BX)
    assert torch.allclose(hidden_BH.mean(dim=0), torch.zeros(200), atol=1e-5)
    assert torch.allclose(hidden_BH.var(dim=0, correction=0), torch.ones(200), atol=1e-2)
    encoder(10 * x_BX)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_settled_it_judges_an_image_by_itself():
    """The statistics are those of each layer over the given images: evaluated in one batch with them, it is what training saw."""
    encoder, x_NX = network(batch_norm=True, init_std=None).encoder, torch.rand(500, 36)
    as_trained_NK = encoder(x_NX)[0].detach()
    encoder.settle(x_NX)
    together_NK = encoder(x_NX)[0]
    alone_NK = torch.cat([encoder(x_X[None])[0] for x_X in x_NX])
    assert torch.allclose(alone_NK, together_NK, atol=1e-5)
    assert torch.allclose(together_NK, as_trained_NK, atol=0.02) and float(as_trained_NK.std()) > 0.3
