"""Garments: their cut, mask and in-shop picture, and what is sold."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from dressed import CORRELATION, CUTS, DRESSES, GARMENTS, SIZE, garment_of, photo, somebody, spec_of

from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.video import cv2
from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.cuts import distances
from spgvton_training.synthetic.clothes.dress import FLARES
from spgvton_training.synthetic.clothes.flat import _relaxed, canvas, layout
from spgvton_training.synthetic.clothes.garment import make_garment
from spgvton_training.synthetic.clothes.jacket import JACKETS
from spgvton_training.synthetic.clothes.outline import straighten
from spgvton_training.synthetic.clothes.pattern import PATTERNS, draw_print
from spgvton_training.synthetic.clothes.shop import LONG_SPREADS, SHORT_SPREADS, Shop, Sleeves, Tag, sample_shop
from spgvton_training.synthetic.clothes.wardrobe import sample_dress, sample_garment
from spgvton_training.synthetic.contact_sheet import warp_garment


@pytest.mark.parametrize(("kind", "sleeve", "flare"), [*GARMENTS, *DRESSES])
def test_in_shop_mask_is_whole_and_symmetric(kind: str, sleeve: float, flare: float | None) -> None:
    garment = garment_of(kind, sleeve, flare)
    mask = (garment.mask > 0).astype(np.uint8)
    assert mask.mean() > 0.12
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    assert stats[1:, cv2.CC_STAT_AREA].max() == mask.sum()  # one piece, no crumbs
    holes, _ = cv2.connectedComponents(1 - mask)
    assert holes == 2  # the garment and the background around it
    assert (mask != mask[:, ::-1]).mean() < 0.012
    assert not mask[[0, -1]].any() and not mask[:, [0, -1]].any()
    assert (garment.picture[mask == 0] > 200).mean() > 0.9  # beside it the picture is white


@pytest.mark.parametrize("kind", CUTS)
def test_sides_run_straight(kind: str) -> None:
    """Below the sleeves the outline is a smooth line: no row steps by more than a pixel, and all lie near a line."""
    mask = garment_of(kind).mask > 0
    rows = np.flatnonzero(mask.any(1))
    rows = rows[(rows > rows[0] + 0.55 * np.ptp(rows)) & (rows < rows[-1] - 6)]
    left = mask[rows].argmax(1)
    assert np.abs(np.diff(left)).max() <= 1
    fit = np.polyval(np.polyfit(rows, left, 1), rows)
    assert np.abs(left - fit).max() < 1.2


def test_edges_are_anti_aliased() -> None:
    picture, mask = garment_of("crew").picture.astype(int), garment_of("crew").mask
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    red = picture[..., 2][edge]  # blue channel: 255 outside, below 200 inside
    between = ((red > 150) & (red < 245)).mean()
    assert between > 0.2


def test_straighten_keeps_the_inside_in_order() -> None:
    """No quad of the torso or the sleeves is turned over by drawing the outline."""
    topo = cloth.topology()
    lies = [
        Sleeves(long, spread) for long, spreads in ((False, SHORT_SPREADS), (True, LONG_SPREADS)) for spread in spreads
    ]
    for sleeves in lies:
        relaxed, outline = _relaxed(sleeves), layout(sleeves).outline
        xy = straighten(relaxed.xy, relaxed.seam, outline)
        quads = topo.quads[relaxed.facing & (topo.rest[topo.quads][:, :, 1].min(1) > 0.3)]
        a, b, c, d = (xy[quads[:, i]] for i in range(4))
        p, q = c - a, d - b
        signed = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        # what stays turned lies in the folds under the arms and in the neck hole
        assert (signed > 0).mean() > 0.965


@pytest.mark.parametrize("long", [False, True])
def test_sleeves_end_where_the_cut_says(long: bool) -> None:
    sleeve = 2.0 if long else 0.8
    garment, spec = garment_of("crew", sleeve), spec_of("crew", sleeve)
    assert garment.spec.long == long
    field = canvas(spec.sleeves, (512, 384))
    edges = distances(spec, field.layout.outline, field.x, np.broadcast_to(field.y, (512, 384)), front=True)
    assert edges.cut().shape == (512, 384)
    shown = photo(somebody(False), garment, visible=0.73)
    for elbow, wrist, hand in ((kp.L_ELBOW, kp.L_WRIST, lb.LEFT_ARM), (kp.R_ELBOW, kp.R_WRIST, lb.RIGHT_ARM)):
        a, b = shown.keypoints[elbow, :2], shown.keypoints[wrist, :2]
        x, y = np.rint(a + (b - a) * 0.88).astype(int)
        assert shown.labels[y, x] == (lb.UPPER_CLOTHES if long else hand)  # the sleeve reaches the wrist, or not
        hands = shown.labels == hand
        assert hands.any()
        if long:  # and ends there: beyond it is the hand
            rows, columns = np.nonzero(hands)
            along = ((columns - a[0]) * (b[0] - a[0]) + (rows - a[1]) * (b[1] - a[1])) / ((b - a) ** 2).sum()
            assert np.quantile(along, 0.05) > 0.9


def test_a_long_sleeve_reaches_almost_to_the_hem_in_the_picture() -> None:
    mask = garment_of("crew", 2.0).mask > 0
    rows = np.flatnonzero(mask.any(1))
    side = mask[:, : int(SIZE[1] * 0.2)]
    assert (np.flatnonzero(side.any(1)).max() - rows[0]) / np.ptp(rows) > 0.80


@pytest.mark.parametrize("spread", [*LONG_SPREADS, *SHORT_SPREADS])
def test_sleeves_lie_as_they_are_told_and_are_worn_the_same(spread: float) -> None:
    """The in-shop picture is wider the further they are spread; what is worn, and how far it reaches, does not change."""
    long = spread in LONG_SPREADS
    usual = spec_of("crew", 2.0 if long else 0.8)
    least = LONG_SPREADS[0] if long else SHORT_SPREADS[0]
    narrow, lying = (make_garment(replace(usual, spread=s), SIZE) for s in (least, spread))
    across, up = (np.ptp(np.nonzero(g.mask)[1]) / np.ptp(np.nonzero(g.mask)[0]) for g in (lying, narrow))
    assert across == up if spread == least else across > 1.05 * up
    worn, same = (photo(somebody(), g) for g in (narrow, lying))
    assert (worn.labels != same.labels).mean() < 0.01
    inside = cv2.erode(np.isfinite(same.flow).all(-1).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    fetched = warp_garment(lying.picture, same.flow)[inside].astype(float)
    hue = [a[:, 0] - a[:, 2] for a in (same.image[inside].astype(float), fetched)]
    assert np.corrcoef(hue[0], hue[1])[0, 1] > CORRELATION


SHOPS = {
    "turned": Shop(turn=8.0, fill=0.85, aside=(0.6, -0.8)),
    "creased": Shop(creases=1.0),
    "tag": Shop(shadow=0.45, faded=0.9, tape=0.35, tag=Tag(0.5, 0.4, 250.0, 0.05)),
}


@pytest.mark.parametrize("name", SHOPS)
def test_flow_is_exact_however_the_garment_lies(name: str) -> None:
    garment = make_garment(replace(spec_of("crew", 0.8), shop=SHOPS[name]), SIZE)
    shown = photo(somebody(), garment)
    valid = np.isfinite(shown.flow).all(-1)
    x, y = np.rint(shown.flow[valid]).astype(int).T
    assert (garment.mask[y, x] > 0).mean() > 0.97
    inside = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    fetched = warp_garment(garment.picture, shown.flow)[inside].astype(float)
    hue = [a[:, 0] - a[:, 2] for a in (shown.image[inside].astype(float), fetched)]
    assert np.corrcoef(hue[0], hue[1])[0, 1] > CORRELATION


@pytest.mark.parametrize("kind", ["crew", "vneck", "scoop", "tank", "shirt"])
def test_the_inside_of_the_back_is_seen_in_the_shop_and_never_worn(kind: str) -> None:
    spec = replace(spec_of(kind, pattern="plain"), shop=Shop(shadow=0.5))
    garment = make_garment(spec, SIZE)
    lining = garment.lining
    assert 60 < lining.sum() < 0.12 * (garment.mask > 0).sum()
    assert garment.mask[lining].all()  # cut-outs hold it, too
    well_inside = cv2.erode(lining.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    front = (garment.mask > 0) & ~lining
    assert np.median(garment.picture[well_inside]) < 0.75 * np.median(garment.picture[front])
    shown = photo(somebody(), garment)
    x, y = np.rint(shown.flow[np.isfinite(shown.flow).all(-1)]).astype(int).T
    assert lining[y, x].mean() < 0.01
    bare = make_garment(replace(spec, shop=Shop(inside=False)), SIZE)
    assert not bare.lining.any()
    assert (garment.mask > 0).sum() - (bare.mask > 0).sum() > 0.5 * lining.sum()


def test_a_tag_is_sewn_into_the_neck() -> None:
    spec = spec_of("scoop", pattern="plain")
    tag = Tag(0.5, 0.4, 250.0, 0.05)
    pictures = [make_garment(replace(spec, shop=Shop(shadow=0.5, tag=t)), SIZE) for t in (None, tag)]
    changed = np.abs(pictures[0].picture.astype(int) - pictures[1].picture).max(2) > 40
    assert 20 < changed.sum() < 250
    assert (changed & pictures[1].lining).sum() > 0.9 * changed.sum()
    assert abs(np.nonzero(changed)[1].mean() - SIZE[1] / 2) < 2


def test_ways_to_lie_vary() -> None:
    shops = [sample_shop(np.random.default_rng([6, i]), long=True) for i in range(400)]
    assert 0.05 < np.mean([not s.inside for s in shops]) < 0.2
    assert 0.5 < np.mean([s.tag is not None for s in shops]) < 0.85
    assert np.std([s.turn for s in shops]) > 2 and max(abs(s.turn) for s in shops) <= 9


@pytest.mark.parametrize("kind", ["polo", "shirt"])
def test_collars_and_buttons(kind: str) -> None:
    """On a plain garment: a placket in the middle, darker or lighter spots down it, none beside it."""
    plain = make_garment(spec_of(kind, pattern="plain"), (512, 384)).picture.astype(float).mean(2)
    crew = make_garment(spec_of("crew", pattern="plain"), (512, 384)).picture.astype(float).mean(2)
    rows = slice(190, 400) if kind == "shirt" else slice(120, 200)
    middle, beside = plain[rows, 182:202], plain[rows, 215:235]
    assert middle.std() > 1.5 * beside.std()
    assert middle.std() > 1.5 * crew[rows, 182:202].std()


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS)))
def test_every_pattern_can_be_seen(pattern: str) -> None:
    design = spec_of("crew", pattern=pattern).design
    x, y = np.linspace(-3, 3, 96)[None], np.linspace(6, 0, 128)[:, None]
    front, back = draw_print(design, x.astype(np.float32), y.astype(np.float32), 16)
    assert front.shape == back.shape == (128, 96, 3)
    assert (front.std((0, 1)).max() > 2) == (pattern != "plain")


def test_shares_of_garments() -> None:
    tops = [sample_garment(np.random.default_rng([2, i])) for i in range(1200)]
    kinds = Counter(t.kind for t in tops)
    assert set(kinds) == {*CUTS, "hoodie", *JACKETS} - {"square"}
    assert min(kinds.values()) > 0.02 * len(tops)
    to_the_wrist = sum(t.sleeve > 1.9 for t in tops) / len(tops)
    assert to_the_wrist > 1 / 3
    assert all(t.sleeve <= 2.03 and t.dress is None for t in tops)
    dresses = [sample_dress(np.random.default_rng([2, i])) for i in range(300)]
    assert {d.dress.flare for d in dresses if d.dress is not None} == set(FLARES)
    assert all(d.dress is not None for d in dresses)
