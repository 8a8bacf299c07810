from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks import MLP, RNN, RTRL
from memorax.networks.blocks import FFN, GLU, GatedResidual, MoE, PostNorm, PreNorm, Projection, Residual, Stack
from memorax.networks.blocks.wrapping import Wrapping
from memorax.networks.sequence_models import GRU, SimpleRNN, is_sequence_model
from memorax.testing.sequence_model_properties import DONE, FEATURES, PROPERTIES, make_case

HIDDEN = 11

KEY = jax.random.key(0)
CHECKS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "transforms")) for name in PROPERTIES]
BATCH, TIME = DONE.shape
INPUTS = jax.random.normal(KEY, (BATCH, TIME, FEATURES))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def composition():
    """Every block, with memories at three places."""
    return Stack(
        blocks=[
            GRU(HIDDEN),
            GatedResidual(PreNorm(Stack(blocks=[SimpleRNN(HIDDEN), nn.relu]), norm=nn.RMSNorm)),
            PostNorm(GatedResidual(GLU(7), kind="output")),
            PreNorm(Residual(MoE(FFN(7), num_experts=3))),
            Residual(SimpleRNN(HIDDEN)),
        ]
    )


class BlindToResets(Residual):
    def __call__(self, inputs, done, initial_carry=None):
        return super().__call__(inputs, jnp.zeros_like(done), initial_carry)


class KeepsOldCarries(Stack):
    def __call__(self, inputs, done, initial_carry=None):
        _, outputs = super().__call__(inputs, done, initial_carry)
        return initial_carry or self.initialize_carry(KEY, inputs.shape[::2]), outputs


class StartsAfresh(Stack):
    def __call__(self, inputs, done, initial_carry=None):
        return super().__call__(inputs, done, None)


class NormalizesOverTime(PreNorm):
    @nn.compact
    def __call__(self, inputs, done, initial_carry=None):
        return self.module(inputs - jnp.mean(inputs, 1, keepdims=True), done, initial_carry)


class BoundedExperts(MoE):
    """Experts take as many steps as the mean, as where their capacity is bounded: the rest is dropped."""

    @nn.compact
    def __call__(self, inputs):
        outputs = super().__call__(inputs)
        strength = jnp.linalg.norm(inputs, axis=-1, keepdims=True)
        return jnp.where(strength >= jnp.mean(strength), outputs, 0)


def memory_with(block):
    return Stack(blocks=[GRU(HIDDEN), block])


MUTANTS = [
    (lambda: memory_with(BlindToResets(SimpleRNN(HIDDEN))), "forgets"),
    (lambda: KeepsOldCarries(blocks=[SimpleRNN(HIDDEN)]), "chunked"),
    (lambda: StartsAfresh(blocks=[SimpleRNN(HIDDEN)]), "stepwise"),
    (lambda: memory_with(NormalizesOverTime(FFN(7))), "causal"),
    (lambda: memory_with(BoundedExperts(FFN(7))), "stepwise"),
]


@pytest.fixture(scope="module")
def case():
    return make_case(composition())


@pytest.mark.parametrize("name", CHECKS)
def test_property(case, name):
    PROPERTIES[name](case)


@pytest.mark.parametrize(("mutant", "name"), MUTANTS, ids=["blind", "old carry", "afresh", "over time", "bounded"])
def test_mutant_is_rejected(mutant, name):
    with pytest.raises(AssertionError):
        PROPERTIES[name](make_case(mutant()))


def run(module, inputs=INPUTS, done=DONE, **options):
    outputs, variables = module.init_with_output(KEY, inputs, jnp.asarray(done), **options)
    return outputs, jax.tree.map(lambda x: np.asarray(x, np.float64), variables.get("params", {}))


def test_shortcuts_and_norms_are_what_they_say():
    def double(x):
        return 2 * x

    x = np.asarray(INPUTS, np.float64)
    centered = x - x.mean(-1, keepdims=True)
    normed = centered / np.sqrt(centered.var(-1, keepdims=True) + 1e-6)
    for block, want in (
        (Residual(double), 3 * x),
        (PreNorm(double), 2 * normed),
        (PostNorm(double), normed),
        (Residual(PreNorm(double)), x + 2 * normed),
        (PreNorm(Residual(double)), 3 * normed),
    ):
        (carry, outputs), _ = run(block)
        assert carry == ()
        np.testing.assert_allclose(outputs, want, atol=1e-4)


