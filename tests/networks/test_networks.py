import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Timestep
from memorax.networks import CNN, MLP, RNN, FeatureExtractor, LRUCell, Network, SequenceModelWrapper, heads, layers
from memorax.networks import cnn as cnn_module
from memorax.networks.sequence_models import GRU, is_sequence_model

BATCH, TIME, FEATURES, HIDDEN, ACTIONS = 2, 6, 7, 11, 4
KEY = jax.random.key(0)
INPUTS = jax.random.normal(KEY, (BATCH, TIME, FEATURES))
DONE = jnp.zeros((BATCH, TIME), bool).at[0, 2].set(True)


def timestep(observation=INPUTS, **changes):
    action = jax.nn.one_hot(jnp.ones((BATCH, TIME), int), ACTIONS)
    return Timestep(observation, action, jnp.full((BATCH, TIME), 3.0), DONE).replace(**changes)


def identity(x):
    return x


def test_feature_extractor_concatenates_and_masks_at_starts():
    every = FeatureExtractor(identity, identity, identity, identity)
    poisoned = timestep(action=timestep().action.at[0, 2].set(jnp.nan), reward=timestep().reward.at[0, 2].set(jnp.nan))
    features = every.apply({}, poisoned)
    assert features.shape == (BATCH, TIME, FEATURES + ACTIONS + 2)
    np.testing.assert_array_equal(features[..., :FEATURES], INPUTS)
    np.testing.assert_array_equal(features[0, 2, FEATURES:], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(features[1, 2, FEATURES:], [0, 1, 0, 0, 3, 0])
    kept = FeatureExtractor(identity, identity, identity, mask_at_start=False).apply({}, timestep())
    np.testing.assert_array_equal(kept[0, 2, FEATURES:], [0, 1, 0, 0, 3])


def test_feature_extractor_runs_a_module_per_input():
    small = FeatureExtractor(MLP((5,)), MLP((2,)), MLP((2,)), MLP((3,)))
    assert small.init_with_output(KEY, timestep())[0].shape == (BATCH, TIME, 12)


def test_scalar_observations_get_a_feature_axis_and_integers_reach_an_embedding():
    assert FeatureExtractor(identity).apply({}, timestep(INPUTS[..., 0])).shape == (BATCH, TIME, 1)
    embedding = FeatureExtractor(nn.Embed(9, 5))
    features, _ = embedding.init_with_output(KEY, timestep(jnp.ones((BATCH, TIME), jnp.int32)))
    assert features.shape == (BATCH, TIME, 5)


def test_extractor_that_loses_an_axis_is_named():
    with pytest.raises(ValueError, match="`observation_extractor` must give"):
        FeatureExtractor(lambda x: x.reshape(BATCH, -1)).apply({}, timestep())
    with pytest.raises(TypeError, match="`reward_extractor` must be callable or None, got 3"):
        FeatureExtractor(identity, reward_extractor=3)
    with pytest.raises(TypeError, match="`observation_extractor` must be callable, got None"):
        FeatureExtractor(None)


@pytest.mark.parametrize(
    "torso",
    [
        GRU(HIDDEN),
        RNN(cell=nn.LSTMCell(features=HIDDEN)),
        SequenceModelWrapper(RNN(nnx.LSTMCell(5, HIDDEN, rngs=nnx.Rngs(0)))),
        SequenceModelWrapper(MLP(features=(HIDDEN,))),
    ],
    ids=["gru", "lstm", "nnx", "mlp"],
)
def test_one_trunk_with_two_heads(torso):
    extractor = FeatureExtractor(MLP((5,)))
    actor, critic = Network(extractor, torso, heads.Categorical(ACTIONS)), Network(extractor, torso, heads.VNetwork())
    assert actor.torso is critic.torso is torso
    carry = actor.initialize_carry(KEY, (BATCH, None))
    params = jax.jit(actor.init)(KEY, timestep(), carry)
    assert set(params["params"]) == {"feature_extractor", "torso", "head"}
    after, features = actor.apply(params, timestep(), carry, method="embed")
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, carry)
    head = critic.init(KEY, features, timestep(), method="readout")
    assert set(head["params"]) == {"head"}
    assert critic.apply(head, features, timestep(), method="readout").shape == (BATCH, TIME)
    _, distribution = actor.apply(params, timestep(), carry)
    assert distribution.sample(KEY).shape == (BATCH, TIME)
    same = actor.apply(params, features, timestep(), method="readout")
    np.testing.assert_allclose(same.logits, distribution.logits, rtol=1e-6)


