"""The objective of GEmo-CLAP: against slow loops, by hand, and the facts known of it."""

import math
from itertools import product

import pytest
import torch
from sertools.errors import ConfigError
from sertools.objectives.contrastive import (
    DIVERGENCES,
    TARGETS,
    ContrastiveObjective,
    agreement,
    divergence,
    soft_targets,
)
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

CLASSES, GENDERS = (1708, 1103, 1084, 1636), (2649, 2882)
"""Utterances of IEMOCAP by emotion and by gender."""


def batch(size=7, dim=5, classes=3, seed=1):
    """Return all that an objective may be given, with its emotions in no order."""
    draw = torch.Generator().manual_seed(seed)

    def units(rows):
        vectors = torch.randn(rows, dim, generator=draw)
        return vectors / vectors.norm(dim=1, keepdim=True)

    emotion = torch.randint(classes, (size,), generator=draw)
    attribute = torch.randint(2, (size,), generator=draw)
    votes = torch.randint(0, 4, (size, classes), generator=draw) + torch.eye(classes)[emotion]
    return {
        "audio": units(size), "text": units(classes)[emotion], "scales": torch.tensor([14.3, 6.0]),
        "emotion": emotion, "attribute": attribute,
        "distributions": votes / votes.sum(1, keepdim=True),
        "attribute_text": units(2)[attribute], "attribute_scales": torch.tensor([9.0, 4.0]),
    }  # fmt: skip


# The spelled out form, in Python's own (double) numbers


def softmax(row):
    whole = sum(math.exp(x) for x in row)
    return [math.exp(x) / whole for x in row]


def targets_of(how, temperature, row):
    if how == "row_normalised":
        return [x / sum(row) for x in row]
    return softmax([x / temperature for x in row])


def kl(left, right):
    return sum(p * math.log(p / q) for p, q in zip(left, right, strict=True) if p > 0)


def row_loss(kind, target, logits, own):
    if kind == "infonce":
        return -math.log(softmax(logits)[own])
    said = softmax(logits)
    if kind == "kl":
        return kl(target, said)
    return 0.5 * kl(target, said) + 0.5 * kl(said, target)


def slow(objective, audio, text, scales, emotion, attribute, distributions, attribute_text,
         attribute_scales):  # fmt: skip
    """Return the loss item by item, pair by pair."""
    o, size = objective, len(emotion)
    a, t, at = audio.tolist(), text.tolist(), attribute_text.tolist()
    votes = distributions.tolist()

    def equal(labels, i, j):
        return 1.0 if int(labels[i]) == int(labels[j]) else 0.0

    def soft(i, j):
        if o.soft_source == "gender":
            return equal(attribute, i, j)
        return sum(min(p, q) for p, q in zip(votes[i], votes[j], strict=True))

    def both_ways(pair, words, scales):
        """Return L of the agreement that `pair` tells of two items."""
        total = 0.0
        for rows, columns, scale in ((a, words, scales[0]), (words, a, scales[1])):
            for i in range(size):
                target = targets_of(
                    o.target, o.target_temperature, [pair(i, j) for j in range(size)])
                logits = [float(scale) * sum(x * y for x, y in zip(rows[i], c, strict=True))
                          for c in columns]
                total += row_loss(o.divergence, target, logits, i) / size / 2
        return total

    if o.model == "emo":
        return both_ways(lambda i, j: equal(emotion, i, j), t, scales)
    if o.model == "sl":
        return both_ways(
            lambda i, j: o.alpha * equal(emotion, i, j) + (1 - o.alpha) * soft(i, j), t, scales)
    words, theirs = (at, attribute_scales) if o.gender_logits == "separate" else (t, scales)
    return (o.alpha * both_ways(lambda i, j: equal(emotion, i, j), t, scales)
            + (1 - o.alpha) * both_ways(lambda i, j: equal(attribute, i, j), words, theirs))


def every():
    """Return all objectives there are, at some alphas and temperatures."""
    ways = product(("emo", "ml", "sl"), (0.9, 0.3, 0.0, 1.0), TARGETS, (1.0, 0.25), DIVERGENCES,
                   ("shared", "separate"), ("gender", "annotators"))  # fmt: skip
    for way in ways:
        try:
            yield ContrastiveObjective(*way)
        except ConfigError:
            continue