def test_gates_are_those_of_the_paper():
    x, y = np.asarray(INPUTS, np.float64), 2 * np.asarray(INPUTS, np.float64)
    for bias in (2.0, -1.0):
        (_, outputs), p = run(GatedResidual(lambda x: 2 * x, bias=bias))
        k = {name: p[name]["kernel"] for name in p if name != "bias"}
        np.testing.assert_array_equal(p["bias"], np.full(FEATURES, bias))
        r = sigmoid(y @ k["r_y"] + x @ k["r_x"])
        z = sigmoid(y @ k["z_y"] + x @ k["z_x"] - bias)
        candidate = np.tanh(y @ k["g_y"] + (r * x) @ k["g_x"])
        np.testing.assert_allclose(outputs, (1 - z) * x + z * candidate, rtol=1e-5, atol=1e-6)
        (_, outputs), p = run(GatedResidual(lambda x: 2 * x, kind="output", bias=bias))
        np.testing.assert_allclose(outputs, x + sigmoid(x @ p["g_x"]["kernel"] - bias) * y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "output"])
def test_a_large_bias_makes_a_gate_the_identity(kind):
    (_, outputs), _ = run(GatedResidual(nn.relu, kind=kind, bias=30.0))
    np.testing.assert_allclose(outputs, INPUTS, atol=1e-6)


def test_feed_forward_modules_are_what_they_say():
    x = np.asarray(INPUTS, np.float64)
    outputs, p = FFN(7, features=3, activation=jnp.tanh).init_with_output(KEY, INPUTS)
    up, down = p["params"]["up"], p["params"]["down"]
    hidden = np.tanh(x @ up["kernel"] + up["bias"])
    np.testing.assert_allclose(outputs, hidden @ down["kernel"] + down["bias"], rtol=1e-5, atol=1e-6)
    outputs, p = GLU(7).init_with_output(KEY, INPUTS)
    gate, up, down = (np.asarray(p["params"][name]["kernel"], np.float64) for name in ("gate", "up", "down"))
    np.testing.assert_allclose(outputs, (x @ gate * sigmoid(x @ gate) * (x @ up)) @ down, rtol=1e-5, atol=1e-6)
    assert outputs.shape == INPUTS.shape
    assert set(GLU(7, use_bias=True).init(KEY, INPUTS)["params"]["gate"]) == {"kernel", "bias"}
    assert Projection(3, use_bias=False).init_with_output(KEY, INPUTS)[0].shape == (BATCH, TIME, 3)