@pytest.mark.parametrize("rest", [{"image": INPUTS}, {"image": INPUTS, "text": INPUTS}])
def test_action_mask_goes_to_the_head(rest):
    mask = jnp.ones((BATCH, TIME, ACTIONS), bool).at[..., 1].set(False)
    seen = []

    def extract(observation):
        seen.append(observation)
        return observation["image"] if isinstance(observation, dict) else observation

    step = timestep({**rest, "action_mask": mask})
    parts = FeatureExtractor(extract), GRU(HIDDEN)
    (_, distribution), _ = Network(*parts, heads.Categorical(ACTIONS)).init_with_output(KEY, step)
    assert not np.any(distribution.probabilities[..., 1])
    assert isinstance(seen[0], dict) is (len(rest) == 2)
    (_, values), _ = Network(*parts, heads.VNetwork()).init_with_output(KEY, step)
    assert values.shape == (BATCH, TIME)
    (_, values), _ = Network(*parts, heads.DiscreteQNetwork(ACTIONS)).init_with_output(KEY, step)
    assert np.all(values[..., 1] < -1e8)


def test_network_refuses_parts_that_cannot_work():
    with pytest.raises(TypeError, match=r"`torso` must be a sequence model, got MLP; write `RNN"):
        Network(FeatureExtractor(identity), MLP((3,)), heads.VNetwork())
    with pytest.raises(TypeError, match="`torso` must be a sequence model, got GRUCell"):
        Network(FeatureExtractor(identity), nn.GRUCell(3), heads.VNetwork())
    with pytest.raises(
        TypeError, match=r"`torso` must be a sequence model, got LRUCell; .* `Memoroid\(cell=...\)`, if it"
    ):
        Network(FeatureExtractor(identity), LRUCell(features=3), heads.VNetwork())
    with pytest.raises(TypeError, match="`head` must be a Flax Linen module, got None"):
        Network(FeatureExtractor(identity), GRU(3), None)


def test_wrapper_passes_sequence_models_through_and_lifts_the_rest():
    gru = GRU(HIDDEN)
    assert SequenceModelWrapper(gru) is gru
    lifted = SequenceModelWrapper(MLP((3,)))
    assert is_sequence_model(lifted)
    assert SequenceModelWrapper(lifted) is lifted
    carry, outputs = SequenceModelWrapper(jnp.tanh).apply({}, INPUTS, DONE)
    assert carry == ()
    np.testing.assert_allclose(outputs, jnp.tanh(INPUTS))
    for cell in (nn.GRUCell(3), LRUCell(features=3)):
        with pytest.raises(TypeError, match=f"got the recurrent cell {type(cell).__name__}; write `RNN"):
            SequenceModelWrapper(cell)
    with pytest.raises(TypeError, match="`network` must be a module or a function, got 3"):
        SequenceModelWrapper(3)


class Dropping(nn.RNNCellBase):
    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((input_shape[0], HIDDEN))

    @nn.compact
    def __call__(self, carry, inputs):
        return carry, nn.Dropout(0.5, deterministic=False)(jnp.ones_like(carry))