def test_every_objective_is_the_slow_one():
    given = {name: value.double() if value.is_floating_point() else value
             for name, value in batch().items()}
    seen = 0
    for objective in every():
        loss = objective(**batch())
        assert loss.dtype == torch.float32 and loss.dim() == 0
        assert float(loss) == pytest.approx(slow(objective, **given), abs=2e-6), objective
        seen += 1
    #      emo, ml and sl have 1, 2 and 2 kinds; 4 alphas; targets and divergences that go together
    assert seen == (1 + 2 + 2) * 4 * (2 * 3 + 2)


def test_only_what_is_needed_is_looked_at():
    optional = {"attribute": "needs_attribute", "distributions": "needs_distributions",
                "attribute_text": "needs_attribute_text",
                "attribute_scales": "needs_attribute_text"}  # fmt: skip
    for objective in every():
        given = {name: value for name, value in batch().items()
                 if name not in optional or getattr(objective, optional[name])}
        assert torch.equal(objective(**given), objective(**batch()))
        for name in set(optional) & set(given):  # and what is needed has an effect
            other = {**batch(), name: batch(seed=2)[name] * (2 if "scales" in name else 1)}
            through_text = objective.divergence == "infonce" and name == "attribute"
            assert torch.equal(objective(**other), objective(**batch())) == through_text


def test_three_items_by_hand():
    """Emotions a, a, b; genders f, m, m; cosines 0 but for one 1; scale 2 by rows of sound.

    With e = 2.718282, and C_a = [[2, 0, 0], [0, 0, 0], [0, 0, 0]], C_t the same with 1 for 2:
    rows of P_a are (e^2, 1, 1) / (e^2 + 2) = (.786986, .106507, .106507) and thirds, those of P_t
    (e, 1, 1) / (e + 2) = (.576117, .211942, .211942) and thirds.
    """
    e = math.e
    audio = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    text = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])
    rest = (torch.tensor([2.0, 1.0]), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]))
    # M_e: rows 1 and 2 are (1, 1, 0), row 3 is (0, 0, 1). S(1, 1, 0) = (e, e, 1) / (2e + 1).
    two, one = (e / (2 * e + 1), 1 / (2 * e + 1)), (e / (e + 2), 1 / (e + 2))
    assert two == pytest.approx((0.422319, 0.155362), abs=1e-6)
    assert one == pytest.approx((0.576117, 0.211942), abs=1e-6)
    # sum_j T log T: 2 * .422319 * -.861994 + .155362 * -1.861994 = -1.017356 of rows 1 and 2,
    # .576117 * -.551445 + 2 * .211942 * -1.551445 = -.975330 of row 3.
    # -sum_j T log P: log 3 = 1.098612 where P is thirds; in row 1 log P_1 = s - log(e^s + 2) and
    # the others -log(e^s + 2), so log(e^s + 2) - s T_1 = 2.239544 - .844638 = 1.394906 of C_a
    # (s = 2) and 1.551445 - .422319 = 1.129126 of C_t (s = 1).
    # KL: .377550 of C_a, .111770 of C_t in row 1; .081256 and .123282 in rows 2 and 3.
    by_hand = 0.5 * (0.377550 + 0.204538) / 3 + 0.5 * (0.111770 + 0.204538) / 3
    assert by_hand == pytest.approx(0.149733, abs=1e-6)
    loss = ContrastiveObjective("emo")(audio, text, *rest)
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)
    # sl, alpha .9: M = (1, .9, 0), (.9, 1, .1), (0, .1, 1), divided by their sums 1.9, 2, 1.1
    t = [[1 / 1.9, 0.9 / 1.9, 0], [0.45, 0.5, 0.05], [0, 1 / 11, 10 / 11]]
    entropy = [sum(x * math.log(x) for x in row if x) for row in t]
    rows = [entropy[0] + math.log(e**s + 2) - s * t[0][0] for s in (2, 1)]
    thirds = entropy[1] + entropy[2] + 2 * math.log(3)
    by_hand = 0.5 * (rows[0] + thirds) / 3 + 0.5 * (rows[1] + thirds) / 3
    loss = ContrastiveObjective("sl", target="row_normalised")(audio, text, *rest)
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)
    # infonce: log(e^s + 2) - s of the first row, log 3 of the others
    by_hand = (0.5 * (math.log(e**2 + 2) - 2) + 0.5 * (math.log(e + 2) - 1) + 2 * math.log(3)) / 3
    loss = ContrastiveObjective(divergence="infonce")(audio, text, *rest)
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)


