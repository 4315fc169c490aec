"""Are the back end's pictures ONNX Runtime's? Twenty poses of the shipped person, the garments in turn."""

from __future__ import annotations

from contextlib import closing

from spgvton.bench.parity import Parity, parity
from spgvton.bundle import Bundle
from spgvton.doctor.contract import Outcome, Rig


def compare(rig: Rig, bundle: Bundle) -> Parity:
    """The rig's back end and ONNX Runtime, both on BUNDLE; the bounds are those of its precision."""
    with closing(rig.session(bundle)) as session, closing(rig.reference(bundle)) as reference:
        return parity(session, reference)


def told(found: Parity) -> str:
    """FOUND for people."""
    return (
        f"{'holds' if found.holds else 'DOES NOT HOLD'} on {found.inputs} inputs: mean error {found.mean_error} of 255 "
        f"(allowed {found.allowed_mean}), worst pixel {found.max_error} (allowed {found.allowed_max})"
    )


def fault(found: Parity) -> str:
    """What is wrong with FOUND; "" where it holds."""
    return (
        ""
        if found.holds
        else f"the GPU's pictures are not ONNX Runtime's ({told(found)}): do not use this back end here"
    )


def run(rig: Rig) -> Outcome:
    """See the module."""
    found = compare(rig, rig.bundle)
    return Outcome(told(found), found.as_dict(), fault(found))
