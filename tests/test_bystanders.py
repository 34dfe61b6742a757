"""The test images as bystanders: counted one by one, in the obvious way."""

import numpy as np
import torch

from experiments.protocol.bystanders import Bystanders


def obvious(bystanders, logits, predictions, samples):
    """What a loop over the images counts."""
    before, labels = bystanders.predictions.tolist(), bystanders.labels.tolist()
    margins = []
    for row in logits.tolist():
        largest = sorted(row)[-2:]
        margins.append(largest[1] - largest[0] if np.isfinite(row).all() else float("inf"))
    close = sorted(range(len(labels)), key=lambda i: margins[i])[: len(labels) // 10]
    confusion = {}
    found = {"broken": 0, "fixed": 0, "agreeing": 0, "agreeing_close": 0, "untouched_right": 0}
    for i, (label, old, new) in enumerate(zip(labels, before, predictions.tolist(), strict=True)):
        found["broken"] += old == label != new
        found["fixed"] += old != label == new
        found["agreeing"] += old == new
        found["agreeing_close"] += old == new and i in close
        found["untouched_right"] += new == label and i not in samples
        confusion[label, old] = confusion.get((label, old), 0) - 1
        confusion[label, new] = confusion.get((label, new), 0) + 1
    found["confusion"] = [[*cell, count] for cell, count in sorted(confusion.items()) if count]
    return found, max(margins[i] for i in close)


def made(seed=0, images=200, samples=(3, 5, 8, 10_000)):
    draws = np.random.default_rng(seed)
    logits = torch.from_numpy(draws.normal(size=(images, 10)))
    logits[7, 2] = torch.inf
    labels = torch.from_numpy(draws.integers(0, 10, images))
    predictions = logits.argmax(1)
    predictions[7] = -1
    return Bystanders.of(logits, predictions, labels, samples), logits, samples, draws


def test_side_effects_are_those_of_a_loop():
    bystanders, logits, samples, draws = made()
    for _ in range(5):
        predictions = torch.where(
            torch.from_numpy(draws.random(200) < 0.3),
            torch.from_numpy(draws.integers(-1, 10, 200)),
            bystanders.labels,
        )
        expected, margin = obvious(bystanders, logits, predictions, samples)
        assert vars(bystanders.side_effects(predictions)) == expected
        assert bystanders.baseline.close_margin == margin


def test_an_unchanged_network_has_no_side_effects():
    bystanders, *_ = made()
    found, base = bystanders.side_effects(bystanders.predictions), bystanders.baseline
    assert (found.broken, found.fixed, found.confusion) == (0, 0, [])
    assert (found.agreeing, found.agreeing_close) == (200, base.close_images) == (200, 20)
    assert found.untouched_right == base.untouched_right
    assert base.untouched_images == 197  # one of the four samples is not among the images
    assert sum(count for _, _, count in base.confusion) == 200
    assert [cell for cell in base.confusion if cell[1] == -1] == [[int(bystanders.labels[7]), -1, 1]]


def test_what_is_mistaken_alike_is_counted_as_a_loop_counts():
    """Also from a sample beyond the images, of a class that N0 gives no finite logits for, and of no other image."""
    bystanders, _, _, draws = made()
    labels, before = bystanders.labels.tolist(), bystanders.predictions.tolist()
    predictions = torch.where(
        torch.from_numpy(draws.random(200) < 0.5),
        torch.from_numpy(draws.integers(-1, 10, 200)),
        bystanders.labels,
    )
    found, wrong = [], [i for i in range(200) if before[i] != labels[i]]
    for index in (*wrong, 200, 10_000):
        label, mistaken = (
            (labels[index], before[index]) if index < 200 else (labels[wrong[0]], before[wrong[0]])
        )
        alike = [i for i in range(200) if i != index and (labels[i], before[i]) == (label, mistaken)]
        right = [i for i in alike if int(predictions[i]) == labels[i]]
        found.append(bystanders.same_confusion(index, label, mistaken, predictions))
        assert found[-1] == [len(alike), 0, len(right)]
    assert 7 in wrong
    assert found[wrong.index(7)] == [0, 0, 0], "the one whose logits are not finite is alone"
    assert found[-1][0] == found[0][0] + 1, "a sample that is no bystander leaves no one out"
    assert any(0 < count[2] < count[0] for count in found)


def test_few_images_have_no_close_ones():
    bystanders, *_ = made(images=9, samples=())
    assert (bystanders.baseline.close_images, bystanders.baseline.close_margin) == (0, None)