# Agreement and targets


def test_agreement_of_labels_and_of_distributions():
    labels = torch.tensor([2, 0, 2])
    expected = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert torch.equal(agreement(labels), expected)
    assert torch.equal(agreement(torch.eye(3)[labels]), expected)
    votes = torch.tensor([[0.5, 0.5, 0], [0.25, 0.25, 0.5], [0, 0, 1]])
    overlap = torch.tensor([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
    assert torch.equal(agreement(votes), overlap)
    assert agreement(votes.double()).dtype == agreement(labels).dtype == torch.float32


def test_mixed_agreement_has_the_four_known_values():
    emotion, attribute = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    mixed = 0.9 * agreement(emotion) + 0.1 * agreement(attribute)
    torch.testing.assert_close(mixed[0], torch.tensor([1.0, 0.9, 0.1, 0.0]))


def test_softmax_targets_of_a_batch_of_32_are_nearly_uniform():
    """At a quarter of the batch: e / (8 e + 24), 1 / (8 e + 24); the entropy of log 32."""
    target = soft_targets(agreement(torch.arange(32) % 4))[0].double()
    assert float(target[0]) == pytest.approx(math.e / (8 * math.e + 24), abs=1e-7)
    assert (round(float(target[0]), 3), round(float(target[1]), 3)) == (0.059, 0.022)
    share = -float((target * target.log()).sum()) / math.log(32)
    assert share == pytest.approx(0.966, abs=0.001)
    sharp = soft_targets(agreement(torch.arange(32) % 4), temperature=0.1)[0]
    assert float(sharp[0]) == pytest.approx(1 / (8 + 24 * math.exp(-10)), abs=1e-6)
    plain = soft_targets(agreement(torch.arange(32) % 4), "row_normalised")[0]
    assert float(plain[0]) == 0.125 and float(plain[1]) == 0


def test_targets_of_a_single_emotion_are_uniform():
    for how in TARGETS:
        torch.testing.assert_close(soft_targets(agreement(torch.full((5,), 3)), how),
                                   torch.full((5, 5), 0.2))  # fmt: skip


# What is known of the three models


def parts(how):
    """Return logits and the targets of emotion, of attribute, mixed after and before S; double."""
    given = batch()
    logits = (given["audio"] @ given["text"].T).double().requires_grad_()
    same = [agreement(given[name]).double() for name in ("emotion", "attribute")]
    mixed = soft_targets(0.8 * same[0] + 0.2 * same[1], how)
    both = [soft_targets(each, how) for each in same]
    return logits, *both, 0.8 * both[0] + 0.2 * both[1], mixed


@pytest.mark.parametrize("how", TARGETS)
def test_kl_is_affine_in_its_target_up_to_a_constant(how):
    logits, emotion, attribute, after, before = parts(how)

    def apart(logits):
        two = 0.8 * divergence(emotion, logits) + 0.2 * divergence(attribute, logits)
        return two - divergence(after, logits)

    constants = [float(apart(scale * logits.detach())) for scale in (0.0, 1.0, 14.3)]
    assert constants == pytest.approx([constants[0]] * 3, abs=1e-12)
    assert constants[0] > 0.001  # there is a constant, KL is convex
    (gradient,) = torch.autograd.grad(apart(14.3 * logits), logits)
    assert gradient.abs().max() < 1e-12
    # but the softmax (or sum) of mixed agreement is another target
    difference = divergence(after, 14.3 * logits) - divergence(before, 14.3 * logits)
    (gradient,) = torch.autograd.grad(difference, logits)
    assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("how", TARGETS)
def test_ml_has_the_gradient_of_one_kl_to_the_mixed_targets(how):
    given = {name: value.double() if value.is_floating_point() else value
             for name, value in batch().items()}
    learned = [given[name].requires_grad_() for name in ("audio", "text", "scales")]
    loss = ContrastiveObjective("ml", alpha=0.8, target=how)(**given)
    ours = torch.autograd.grad(loss, learned)
    *_, after, _ = parts(how)
    cosine, scales = given["audio"] @ given["text"].T, given["scales"]
    theirs = torch.autograd.grad(0.5 * divergence(after, scales[0] * cosine)
                                 + 0.5 * divergence(after, scales[1] * cosine.T), learned)
    sl = torch.autograd.grad(ContrastiveObjective("sl", alpha=0.8, target=how)(**given), learned)
    for mine, other, unlike in zip(ours, theirs, sl, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-6, rtol=1e-4)
        assert (mine - unlike).abs().max() > 1e-4


def distance(size, alpha, how):
    """Return the expected total variation distance of a row of ml's and of sl's targets.

    Exactly, in double precision: a row's item has any emotion and gender with the shares of
    IEMOCAP, and the other size - 1 items fall, independently, into four kinds: same emotion and
    gender, same emotion only, same gender only, neither.
    """
    counts = torch.arange(size)
    kinds = torch.stack(torch.meshgrid(counts, counts, counts, indexing="ij"), -1).flatten(0, 2)
    kinds = kinds[kinds.sum(1) < size]
    kinds = torch.cat([kinds, size - 1 - kinds.sum(1, keepdim=True)], 1).double()
    ways = math.lgamma(size) - torch.lgamma(kinds + 1).sum(1)
    all_kinds = kinds + torch.tensor([1.0, 0, 0, 0])  # with the item itself

    def target(values):
        weights = torch.tensor(values, dtype=torch.float64)
        weights = weights.exp() if how == "softmax" else weights
        return weights / (all_kinds * weights).sum(1, keepdim=True)

    ml = alpha * target([1, 1, 0, 0]) + (1 - alpha) * target([1, 0, 1, 0])
    sl = target([1, alpha, 1 - alpha, 0])
    each = 0.5 * (all_kinds * (ml - sl).abs()).sum(1)
    expected = 0.0
    for emotion, gender in product(CLASSES, GENDERS):
        p, q = emotion / sum(CLASSES), gender / sum(GENDERS)
        chances = torch.tensor([p * q, p * (1 - q), (1 - p) * q, (1 - p) * (1 - q)]).double()
        expected += p * q * float(((ways + (kinds * chances.log()).sum(1)).exp() * each).sum())
    return expected


@pytest.mark.parametrize("how, alpha, smallest, largest", [
    ("softmax", 0.9, 0.008, 0.009), ("softmax", 0.8, 0.014, 0.015),
    ("row_normalised", 0.9, 0.061, 0.062), ("row_normalised", 0.8, 0.093, 0.097),
])  # fmt: skip
def test_ml_and_sl_have_nearly_the_same_targets(how, alpha, smallest, largest):
    """The known figures for batches of 16 to 64, and the package's own targets on drawn ones."""
    small, large = distance(16, alpha, how), distance(64, alpha, how)
    assert small == pytest.approx(smallest, abs=0.0008)
    assert large == pytest.approx(largest, abs=0.0008) and small < large
    draw = torch.Generator().manual_seed(5)
    found = []
    for _ in range(300):
        emotion, gender = (torch.multinomial(torch.tensor(shares).float(), 32, True, generator=draw)
                           for shares in (CLASSES, GENDERS))
        same = agreement(emotion), agreement(gender)
        ml = alpha * soft_targets(same[0], how) + (1 - alpha) * soft_targets(same[1], how)
        sl = soft_targets(alpha * same[0] + (1 - alpha) * same[1], how)
        found.append(0.5 * (ml - sl).abs().sum(1).mean())
    assert float(torch.stack(found).mean()) == pytest.approx(distance(32, alpha, how), rel=0.02)


def test_with_emotion_alone_all_models_are_emo_clap():
    for how, kind in product(TARGETS, ("kl", "infonce")):
        settings = {"alpha": 1.0, "target": how, "divergence": kind}
        losses = [ContrastiveObjective(model, **settings)(**batch()) for model in
                  ("emo", "ml", "sl")]  # fmt: skip
        losses.append(ContrastiveObjective("ml", gender_logits="separate", **settings)(**batch()))
        assert all(torch.equal(loss, losses[0]) for loss in losses)


def test_the_order_of_a_batch_does_not_matter():
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = {name: value if "scales" in name else value[order]
                for name, value in batch().items()}
    for objective in every():
        torch.testing.assert_close(objective(**shuffled), objective(**batch()))


def test_annotators_alone_are_the_target_at_alpha_0():
    given = batch()
    objective = ContrastiveObjective(alpha=0.0, soft_source="annotators", target="row_normalised")
    overlap = agreement(given["distributions"])
    target = overlap / overlap.sum(1, keepdim=True)
    cosine = given["audio"] @ given["text"].T
    expected = 0.5 * (divergence(target, 14.3 * cosine) + divergence(target, 6.0 * cosine.T))
    torch.testing.assert_close(objective(**given), expected)


# Computation


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_half_precision_never_reaches_the_loss(kind):
    objective = ContrastiveObjective("ml", divergence=kind, gender_logits="separate")
    expected = objective(**batch())
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.randn(2, 2) @ torch.randn(2, 2)).dtype == torch.bfloat16
        loss = objective(**batch())
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
    halved = {name: value.bfloat16() if value.is_floating_point() else value
              for name, value in batch().items()}
    again = {name: value.float() if value.is_floating_point() else value
             for name, value in halved.items()}
    assert torch.equal(objective(**halved), objective(**again))


def test_gradients_stay_finite_where_a_target_is_zero():
    given = batch()
    given["audio"].requires_grad_()
    ContrastiveObjective("sl", target="row_normalised")(**given).backward()
    assert given["audio"].grad.isfinite().all() and given["audio"].grad.any()


def test_nothing_waits_for_values():
    """Tensors without values: reading one, or a shape that depends on one, would raise."""
    with FakeTensorMode() as mode:
        with pytest.raises(DataDependentOutputException):
            bool(torch.ones(3).any())
        given = {name: mode.from_tensor(value) for name, value in batch().items()}
        given["audio"].requires_grad_()
        for objective in every():
            loss = objective(**given)
            loss.backward()
            assert loss.shape == () and loss.fake_mode is mode


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_waits_for_a_gpu():
    given = {name: value.cuda() for name, value in batch().items()}
    objectives = [*every()]
    here = [objective(**batch()) for objective in objectives]
    for objective in objectives:
        objective(**given)  # loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        there = [objective(**given) for objective in objectives]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(torch.stack(there).cpu(), torch.stack(here), atol=1e-5, rtol=1e-4)


# Refusals


@pytest.mark.parametrize("settings, match", [
    ({"model": "gemo"}, "model is 'gemo': use emo, ml, sl"),
    ({"target": "sum"}, "target is 'sum'"),
    ({"divergence": "js"}, "divergence is 'js'"),
    ({"gender_logits": "own"}, "gender_logits is 'own'"),
    ({"soft_source": "votes"}, "soft_source is 'votes'"),
    ({"alpha": 1.1}, "alpha is 1.1"), ({"alpha": -0.1}, "alpha is -0.1"),
    ({"alpha": math.nan}, "alpha is nan"),
    ({"target_temperature": 0.0}, "target_temperature is 0.0"),
    ({"gender_logits": "separate"}, "separate, model sl"),
    ({"model": "ml", "soft_source": "annotators"}, "annotators, model ml"),
    ({"target": "row_normalised", "target_temperature": 0.5}, "only softmax has a temperature"),
    ({"target": "row_normalised", "divergence": "symmetric_kl"}, "infinite where a target is 0"),
    ({"divergence": "symmetric_kl", "target_temperature": 0.01}, "0.02 or more"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(settings, match):
    with pytest.raises(ConfigError) as caught:
        ContrastiveObjective(**settings)
    assert len(caught.value.problems) == 1 and match in caught.value.problems[0]


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        ContrastiveObjective("emo", 2.0, "row_normalised", 0.5, "symmetric_kl", "separate",
                             "annotators")  # fmt: skip
    assert len(caught.value.problems) == 5


def test_zeros_are_what_makes_the_symmetric_divergence_infinite():
    target = soft_targets(agreement(torch.tensor([0, 1])), "row_normalised")
    assert divergence(target, torch.zeros(2, 2), "symmetric_kl").isinf()
    coldest = soft_targets(agreement(torch.tensor([0, 1])), temperature=0.02)
    assert divergence(coldest, torch.zeros(2, 2), "symmetric_kl").isfinite()