@pytest.mark.parametrize("module", [FFN(400, dropout_rate=0.25), GLU(400, dropout_rate=0.25)], ids=["ffn", "glu"])
def test_dropout_needs_a_stream(module):
    params = module.init(KEY, INPUTS)
    apply = jax.jit(lambda rngs: module.apply(params, INPUTS, rngs=rngs))
    still = apply({})
    np.testing.assert_allclose(still, module.clone(dropout_rate=0.0).apply(params, INPUTS), rtol=1e-4, atol=1e-6)
    first, again, other = (apply({"dropout": jax.random.key(seed)}) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert jnp.abs(first - still).min(axis=(0, 1)).max() > 0
    assert jnp.abs(first - other).max() > 0.01


def test_experts_that_are_not_chosen_do_not_matter():
    moe = MoE(FFN(7), num_experts=4, top_k=2)
    x = INPUTS[:1, :1]
    params = moe.init(KEY, x)["params"]
    probability = np.asarray(jax.nn.softmax(x[0, 0] @ params["router"]["kernel"]), np.float64)
    chosen = np.argsort(-probability)[:2]
    each = [FFN(7).apply({"params": jax.tree.map(lambda p, e=e: p[e], params["expert"])}, x) for e in range(4)]
    weight = probability[chosen] / probability[chosen].sum()
    outputs = moe.apply({"params": params}, x)
    np.testing.assert_allclose(outputs, sum(w * each[e] for w, e in zip(weight, chosen, strict=True)), rtol=1e-5)

    idle = jnp.array([e not in chosen for e in range(4)])
    poison = jax.tree.map(lambda p: p.at[jnp.flatnonzero(idle)].set(jnp.nan), params["expert"])
    poisoned = {"params": params | {"expert": poison}}
    np.testing.assert_array_equal(moe.apply(poisoned, x), outputs)
    gradient = jax.jit(jax.grad(lambda p: moe.apply({"params": p}, x).sum()))(params)
    for leaf in jax.tree.leaves(gradient["expert"]):
        assert jnp.array_equal(jnp.any(leaf != 0, axis=range(1, leaf.ndim)), ~idle)
    assert jnp.any(gradient["router"]["kernel"] != 0)


def test_experts_begin_differently():
    kernel = MoE(FFN(7), num_experts=3).init(KEY, INPUTS)["params"]["expert"]["up"]["kernel"]
    assert kernel.shape == (3, FEATURES, 7)
    assert jnp.abs(kernel[0] - kernel[1]).max() > 0.1


def test_a_single_choice_keeps_its_probability_as_weight():
    moe = MoE(lift(jnp.ones_like), num_experts=3, top_k=1)
    params = moe.init(KEY, INPUTS)
    probability = jax.nn.softmax(INPUTS @ params["params"]["router"]["kernel"])
    np.testing.assert_allclose(moe.apply(params, INPUTS)[..., 0], probability.max(-1), rtol=1e-5)


def lift(function):
    class Lifted(nn.Module):
        def __call__(self, x):
            return function(x)

    return Lifted()


def test_balance_is_one_where_the_router_does_not_care_and_grows_as_it_collapses():
    moe = MoE(FFN(7), num_experts=5, top_k=1, balance_coefficient=0.5)
    params = moe.init(KEY, INPUTS)
    assert set(params) == {"params"}

    def balance(kernel):
        router = {"params": params["params"] | {"router": {"kernel": kernel}}}
        return float(moe.apply(router, jnp.abs(INPUTS), mutable="losses")[1]["losses"]["balance"])

    indifferent = jnp.zeros((FEATURES, 5))
    assert balance(indifferent) == pytest.approx(0.5)
    assert balance(indifferent.at[:, 2].set(50.0)) == pytest.approx(2.5, rel=1e-3)
    silent = moe.clone(balance_coefficient=0.0)
    assert silent.apply(params, INPUTS, mutable="losses")[1] == {}


@pytest.mark.slow
def test_losses_and_streams_pass_through_blocks_remat_and_other_experts():
    inner = MoE(FFN(7, dropout_rate=0.5), num_experts=3, top_k=1)
    make = lambda block: Stack(blocks=[PreNorm(GRU(FEATURES)), block(Residual, module=MoE(inner, num_experts=2))])  # noqa: E731
    plain = make(lambda kind, **fields: kind(**fields))
    rematted = make(lambda kind, **fields: nn.remat(kind)(**fields))
    assert is_sequence_model(rematted.blocks[1])
    params = plain.init(KEY, INPUTS, DONE)

    def loss(params, model):
        (_, outputs), sown = model.apply(params, INPUTS, DONE, mutable="losses", rngs={"dropout": jax.random.key(1)})
        return jnp.sum(outputs**2) + sum(jnp.sum(x) for x in jax.tree.leaves(sown)), sown

    got, sown = jax.jit(jax.grad(partial(loss, model=rematted), has_aux=True))(params)
    want, same = jax.jit(jax.grad(partial(loss, model=plain), has_aux=True))(params)
    assert sorted(x.shape for x in jax.tree.leaves(sown)) == [(), (2,)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), (got, sown), (want, same))


def test_a_block_that_stands_twice_has_one_set_of_parameters_and_two_carries():
    block = GRU(FEATURES)
    stack = Stack(blocks=[block, Residual(block), nn.tanh])
    (carry, _), params = run(stack)
    assert len(jax.tree.leaves(params)) == len(jax.tree.leaves(run(Stack(blocks=[block]))[1]))
    assert [np.shape(x) for x in jax.tree.leaves(carry)] == [(BATCH, FEATURES)] * 2
    assert jnp.abs(carry[0] - carry[1]).max() > 0.01


def test_derivatives_in_a_stack_have_the_width_of_what_comes_to_them():
    stack = Stack(blocks=[Projection(3), RTRL(SimpleRNN(4)), nn.relu, PreNorm(RTRL(SimpleRNN(2))), GRU(7)])
    carry = stack.initialize_carry(KEY, (BATCH, FEATURES))
    assert [part.sensitivity["cell"]["i"]["kernel"].shape[2] for part in (carry[1], carry[3])] == [3, 4]
    (after, _), _ = jax.eval_shape(stack.init_with_output, KEY, INPUTS, DONE)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, carry)