def test_dropout_draws_anew_at_every_step():
    rnn = RNN(Dropping())
    outputs = [rnn.apply({}, INPUTS, DONE, rngs={"dropout": jax.random.key(seed)})[1] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.any(outputs[0] != outputs[2])
    assert np.any(outputs[0][:, 0] != outputs[0][:, 1])


@pytest.mark.parametrize("carry", [None, 0, jnp.zeros(()), np.float32(1)])
def test_carry_that_is_no_batch_of_arrays_is_refused(carry):
    class Bad(Dropping):
        @nn.nowrap
        def initialize_carry(self, rng, input_shape):
            return carry

    with pytest.raises(TypeError, match="`initialize_carry` of Bad must give arrays with the batch in front"):
        RNN(Bad()).initialize_carry(KEY, (BATCH, FEATURES))


def test_rnn_refuses_what_is_no_cell():
    for wrong in (MLP((3,)), GRU(3), nnx.Linear(3, 4, rngs=nnx.Rngs(0)), 3):
        with pytest.raises(TypeError, match="`cell` must be a recurrent cell"):
            RNN(wrong)
    with pytest.raises(ValueError, match="`cell` must have one feature axis, got ConvLSTMCell"):
        RNN(nn.ConvLSTMCell(3, (3, 3)))
    with pytest.raises(ValueError, match="`features` must be at least 1, got -2"):
        RNN(nn.GRUCell(-2))
    with pytest.raises(ValueError, match=r"`done` must have shape \(batch, time\) = \(2, 6\), got \(6, 2\)"):
        GRU(3).init(KEY, INPUTS, DONE.T)
    with pytest.raises(ValueError, match=r"`inputs` must be \[batch, time, features\]"):
        GRU(3).init(KEY, INPUTS[0], DONE)


def test_nnx_cell_equals_itself_outside_and_is_drawn_from_the_key():
    cell = nnx.LSTMCell(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    rnn = RNN(cell)
    params = rnn.init(KEY, INPUTS, DONE)
    assert jax.tree.leaves(params)[1].shape == (HIDDEN, HIDDEN)
    assert any(
        bool((a != b).any())
        for a, b in zip(*(jax.tree.leaves(rnn.init(jax.random.key(s), INPUTS, DONE)) for s in (0, 1)), strict=True)
    )
    own = {"_".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(nnx.state(cell, nnx.Param))}
    carry = want = rnn.initialize_carry(KEY, (BATCH, None))
    carry, outputs = rnn.apply({"params": {"cell": own}}, INPUTS, jnp.zeros_like(DONE), carry)
    for t in range(TIME):
        want, output = cell(want, INPUTS[:, t])
        np.testing.assert_allclose(outputs[:, t], output, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`inputs` of LSTMCell must have the 7 features it was built for, got 3"):
        rnn.init(KEY, INPUTS[..., :3], DONE)
    with pytest.raises(TypeError, match="`cell` must hold parameters only, got Noisy"):
        RNN(Noisy(FEATURES, HIDDEN, rngs=nnx.Rngs(0)))


class Noisy(nnx.GRUCell):
    def __init__(self, *args, rngs):
        super().__init__(*args, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


HEADS = [
    (heads.Categorical(ACTIONS), Discrete(ACTIONS)),
    (heads.DiscreteQNetwork(ACTIONS), Discrete(ACTIONS)),
    (heads.Gaussian(ACTIONS), Box(-1, 1, (ACTIONS,))),
    (heads.SquashedGaussian(ACTIONS), Box(-2, 2, (ACTIONS,))),
    (heads.Beta(ACTIONS), Box(-2, 2, (ACTIONS,))),
    (heads.ContinuousQNetwork(), Box(-2, 2, (ACTIONS,))),
    (heads.TwinContinuousQNetwork(), Box(-2, 2, (ACTIONS,))),
]


@pytest.mark.parametrize(("head", "space"), HEADS, ids=lambda x: type(x).__name__)
def test_heads_check_their_action_space(head, space):
    head.check_action_space(space)
    wrong, kind = (Box(-1, 1, (ACTIONS,)), "Discrete") if isinstance(space, Discrete) else (Discrete(ACTIONS), "Box")
    with pytest.raises(TypeError, match=f"head `{type(head).__name__}` needs a {kind} action space"):
        head.check_action_space(wrong)
    if hasattr(head, "action_dim"):
        other = Discrete(9) if kind == "Discrete" else Box(-1, 1, (9,))
        with pytest.raises(ValueError, match=f"`action_dim` of head `{type(head).__name__}` must"):
            head.check_action_space(other)
        with pytest.raises(ValueError, match="`action_dim` must be at least 1, got 0"):
            type(head)(0)
    if type(head) in (heads.SquashedGaussian, heads.Beta):
        with pytest.raises(ValueError, match="needs a Box with finite borders"):
            head.check_action_space(Box(-np.inf, np.inf, (ACTIONS,)))


@pytest.mark.parametrize("head", [h for h, s in HEADS if type(h).__name__ in ("Gaussian", "SquashedGaussian", "Beta")])
def test_continuous_policies_start_wide_and_near_the_middle(head):
    distribution, params = head.init_with_output(KEY, INPUTS)
    action, log_prob = distribution.sample_and_log_prob(KEY)
    assert action.shape == (BATCH, TIME, ACTIONS)
    assert log_prob.shape == distribution.entropy().shape == (BATCH, TIME)
    assert np.abs(distribution.mode()).max() < 0.1
    gradients = jax.grad(lambda p: head.apply(p, INPUTS).log_prob(action).sum())(params)
    assert all(bool((g != 0).any()) for g in jax.tree.leaves(gradients))


def test_squashed_gaussian_keeps_its_range():
    head = heads.SquashedGaussian(ACTIONS, min_log_std=-3, max_log_std=1)
    params = head.init(KEY, INPUTS)
    np.testing.assert_allclose(head.apply(params, 0 * INPUTS).log_scale, 0.0, atol=1e-5)
    wild = head.apply(jax.tree.map(lambda x: 1e4 * (x + 1), params), INPUTS).log_scale
    assert wild.min() >= -3
    assert wild.max() <= 1
    with pytest.raises(ValueError, match="`max_log_std` must be above 2, got 1"):
        heads.SquashedGaussian(ACTIONS, min_log_std=2, max_log_std=1)


def test_dueling_values_have_the_value_as_their_mean():
    head = heads.DiscreteQNetwork(ACTIONS, dueling=True)
    values, params = head.init_with_output(KEY, INPUTS)
    want = nn.Dense(1).apply({"params": params["params"]["value"]}, INPUTS)[..., 0]
    np.testing.assert_allclose(values.mean(-1), want, atol=1e-5)


def test_action_meets_state_in_a_hidden_layer():
    action = jax.random.normal(jax.random.key(1), (BATCH, TIME, 3))
    head = heads.ContinuousQNetwork(features=(16,))
    params = head.init(KEY, INPUTS, action=action)
    slopes = jax.grad(lambda a: head.apply(params, INPUTS, action=a).sum())(action)
    assert np.std(slopes.reshape(-1, 3), axis=0).min() > 1e-3
    with pytest.raises(ValueError, match=r"`features` must not be empty"):
        heads.ContinuousQNetwork(features=())


def test_twin_values_are_independent():
    action = jnp.ones((BATCH, TIME, 3))
    head = heads.TwinContinuousQNetwork(features=(16,))
    values, params = head.init_with_output(KEY, INPUTS, action=action)
    assert values.shape == (2, BATCH, TIME)
    assert np.abs(values[0] - values[1]).min() > 0
    gradients = jax.grad(lambda p: head.apply(p, INPUTS, action=action)[0].sum())(params)
    assert not any(bool(g[1].any()) for g in jax.tree.leaves(gradients))


def test_flatten_keeps_batch_and_time():
    images = jnp.zeros((2, 5, 3, 4, 6))
    assert layers.Flatten()(images).shape == (2, 5, 72)
    assert layers.Flatten(start_dim=1)(images).shape == (2, 360)
    assert layers.Flatten(end_dim=3)(images).shape == (2, 5, 12, 6)
    assert layers.Flatten()(images[..., 0, 0, 0]).shape == (2, 5, 1)
    with pytest.raises(ValueError, match="`inputs` of Flatten must have axes 2 to -1"):
        layers.Flatten()(images[0, :, 0, 0, 0])
    with pytest.raises(ValueError, match="`start_dim` must be at least 1, got 0"):
        layers.Flatten(start_dim=0)


def test_cnn_flattens_space_and_scales_bytes():
    cnn = CNN(features=(4, 3), kernel_sizes=(3, (2, 1)), strides=(2, 1))
    images = jax.random.randint(KEY, (2, 5, 11, 9, 3), 0, 255).astype(jnp.uint8)
    features, params = cnn.init_with_output(KEY, images)
    assert features.shape == (2, 5, 4 * 4 * 3)
    np.testing.assert_allclose(features, cnn.apply(params, images.astype(jnp.float32) / 255), atol=1e-6)
    np.testing.assert_allclose(features[:, 2], cnn.apply(params, images[:, 2]), atol=1e-5)
    with pytest.raises(ValueError, match="must fit into images"):
        CNN().init(KEY, images)
    with pytest.raises(ValueError, match="`inputs` of CNN must be"):
        cnn.init(KEY, images[0, 0])


def test_cnn_takes_few_images_at_a_time(monkeypatch):
    images = jax.random.normal(KEY, (3, 4, 9, 9, 2))
    cnn = CNN(features=(4, 3), kernel_sizes=(3, 2), strides=(2, 1))
    params = cnn.init(KEY, images)

    def loss_and_gradient():
        traced = jax.value_and_grad(lambda params: jnp.sum(jnp.sin(cnn.apply(params, images))))
        return str(jax.make_jaxpr(traced)(params)), traced(params)

    program, whole = loss_and_gradient()
    assert "scan" not in program
    monkeypatch.setattr(cnn_module, "_PATCHES", 3 * 16 * 18)  # the patches of three images in the first layer
    program, parts = loss_and_gradient()
    assert "length=4" in program
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), parts, whole)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: MLP((64, -1)), ValueError, "`features` must be at least 1, got -1"),
        (lambda: MLP(64), TypeError, r"`features` must be a sequence, each entry an integer, got 64; write \(64,\)"),
        (lambda: MLP((6.5,)), TypeError, "`features` must be an integer, got 6.5"),
        (lambda: MLP((6,), activation="relu"), TypeError, "`activation` must be callable, got 'relu'"),
        (lambda: CNN((3,), (2, 2), (1,)), ValueError, "`kernel_sizes` must have one entry for each of the 1"),
        (lambda: CNN((3,), (2,), (1, 1)), ValueError, "`strides` must have one entry"),
        (lambda: CNN((3,), (0,), (1,)), ValueError, "`kernel_sizes` must be at least 1, got 0"),
        (lambda: CNN((3,), ((1, 2, 3),), (1,)), ValueError, "`kernel_sizes` must hold numbers or pairs"),
        (lambda: CNN((3,), 2, (1,)), TypeError, "`kernel_sizes` must be a sequence with an entry for each layer"),
        (lambda: CNN((3,), (2,), (1,), padding="FULL"), ValueError, "`padding` must be one of VALID, SAME, got 'FULL'"),
        (lambda: CNN((3,), (2,), (1,), activation=3), TypeError, "`activation` must be callable, got 3"),
    ],
)
def test_wrong_sizes_are_refused_at_construction(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_heads_refuse_boxes_of_integers():
    with pytest.raises(TypeError, match="needs a Box of floating-point actions"):
        heads.Gaussian(2).check_action_space(Box(0, 3, (2,), jnp.int32))