@pytest.mark.parametrize("kind", ["gru", "output"])
def test_half_precision_passes_through(kind):
    stack = Stack(blocks=[PreNorm(FFN(7)), Residual(GLU(7)), GatedResidual(PostNorm(MoE(FFN(7))), kind=kind)])
    (_, outputs), variables = stack.init_with_output(KEY, INPUTS.astype(jnp.bfloat16), DONE)
    assert outputs.dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    assert FFN(7, dtype=jnp.bfloat16).apply(FFN(7).init(KEY, INPUTS), INPUTS).dtype == jnp.bfloat16


REFUSED = [
    (lambda: Stack(blocks=GRU(3)), TypeError, "`blocks` must be a sequence of modules, got RNN"),
    (lambda: Stack(blocks=[]), ValueError, r"`blocks` must hold at least one block, got \[\]"),
    (lambda: Stack(blocks=[nn.GRUCell(3)]), TypeError, "must be a sequence model or feed-forward, got the recurrent"),
    (lambda: Residual(nn.GRUCell(3)), TypeError, "must be a sequence model or feed-forward, got the recurrent"),
    (lambda: PreNorm(3), TypeError, "`module` must be a module or a function, got 3"),
    (lambda: PreNorm(FFN(), norm=nn.BatchNorm), ValueError, "`norm` must be over the features alone, got BatchNorm"),
    (lambda: PostNorm(FFN(), norm=partial(nn.GroupNorm, 2)), ValueError, "over the features alone, got GroupNorm"),
    (lambda: PostNorm(FFN(), norm=nn.LayerNorm()), TypeError, "`norm` must make a norm, such as nn.LayerNorm, got"),
    (lambda: GatedResidual(FFN(), kind="highway"), ValueError, "`kind` must be one of gru, output, got 'highway'"),
    (lambda: FFN(0), ValueError, "`hidden_dim` must be at least 1, got 0"),
    (lambda: GLU(3, features=2.0), TypeError, "`features` must be an integer or None, got 2.0"),
    (lambda: FFN(3, activation="relu"), TypeError, "`activation` must be callable, got 'relu'"),
    (lambda: GLU(3, dropout_rate=1.0), ValueError, "`dropout_rate` must be at least 0 and below 1, got 1.0"),
    (lambda: Projection(0), ValueError, "`features` must be at least 1, got 0"),
    (lambda: MoE(GRU(3)), TypeError, "`expert` must be a feed-forward module such as FFN"),
    (lambda: MoE(nn.relu), TypeError, "`expert` must be a feed-forward module such as FFN"),
    (lambda: MoE(FFN(), num_experts=2, top_k=3), ValueError, r"`top_k` must be at most `num_experts` \(2\), got 3"),
    (lambda: MoE(FFN(), num_experts=0), ValueError, "`num_experts` must be at least 1, got 0"),
    (lambda: MoE(FFN(), top_k=0), ValueError, "`top_k` must be at least 1, got 0"),
    (lambda: MoE(FFN(), balance_coefficient=-1.0), ValueError, "`balance_coefficient` must be at least 0, got -1.0"),
    (lambda: run(Residual(MLP((3,)))), ValueError, r"must keep the width of its inputs \(5\), got 3; put `Projection"),
    (lambda: run(GatedResidual(GRU(3))), ValueError, r"`module` of GatedResidual must keep the width of its inputs"),
    (
        lambda: run(Stack(blocks=[nn.relu]), initial_carry=((), ())),
        ValueError,
        "must have an entry for each of 1 blocks, got 2",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_what_does_not_fit_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_blocks_are_sequence_models_and_feed_forward_modules_are_lifted():
    assert all(is_sequence_model(block) for block in (Stack(blocks=[FFN()]), PreNorm(FFN()), GatedResidual(FFN())))
    assert issubclass(Residual, Wrapping)
    assert not any(is_sequence_model(module) for module in (FFN(), GLU(), Projection(3), MoE(FFN())))
    assert is_sequence_model(RNN(nn.GRUCell(3)))
